from __future__ import annotations

import logging
from typing import Any

import pytest

from django_jobs import JobContext, jobs, task, workflow
from django_jobs.models import Job
from django_jobs.worker.attempt import PROGRESS_INTERVAL, Progress
from tests.worker.support import entries, error_of, run, run_until_finished

BOTH_WAYS = pytest.mark.parametrize(
    "database",
    [
        pytest.param("in a transaction", marks=pytest.mark.django_db),
        pytest.param("in threads", marks=pytest.mark.django_db(transaction=True)),
    ],
)


@BOTH_WAYS
def test_the_context_knows_job_input_and_attempt(database: str) -> None:
    seen: list[Any] = []

    @task(takes_context=True, retries=2)
    def curious(ctx: JobContext, n: int) -> None:
        seen.append((ctx.job.pk, dict(ctx.input), ctx.attempt, ctx.job.status))
        if ctx.attempt < 3:
            raise ValueError

    job = run_until_finished(curious.enqueue(n=1))
    assert seen == [(job.pk, {"n": 1}, attempt, Job.Status.RUNNING) for attempt in (1, 2, 3)]


@pytest.mark.django_db
def test_the_context_of_a_step_has_the_input_of_the_step() -> None:
    @task(takes_context=True)
    def step(ctx: JobContext, n: int) -> Any:
        return [ctx.input, ctx.job.input]

    @workflow
    def around(ctx: JobContext, a: int) -> Any:
        return ctx.run("a", step, n=2)

    job = around.enqueue(a=1)
    run(job)
    assert job.output == [{"n": 2}, {"a": 1}]


@BOTH_WAYS
def test_messages_are_entries_in_the_order_of_what_happened(database: str) -> None:
    @task(takes_context=True)
    def step(ctx: JobContext) -> None:
        ctx.log("in the step", logging.WARNING, rows=[1, 2])

    @workflow
    def talking(ctx: JobContext) -> None:
        ctx.log("before")
        ctx.run("a", step)
        ctx.log("after")

    job = talking.enqueue()
    run(job)
    assert entries(job, "state", "message", "level", "data", "task_id") == [
        ("message", "before", logging.INFO, None, ""),
        ("message", "in the step", logging.WARNING, {"rows": [1, 2]}, "a"),
        ("succeeded", "", None, None, "a"),
        ("message", "after", logging.INFO, None, ""),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("message", "data"), [("a\x00", {}), ("\ud800", {}), ("a", {"b": object()})]
)
def test_a_message_that_cannot_be_stored_is_refused_at_once(message: str, data: Any) -> None:
    @task(takes_context=True)
    def talking(ctx: JobContext) -> None:
        ctx.log(message, **data)

    job = talking.enqueue()
    run(job)
    assert error_of(job)["name"] == "InvalidInputError"
    assert entries(job, "state") == ["failed"]


@BOTH_WAYS
def test_an_async_handler_can_log_and_tell_how_far_it_is(database: str) -> None:
    @task(takes_context=True)
    async def talking(ctx: JobContext) -> None:
        ctx.log("first")
        ctx.set_progress(1, 2)
        ctx.raise_if_cancelled()
        await ctx.ainline("a", lambda: None)
        ctx.log("second")
        ctx.set_progress(2, 2)

    job = talking.enqueue()
    assert run(job) == "success"
    assert entries(job, "message", "task_id") == [
        ("first", "1"),
        ("", "a"),
        ("second", "1"),
        ("", "1"),
    ]
    assert job.progress == {"current": 2, "total": 2, "message": ""}


@BOTH_WAYS
@pytest.mark.parametrize("fails", [False, True])
def test_the_last_progress_is_kept(database: str, fails: bool) -> None:
    @task(takes_context=True)
    def counting(ctx: JobContext) -> None:
        for n in range(100):
            ctx.set_progress(n, 99, "counting")
        if fails:
            raise ValueError

    job = counting.enqueue()
    run(job)
    assert job.progress == {"current": 99, "total": 99, "message": "counting"}


@pytest.mark.django_db(transaction=True)
def test_the_last_progress_of_many_jobs_is_kept_when_they_are_written_together() -> None:
    @task(takes_context=True)
    def counting(ctx: JobContext) -> None:
        ctx.set_progress(0, 1)
        ctx.set_progress(1, 1)

    counting.enqueue_many([{}] * 60)
    jobs.run(limit=60)
    assert {job.progress["current"] for job in Job.objects.all() if job.progress} == {1}


def test_progress_is_written_at_most_once_a_second() -> None:
    progress = Progress()
    assert progress.is_due({"current": 1})
    assert not progress.is_due({"current": 2})
    assert progress.take_unwritten() == {"progress": {"current": 2}}
    progress.written_at -= PROGRESS_INTERVAL
    assert progress.is_due({"current": 3})
    assert progress.take_unwritten() == {}


@pytest.mark.django_db
def test_a_progress_that_cannot_be_stored_is_refused_at_once() -> None:
    @task(takes_context=True)
    def counting(ctx: JobContext) -> None:
        ctx.set_progress(float("nan"))

    job = counting.enqueue()
    run(job)
    assert error_of(job)["name"] == "InvalidInputError"


@pytest.mark.django_db
def test_a_handler_can_ask_whether_its_job_was_cancelled() -> None:
    @task(takes_context=True)
    def asking(ctx: JobContext) -> None:
        ctx.raise_if_cancelled()
        jobs.cancel_by_id(ctx.job.pk)
        ctx.raise_if_cancelled()
        raise AssertionError("not reached")

    job = asking.enqueue()
    run(job)
    assert job.status == Job.Status.CANCELLED
    assert error_of(job)["cancelled"] is True
    assert error_of(job)["message"] == "The job was cancelled."


@BOTH_WAYS
@pytest.mark.parametrize("verb", ["run", "inline", "parallel"])
def test_what_would_block_the_event_loop_is_refused_with_the_remedy(
    database: str, verb: str
) -> None:
    @task
    async def step() -> None: ...

    @workflow
    async def forgetful(ctx: JobContext) -> None:
        if verb == "run":
            ctx.run("a", step)
        elif verb == "inline":
            ctx.inline("a", len, input={})
        else:
            ctx.parallel()

    job = forgetful.enqueue()
    run(job)
    assert error_of(job)["name"] == "SynchronousOnlyOperation"
    assert f"ctx.{verb}() would block the event loop" in error_of(job)["message"]
