"""Section by section what `retries` promises, by running the jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings

from django_jobs import JobCancelledError, Retry, RetryLater, jobs, task, workflow
from django_jobs.models import Job
from tests.worker.support import entries, error_of, run, run_until_finished, skip_delay

pytestmark = pytest.mark.django_db


class Flaky:
    """Fails as often as it is told to, and counts how often it was called."""

    def __init__(self, failures: int = 1000, error: type[BaseException] = ValueError) -> None:
        self.failures = failures
        self.error = error
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(f"failure {self.calls}")
        return self.calls


def waits(job: Job) -> float | None:
    """Return after how many seconds the job is due, by the clock that it was written with."""
    if job.wait_until is None:
        return None
    return (job.wait_until - job.updated_at).total_seconds()


def workflow_of(flaky: Flaky, of_workflow: Any, of_task: Any) -> Any:
    @task(retries=of_task, slug="step")
    def step() -> int:
        return flaky()

    @workflow(retries=of_workflow, slug="workflow")
    def one_step(ctx: Any) -> int:
        output: int = ctx.run("only", step)
        return output

    return one_step


@pytest.mark.parametrize(
    ("of_workflow", "of_task", "attempts"),
    [
        (None, None, 1),
        (None, 0, 1),
        (None, 1, 2),
        (None, 3, 4),
        (0, None, 1),
        (0, 0, 1),
        (0, 3, 1),
        (2, None, 3),
        (2, 0, 1),
        (2, 1, 2),
        (2, 2, 3),
        (2, 5, 3),
    ],
)
def test_how_often_a_task_that_always_fails_runs_in_all(
    of_workflow: int | None, of_task: int | None, attempts: int
) -> None:
    flaky = Flaky()
    job = run_until_finished(workflow_of(flaky, of_workflow, of_task).enqueue())
    assert flaky.calls == attempts
    assert job.status == Job.Status.FAILED
    assert job.total_tried == attempts
    assert job.task_status["step"]["only"].total_tried == attempts
    assert entries(job, "state") == ["failed"] * attempts


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("of_workflow", "of_task", "attempts"), [(None, 2, 3), (1, 2, 2)])
def test_threads_count_alike(of_workflow: int | None, of_task: int, attempts: int) -> None:
    flaky = Flaky()
    job = run_until_finished(workflow_of(flaky, of_workflow, of_task).enqueue())
    assert (flaky.calls, job.total_tried) == (attempts, attempts)
    assert entries(job, "state") == ["failed"] * attempts


@pytest.mark.parametrize(("retries", "attempts"), [(None, 1), (0, 1), (2, 3)])
def test_how_often_a_single_task_runs(retries: int | None, attempts: int) -> None:
    flaky = Flaky()

    @task(retries=retries)
    def single() -> int:
        return flaky()

    job = run_until_finished(single.enqueue())
    assert (flaky.calls, job.total_tried) == (attempts, attempts)
    assert job.task_status[job.slug]["1"].total_tried == attempts
    assert entries(job, "task_id", "state") == [("1", "failed")] * attempts


def test_each_step_has_its_own_count() -> None:
    first, second = Flaky(failures=2), Flaky(failures=2)

    @task(retries=2)
    def step(which: int) -> int:
        return (first, second)[which]()

    @workflow
    def two_steps(ctx: Any) -> list[int]:
        return [ctx.run("a", step, which=0), ctx.run("b", step, which=1)]

    job = run_until_finished(two_steps.enqueue())
    assert job.status == Job.Status.SUCCESSFUL
    assert job.output == [3, 3]
    assert job.total_tried == 5
    status = job.task_status[step.slug]
    assert (status["a"].total_tried, status["b"].total_tried) == (3, 3)


def test_a_later_success_clears_the_error_and_what_it_waited_for() -> None:
    job = workflow_of(Flaky(failures=1), None, 1).enqueue()
    assert run(job) == "error"
    assert error_of(job)["name"] == "ValueError"
    assert job.completed_at is None
    assert run(job) == "success"
    assert job.error is None
    assert job.output == 2
    assert job.completed_at is not None


@pytest.mark.parametrize(
    ("of_workflow", "of_task", "delays"),
    [
        (None, Retry(3, delay=60), [60, 60, 60]),
        (None, Retry(3, delay=timedelta(minutes=2)), [120, 120, 120]),
        (None, Retry(3, delay=10, backoff="exponential"), [10, 20, 40]),
        (None, Retry(3, delay=10, backoff="exponential", max_delay=25), [10, 20, 25]),
        (Retry(3, delay=30), Retry(3, delay=10, backoff="exponential"), [30, 30, 40]),
        (Retry(2, delay=30), None, [30, 30]),
        (None, 2, [None, None]),
    ],
)
def test_the_delay_is_the_wait_until_of_the_job(
    of_workflow: Retry | None, of_task: Retry | int | None, delays: list[float | None]
) -> None:
    job = workflow_of(Flaky(), of_workflow, of_task).enqueue()
    seen = []
    while run(job) == "error":
        seen.append(waits(job))
        skip_delay(job)
    assert seen == delays


def test_a_job_that_waits_for_its_retry_is_not_run() -> None:
    flaky = Flaky()
    job = workflow_of(flaky, None, Retry(1, delay=60)).enqueue()
    run(job)
    assert jobs.run_by_id(job.pk).no_jobs_remaining
    assert flaky.calls == 1


def test_jitter_draws_from_the_upper_half() -> None:
    job = workflow_of(Flaky(), None, Retry(1, delay=100, jitter=True)).enqueue()
    run(job)
    assert 50 <= (waits(job) or 0) <= 100


@pytest.mark.parametrize(
    ("retry", "error", "attempts"),
    [
        (Retry(2, retry_on=OSError), ValueError, 1),
        (Retry(2, retry_on=OSError), TimeoutError, 3),
        (Retry(2, retry_on=(OSError, ValueError)), ValueError, 3),
        (Retry(2, retry_on=()), ValueError, 1),
        (Retry(2, give_up_on=ValueError), ValueError, 1),
        (Retry(2, give_up_on=ValueError), UnicodeError, 1),
        (Retry(2, give_up_on=OSError), ValueError, 3),
        (Retry(2, retry_on=Exception, give_up_on=ValueError), ValueError, 1),
    ],
)
def test_the_class_of_the_error_decides_whether_to_try_again(
    retry: Retry, error: type[BaseException], attempts: int
) -> None:
    flaky = Flaky(error=error)
    run_until_finished(workflow_of(flaky, None, retry).enqueue())
    assert flaky.calls == attempts


def test_an_error_outside_of_any_step_is_final_without_retries_of_the_workflow() -> None:
    @task(retries=5)
    def step() -> int:
        return 1

    @workflow
    def failing(ctx: Any) -> None:
        ctx.run("a", step)
        raise ValueError("outside")

    job = failing.enqueue()
    assert run(job) == "error-reached-max-retries"
    assert error_of(job)["message"] == "outside"
    # The step has its entry, and the error, which is no step's, one that names the workflow.
    assert entries(job, "task_slug", "task_id", "state") == [
        (step.slug, "a", "succeeded"),
        (failing.slug, "", "failed"),
    ]


def test_an_error_outside_of_any_step_counts_against_the_workflow() -> None:
    flaky = Flaky()

    @workflow(retries=2)
    def failing(ctx: Any) -> None:
        flaky()

    run_until_finished(failing.enqueue())
    assert flaky.calls == 3


def test_a_handler_may_catch_what_a_step_raised_and_go_on() -> None:
    @task(retries=5)
    def step() -> None:
        raise ValueError("caught")

    @workflow
    def forgiving(ctx: Any) -> str:
        try:
            ctx.run("a", step)
        except ValueError as error:
            return f"without {error}"
        raise AssertionError

    job = forgiving.enqueue()
    assert run(job) == "success"
    assert job.output == "without caught"
    assert entries(job, "task_id", "state", "error__message") == [("a", "failed", "caught")]
    assert not job.task_status[step.slug]["a"].complete


def test_an_error_after_a_caught_one_is_judged_by_itself() -> None:
    @task(retries=5)
    def step() -> None:
        raise ValueError("caught")

    @workflow
    def clumsy(ctx: Any) -> None:
        try:
            ctx.run("a", step)
        except ValueError:
            raise KeyError("raised instead") from None

    assert run(clumsy.enqueue()) == "error-reached-max-retries"


@pytest.mark.parametrize(("of_call", "attempts"), [(0, 1), (1, 2), (4, 5)])
def test_the_retries_of_a_step_call_win_over_the_tasks_own(of_call: int, attempts: int) -> None:
    flaky = Flaky()

    @task(retries=2)
    def step() -> int:
        return flaky()

    @workflow
    def one_step(ctx: Any) -> None:
        ctx.run("a", step.using(retries=of_call))

    run_until_finished(one_step.enqueue())
    assert flaky.calls == attempts


@pytest.mark.parametrize(("retries", "attempts"), [(None, 1), (0, 1), (2, 3)])
def test_an_inline_step_has_the_retries_that_it_is_given(
    retries: int | None, attempts: int
) -> None:
    flaky = Flaky()

    @workflow
    def one_step(ctx: Any) -> None:
        ctx.inline("a", flaky, retries=retries)

    job = run_until_finished(one_step.enqueue())
    assert flaky.calls == attempts
    assert job.task_status["inline"]["a"].total_tried == attempts


@pytest.mark.parametrize(("of_call", "attempts"), [(0, 1), (1, 2), (4, 5)])
def test_the_retries_of_an_enqueue_win_over_the_tasks_own(of_call: int, attempts: int) -> None:
    flaky = Flaky()

    @task(retries=2)
    def single() -> int:
        return flaky()

    run_until_finished(single.using(retries=of_call).enqueue())
    assert flaky.calls == attempts


def test_the_retries_of_an_enqueue_cap_a_workflow() -> None:
    flaky = Flaky()
    run_until_finished(workflow_of(flaky, None, 5).using(retries=1).enqueue())
    assert flaky.calls == 2


def test_a_completed_step_is_not_run_again() -> None:
    runs: list[str] = []

    @task(retries=2)
    def second() -> None:
        runs.append("second")
        if len(runs) < 4:
            raise ValueError

    def first_step() -> dict[str, int]:
        runs.append("first")
        return {"n": len(runs)}

    @workflow
    def two_steps(ctx: Any) -> Any:
        first = ctx.inline("first", first_step)
        ctx.run("second", second)
        return first

    job = run_until_finished(two_steps.enqueue())
    assert runs == ["first", "second", "second", "second"]
    assert job.output == {"n": 1}


def restored(should_restore: Any) -> tuple[Job, int]:
    """Run a workflow whose second step fails twice; return it and how often the first ran."""
    first = Flaky(failures=0)
    second = Flaky(failures=2)

    @task(retries=Retry(should_restore=should_restore), slug="first")
    def first_step() -> int:
        return first()

    @task(retries=5)
    def second_step() -> int:
        return second()

    @workflow
    def two_steps(ctx: Any) -> Any:
        output = ctx.run("a", first_step)
        assert ctx.run("a", first_step) == output, "within one attempt it runs once"
        ctx.run("b", second_step)
        return output

    return run_until_finished(two_steps.enqueue()), first.calls


def test_should_restore_false_runs_a_completed_step_again_on_each_run() -> None:
    job, calls = restored(False)
    assert calls == 3
    assert job.output == 3
    status = job.task_status["first"]["a"]
    assert (status.total_tried, status.complete) == (3, True)


def test_should_restore_is_asked_with_the_context_and_the_status() -> None:
    asked: list[Any] = []

    def second_time(context: Any, status: Any) -> bool:
        asked.append((context.attempt, status.output, status.total_tried))
        return context.attempt > 2

    job, calls = restored(second_time)
    assert calls == 2
    assert job.output == 2
    assert sorted(set(asked)) == [(2, 1, 1), (3, 2, 2)]


def test_should_restore_of_the_workflow_holds_for_tasks_without_retries() -> None:
    first = Flaky(failures=0)
    second = Flaky(failures=1)

    @workflow(retries=Retry(3, should_restore=False))
    def two_steps(ctx: Any) -> None:
        ctx.inline("a", first)
        ctx.inline("b", second)

    run_until_finished(two_steps.enqueue())
    assert first.calls == 2


@pytest.mark.parametrize("should_restore", [False, lambda context, status: False])
def test_a_step_that_is_not_restored_cannot_be_tried_for_ever(should_restore: Any) -> None:
    first = Flaky(failures=1)
    second = Flaky()

    @workflow
    def two_steps(ctx: Any) -> None:
        ctx.inline("a", first, retries=Retry(1, should_restore=should_restore))
        ctx.inline("b", second, retries=3)

    job = run_until_finished(two_steps.enqueue())
    assert job.status == Job.Status.FAILED
    # Once for the failure of the first step, and four times for the second.
    assert (first.calls, second.calls) == (5, 4)


def test_a_should_restore_that_raises_fails_the_attempt() -> None:
    def hostile(context: Any, status: Any) -> bool:
        raise LookupError("no idea")

    first = Flaky(failures=0)

    @workflow
    def two_steps(ctx: Any) -> None:
        ctx.inline("a", first, retries=Retry(should_restore=hostile))
        ctx.inline("b", Flaky(), retries=3)

    job = run_until_finished(two_steps.enqueue())
    assert error_of(job)["name"] == "LookupError"
    assert job.total_tried == 2


def test_a_cancellation_by_a_handler_is_not_retried() -> None:
    flaky = Flaky(error=JobCancelledError)

    @task(retries=5)
    def single() -> int:
        return flaky()

    job = single.enqueue()
    assert run(job) == "error-reached-max-retries"
    assert job.status == Job.Status.CANCELLED
    assert error_of(job)["cancelled"] is True
    assert error_of(job)["message"] == "failure 1"
    assert job.completed_at is not None
    assert job.has_error


def test_a_cancellation_by_a_step_cannot_be_caught() -> None:
    ran_on = []

    @workflow(retries=5)
    def stubborn(ctx: Any) -> str:
        try:
            ctx.inline("a", Flaky(error=JobCancelledError), retries=5)
        except JobCancelledError:
            ran_on.append("handler")
        ctx.inline("b", lambda: ran_on.append("step"))
        return "done"

    job = stubborn.enqueue()
    run(job)
    assert job.status == Job.Status.CANCELLED
    assert job.output is None
    assert ran_on == ["handler"]


def test_retry_later_counts_nowhere() -> None:
    flaky = Flaky(failures=4, error=lambda message: RetryLater(30, message))  # type: ignore[arg-type]
    job = workflow_of(flaky, 0, 0).enqueue()
    for _ in range(4):
        assert run(job) == "error"
        assert (job.status, job.total_tried, waits(job)) == (Job.Status.READY, 0, 30)
        assert "step" not in job.task_status
        skip_delay(job)
    assert run(job) == "success"
    assert job.total_tried == 1
    assert job.task_status["step"]["only"].total_tried == 1
    assert entries(job, "state") == [*["message"] * 4, "succeeded"]


@pytest.mark.parametrize("delay", [0, timedelta(0)])
def test_retry_later_without_a_delay_is_due_at_once(delay: Any) -> None:
    flaky = Flaky(failures=1, error=lambda message: RetryLater(delay))  # type: ignore[arg-type]
    job = workflow_of(flaky, None, None).enqueue()
    assert run(job) == "error"
    assert run(job) == "success"


def test_whatever_retry_later_says_can_be_stored() -> None:
    @task
    def hostile() -> None:
        raise RetryLater(timedelta.max, "a\x00b\ud800" * 100_000)

    job = hostile.enqueue()
    assert run(job) == "error"
    assert (job.status, job.total_tried) == (Job.Status.READY, 0)


def test_retry_starts_the_counters_again_and_keeps_finished_steps() -> None:
    first, second = Flaky(failures=0), Flaky()

    @workflow
    def two_steps(ctx: Any) -> None:
        ctx.inline("a", first)
        ctx.inline("b", second, retries=1)

    job = run_until_finished(two_steps.enqueue())
    assert (job.total_tried, second.calls) == (2, 2)
    assert jobs.retry_by_id(job.pk) == 1
    job.refresh_from_db()
    assert (job.status, job.total_tried) == (Job.Status.READY, 0)
    assert (job.error, job.completed_at) == (None, None)
    assert job.task_status["inline"]["b"].total_tried == 0
    run_until_finished(job)
    assert (job.total_tried, first.calls, second.calls) == (2, 1, 4)
    assert job.task_status["inline"]["b"].total_tried == 2
    assert len(entries(job, "state")) == 5


def test_an_unknown_slug_is_given_back_for_a_while_and_counts_no_attempt() -> None:
    job = Job.objects.create(slug="deployed.tomorrow", input={})
    assert run(job) == "error"
    assert (job.status, job.total_tried) == (Job.Status.READY, 0)
    assert (waits(job) or 0) > 0

    @task(slug="deployed.tomorrow")
    def deployed() -> str:
        return "now"

    skip_delay(job)
    assert run(job) == "success"


@override_settings(DJANGO_JOBS={"UNKNOWN_TASK_GRACE": 0})
def test_an_unknown_slug_fails_with_a_sentence_and_can_be_retried() -> None:
    job = Job.objects.create(slug="deployed.never", input={})
    assert run(job) == "error-reached-max-retries"
    assert job.status == Job.Status.FAILED
    assert error_of(job)["name"] == "UnknownTaskError"
    assert "'deployed.never'" in error_of(job)["message"]
    assert job.retry()

    @task(slug="deployed.never")
    def deployed() -> str:
        return "after all"

    assert run(job) == "success"


def test_an_exhausted_step_of_a_parallel_block_ends_the_job() -> None:
    patient, exhausted = Flaky(), Flaky()

    @workflow
    def both(ctx: Any) -> None:
        with ctx.parallel() as group:
            group.inline("a", patient, retries=3)
            group.inline("b", exhausted, retries=0)

    job = run_until_finished(both.enqueue())
    assert exhausted.calls == 1
    assert error_of(job)["message"] == "failure 1"
