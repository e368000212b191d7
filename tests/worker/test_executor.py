from __future__ import annotations

import logging
from typing import Any

import pytest

from django_jobs import JobCancelledError, RetryLater, jobs, task, workflow
from django_jobs.models import Job
from tests.testapp.models import Entry
from tests.worker.support import entries, error_of, run, run_until_finished

BOTH_WAYS = pytest.mark.parametrize(
    "database",
    [
        pytest.param("in a transaction", marks=pytest.mark.django_db),
        pytest.param("in threads", marks=pytest.mark.django_db(transaction=True)),
    ],
)


class Calls:
    """The callbacks of a task, and what they were called with."""

    def __init__(self, raising: bool = False) -> None:
        self.raising = raising
        self.seen: list[Any] = []

    def on_success(self, context: Any) -> None:
        self._note("success", context)

    def on_fail(self, context: Any) -> None:
        self._note("fail", context)

    def _note(self, what: str, context: Any) -> None:
        self.seen.append((what, context.attempt, dict(context.input)))
        Entry.objects.create(name=what)
        if self.raising:
            raise LookupError("callback")

    @property
    def options(self) -> dict[str, Any]:
        return {"on_success": self.on_success, "on_fail": self.on_fail}


@BOTH_WAYS
@pytest.mark.parametrize("raising", [False, True])
@pytest.mark.parametrize("atomic", [False, True])
def test_the_callbacks_of_a_task_are_called_once_for_each_attempt(
    database: str, raising: bool, atomic: bool, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls(raising)

    @task(retries=2, takes_context=True, atomic=atomic, **calls.options)
    def third_time(ctx: Any, n: int) -> int:
        if ctx.attempt < 3:
            raise ValueError
        return n

    with caplog.at_level(logging.ERROR, "django_jobs.callbacks"):
        job = run_until_finished(third_time.enqueue(n=7))
    assert (job.status, job.output, job.error) == (Job.Status.SUCCESSFUL, 7, None)
    assert calls.seen == [("fail", 1, {"n": 7}), ("fail", 2, {"n": 7}), ("success", 3, {"n": 7})]
    assert Entry.objects.count() == 3
    logged = [record for record in caplog.records if record.name == "django_jobs.callbacks"]
    assert len(logged) == (3 if raising else 0)


@BOTH_WAYS
def test_the_callbacks_of_an_async_handler_may_use_the_database(database: str) -> None:
    calls = Calls()

    @task(takes_context=True, retries=1, **calls.options)
    async def second_time(ctx: Any) -> None:
        if ctx.attempt == 1:
            raise ValueError

    run_until_finished(second_time.enqueue())
    assert [what for what, *_ in calls.seen] == ["fail", "success"]


@BOTH_WAYS
@pytest.mark.parametrize("atomic", [False, True])
def test_the_callbacks_of_a_step_and_of_its_workflow_are_called(
    database: str, atomic: bool
) -> None:
    of_step, of_workflow = Calls(), Calls()

    @task(retries=1, takes_context=True, atomic=atomic, **of_step.options)
    def second_time(ctx: Any, n: int) -> None:
        if ctx.attempt == 1:
            raise ValueError

    @workflow(**of_workflow.options)
    def around(ctx: Any, a: int) -> None:
        ctx.run("x", second_time, n=1)
        ctx.run("x", second_time, n=1)

    run_until_finished(around.enqueue(a=2))
    assert of_step.seen == [("fail", 1, {"n": 1}), ("success", 2, {"n": 1})]
    assert of_workflow.seen == [("fail", 1, {"a": 2}), ("success", 2, {"a": 2})]


@pytest.mark.django_db
def test_what_is_no_attempt_calls_no_callback() -> None:
    calls = Calls()

    @task(**calls.options)
    def later() -> None:
        raise RetryLater(1)

    run(later.enqueue())
    assert calls.seen == []


@BOTH_WAYS
@pytest.mark.parametrize("error", [None, ValueError, JobCancelledError])
def test_a_job_that_ended_holds_no_claim_and_says_when(
    database: str, error: type[Exception] | None
) -> None:
    @task
    def ending() -> None:
        if error is not None:
            raise error("ended")

    job = ending.enqueue()
    run(job)
    assert (job.processing_token, job.processing_until) == (None, None)
    assert job.started_at is not None
    assert job.completed_at is not None
    assert job.completed_at >= job.started_at
    assert job.total_tried == 1


@pytest.mark.django_db
def test_the_error_has_a_name_a_message_and_a_traceback() -> None:
    @task
    def failing() -> None:
        raise ValueError("because") from KeyError("before")

    job = failing.enqueue()
    run(job)
    assert set(error_of(job)) == {"name", "message", "traceback", "cancelled"}
    assert error_of(job)["cancelled"] is False
    assert "KeyError: 'before'" in error_of(job)["traceback"]
    assert error_of(job)["traceback"].rstrip().endswith("ValueError: because")
    assert entries(job, "error") == [job.error]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("atomic", [False, True])
def test_a_handler_that_cancels_its_own_job_is_cancelled(atomic: bool) -> None:
    @task(takes_context=True, atomic=atomic)
    def suicidal(ctx: Any) -> str:
        Entry.objects.create(name="written")
        jobs.cancel_by_id(ctx.job.pk)
        return "done"

    job = suicidal.enqueue()
    assert run(job) == "error-reached-max-retries"
    assert job.status == Job.Status.CANCELLED
    assert job.output is None
    assert Entry.objects.exists() is not atomic


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_job_that_was_deleted_while_it_ran_is_reported_of_by_nobody(kind: str) -> None:
    @task(takes_context=True)
    def plain(ctx: Any) -> None:
        Job.objects.all().delete()
        ctx.inline("a", lambda: Entry.objects.create(name="never"))

    @task(takes_context=True)
    async def asynchronous(ctx: Any) -> None:
        await Job.objects.all().adelete()
        await ctx.ainline("a", lambda: Entry.objects.create(name="never"))

    job = (plain if kind == "plain" else asynchronous).enqueue()
    result = jobs.run_by_id(job.pk)
    assert result.job_status == {}
    assert not Entry.objects.exists()
