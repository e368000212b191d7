"""ctx.sleep(): the job leaves its worker, and goes on where it slept."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from django_jobs import JobContext, jobs, task, workflow
from django_jobs.exceptions import RetryLater
from django_jobs.models import Job, JobStatus
from tests.testapp.journal import until
from tests.worker.support import entries, run

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = 3600


def wake(job: Job) -> None:
    """Let the time that the job waits for be over."""
    rows = Job.objects.filter(pk=job.pk, status=JobStatus.WAITING)
    assert rows.update(wait_until=timezone.now() - timedelta(seconds=1))
    shorten_sleeps(job)


def shorten_sleeps(job: Job) -> None:
    for status in job.task_statuses.filter(task_slug="ctx.sleep", complete=False):
        status.input = {"until": (timezone.now() - timedelta(seconds=1)).isoformat()}
        status.save()


def test_a_sleeping_job_has_left_its_worker() -> None:
    @workflow
    def sleeper(ctx: JobContext) -> None:
        ctx.sleep("nap", timedelta(hours=1))

    job = sleeper.enqueue()
    before = timezone.now()
    assert run(job) == "waiting"
    assert job.status == JobStatus.WAITING
    assert (job.processing_token, job.processing_until) == (None, None)
    assert job.wait_until is not None
    assert abs(job.wait_until - before - timedelta(hours=1)) < timedelta(seconds=5)
    assert (job.total_tried, job.completed_at, job.error) == (0, None, None)
    assert jobs.run().no_jobs_remaining


def test_a_job_goes_on_after_its_sleep_and_has_not_spent_a_retry() -> None:
    calls = []

    @workflow(retries=0)
    def sleeper(ctx: JobContext) -> str:
        calls.append("top")
        ctx.inline("before", lambda: calls.append("before"))
        ctx.sleep("nap", HOUR)
        ctx.inline("after", lambda: calls.append("after"))
        return "awake"

    job = sleeper.enqueue()
    run(job)
    wake(job)
    assert run(job) == "success"
    assert calls == ["top", "before", "top", "after"]
    assert (job.output, job.total_tried) == ("awake", 1)
    assert entries(job, "task_id") == ["before", "nap", "after"]


def test_a_sleep_that_is_over_is_not_slept_again_when_the_job_is_retried() -> None:
    attempts = []

    @workflow(retries=1)
    def sleeper(ctx: JobContext) -> int:
        ctx.sleep("nap", HOUR)
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError
        return ctx.attempt

    job = sleeper.enqueue()
    run(job)
    wake(job)
    assert run(job) == "error"
    assert run(job) == "success"
    assert attempts == [1, 2]


def test_a_job_that_wakes_too_early_sleeps_for_the_rest_only() -> None:
    @workflow
    def sleeper(ctx: JobContext) -> None:
        ctx.sleep("nap", HOUR)

    job = sleeper.enqueue()
    run(job)
    until_then = job.wait_until
    Job.objects.filter(pk=job.pk).update(wait_until=timezone.now() - timedelta(seconds=1))
    assert run(job) == "waiting"
    assert job.wait_until is not None
    assert until_then is not None
    assert abs(job.wait_until - until_then) < timedelta(seconds=2)


def test_a_short_sleep_is_not_cut_short() -> None:
    @workflow
    def sleeper(ctx: JobContext) -> None:
        ctx.sleep("nap", 0.3)

    job = sleeper.enqueue()
    run(job)
    slept_from = job.updated_at
    until(lambda: run(job) == "success")
    assert job.completed_at is not None
    assert job.completed_at - slept_from >= timedelta(seconds=0.25)


def test_no_time_at_all_is_no_sleep() -> None:
    @workflow
    def sleeper(ctx: JobContext) -> str:
        ctx.sleep("nap", 0)
        return "awake"

    job = sleeper.enqueue()
    assert run(job) == "success"


@pytest.mark.parametrize("duration", [-1, "1", True, None])
def test_what_is_no_duration_is_refused(duration: object) -> None:
    @workflow
    def sleeper(ctx: JobContext) -> None:
        ctx.sleep("nap", duration)  # type: ignore[arg-type]

    job = sleeper.enqueue()
    run(job)
    assert job.status == JobStatus.FAILED
    assert job.error is not None
    assert "duration" in job.error["message"]


def test_several_sleeps_at_once_all_begin_at_once() -> None:
    @workflow
    async def sleeper(ctx: JobContext) -> str:
        await asyncio.gather(*(ctx.asleep(f"nap-{hours}", hours * HOUR) for hours in (3, 1, 2)))
        return "awake"

    job = sleeper.enqueue()
    assert run(job) == "waiting"
    # The shortest wakes it; each of the others has begun, too.
    assert job.wait_until is not None
    assert job.wait_until < timezone.now() + timedelta(hours=1.1)
    assert job.task_statuses.filter(task_slug="ctx.sleep").count() == 3
    wake(job)
    assert run(job) == "success"


def test_a_step_beside_a_sleep_is_run_to_its_end() -> None:
    ran = []

    @task
    async def slow() -> int:
        await asyncio.sleep(0.05)
        ran.append("slow")
        return 1

    @workflow
    async def sleeper(ctx: JobContext) -> int:
        _, output = await asyncio.gather(ctx.asleep("nap", HOUR), ctx.arun("slow", slow))
        return output

    job = sleeper.enqueue()
    assert run(job) == "waiting"
    wake(job)
    assert run(job) == "success"
    assert (ran, job.output) == (["slow"], 1)


def test_except_exception_does_not_swallow_a_sleep() -> None:
    @workflow
    def sleeper(ctx: JobContext) -> str:
        try:
            ctx.sleep("nap", HOUR)
        except Exception:
            return "not slept"
        return "awake"

    job = sleeper.enqueue()
    assert run(job) == "waiting"


def test_a_task_that_takes_its_context_may_sleep() -> None:
    @task(takes_context=True)
    def sleeper(ctx: JobContext) -> str:
        ctx.sleep("nap", HOUR)
        return "awake"

    job = sleeper.enqueue()
    assert run(job) == "waiting"
    assert entries(job, "state") == []
    wake(job)
    assert run(job) == "success"
    assert (job.total_tried, entries(job, "task_slug")[-1]) == (1, sleeper.slug)


def test_a_step_may_sleep_and_is_run_again_from_its_top() -> None:
    calls = []

    @task(takes_context=True)
    def inner(ctx: JobContext) -> str:
        calls.append("inner")
        ctx.sleep("nap", HOUR)
        return "rested"

    @workflow
    def outer(ctx: JobContext) -> str:
        return str(ctx.run("inner", inner))

    job = outer.enqueue()
    assert run(job) == "waiting"
    wake(job)
    assert run(job) == "success"
    assert (job.output, calls) == ("rested", ["inner", "inner"])
    assert job.task_status[inner.slug]["inner"].total_tried == 1


def test_a_sleeping_job_does_not_hold_its_concurrency_key() -> None:
    @workflow(concurrency=lambda input, queue: "key")
    def sleeper(ctx: JobContext, seconds: int) -> None:
        if seconds:
            ctx.sleep("nap", seconds)

    asleep, other = sleeper.enqueue(seconds=HOUR), sleeper.enqueue(seconds=0)
    assert run(asleep) == "waiting"
    assert run(other) == "success"


def test_a_sleeping_job_can_be_cancelled() -> None:
    @workflow
    def sleeper(ctx: JobContext) -> None:
        ctx.sleep("nap", HOUR)

    job = sleeper.enqueue()
    run(job)
    assert job.cancel()
    assert job.status == JobStatus.CANCELLED
    Job.objects.filter(pk=job.pk).update(wait_until=timezone.now() - timedelta(seconds=1))
    assert jobs.run().no_jobs_remaining


def test_retry_later_after_a_sleep_does_not_sleep_again() -> None:
    @workflow
    def sleeper(ctx: JobContext, seen: list[int]) -> None:
        ctx.sleep("nap", HOUR)
        if not ctx.task_status.get("inline"):
            ctx.inline("note", lambda: 1)
            raise RetryLater(0)

    job = sleeper.enqueue(seen=[])
    run(job)
    wake(job)
    assert run(job) == "error"
    assert run(job) == "success"
    assert job.total_tried == 1


@pytest.mark.django_db(transaction=False)
def test_a_job_sleeps_inside_of_a_transaction_too() -> None:
    @workflow
    def sleeper(ctx: JobContext) -> str:
        ctx.sleep("nap", HOUR)
        return "awake"

    @workflow
    async def asleeper(ctx: JobContext) -> str:
        await asyncio.gather(ctx.asleep("nap", HOUR), ctx.asleep("other", HOUR))
        return "awake"

    for job in (sleeper.enqueue(), asleeper.enqueue()):
        with transaction.atomic():
            assert run(job) == "waiting"
        wake(job)
        assert run(job) == "success"
