"""Retry from a step: it and what came after it run again, what came before does not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from django_jobs import DuplicateJobError, JobContext, jobs, task, workflow
from django_jobs.models import Job, JobStatus, TaskStatus
from django_jobs.queue import operate
from tests.worker.support import entries, run, run_until_finished

pytestmark = pytest.mark.django_db(transaction=True)


class Ran(list):
    """What has run, in order."""

    def step(self, ctx: Any, name: str, fails: bool = False) -> Any:
        def do() -> str:
            self.append(name)
            if fails:
                raise ValueError(name)
            return name

        return ctx.inline(name, do)


@pytest.fixture
def ran() -> Ran:
    return Ran()


def retry_from(job: Job, name: str) -> bool:
    step = TaskStatus.objects.get(job=job, task_id=name)
    took_place = operate.retry_from(job.pk, step.pk, using="default")
    job.refresh_from_db()
    return took_place


def three_steps(ran: Ran, **options: Any) -> Any:
    @workflow(slug="flow", **options)
    def flow(ctx: JobContext) -> None:
        for name in ("a", "b", "c"):
            ran.step(ctx, name, fails=name == "c")

    return flow


def test_the_step_and_those_after_it_run_again(ran: Ran) -> None:
    job = three_steps(ran).enqueue()
    run(job)
    assert retry_from(job, "b")
    assert (job.status, job.error, job.total_tried) == (JobStatus.READY, None, 0)
    run(job)
    assert ran == ["a", "b", "c", "b", "c"]
    assert "Retried from a step." in entries(job, "message")


def test_a_cancelled_job_is_retried_from_a_step(ran: Ran) -> None:
    @workflow(slug="flow")
    def flow(ctx: JobContext) -> None:
        ran.step(ctx, "a")
        ctx.sleep("night", timedelta(hours=8))

    job = flow.enqueue()
    run(job)
    job.cancel()
    assert retry_from(job, "a")
    run(job)
    assert (ran, job.status) == (["a", "a"], JobStatus.WAITING)


def test_nothing_changes_where_the_job_is_not_finished_any_more(ran: Ran) -> None:
    job = three_steps(ran).enqueue()
    run(job)
    job.retry()
    before = [list(TaskStatus.objects.values()), list(Job.objects.values())]
    assert not retry_from(job, "a")
    assert [list(TaskStatus.objects.values()), list(Job.objects.values())] == before


def test_nothing_changes_where_the_job_has_no_such_step(ran: Ran) -> None:
    job = three_steps(ran).enqueue()
    run(job)
    assert not operate.retry_from(job.pk, 0, using="default")
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED


def test_nothing_changes_where_the_twin_is_unfinished(ran: Ran) -> None:
    flow = three_steps(ran, unique=True)
    job = flow.enqueue()
    run(job)
    flow.enqueue()
    with pytest.raises(DuplicateJobError):
        retry_from(job, "a")
    assert TaskStatus.objects.filter(job=job).count() == 3


def nested(ran: Ran) -> Any:
    @task(slug="outer", takes_context=True)
    def outer(ctx: JobContext) -> None:
        ran.step(ctx, "inner-1")
        ran.step(ctx, "inner-2")

    @workflow(slug="flow")
    def flow(ctx: JobContext) -> None:
        ran.step(ctx, "first")
        ctx.run("outer", outer)
        ran.step(ctx, "last", fails=True)

    return flow


def test_steps_within_the_step_run_again(ran: Ran) -> None:
    job = nested(ran).enqueue()
    run(job)
    assert retry_from(job, "outer")
    run(job)
    assert ran == ["first", "inner-1", "inner-2", "last", "inner-1", "inner-2", "last"]


def test_a_step_around_it_runs_again_without_those_before_it(ran: Ran) -> None:
    job = nested(ran).enqueue()
    run(job)
    assert retry_from(job, "inner-2")
    run(job)
    assert ran == ["first", "inner-1", "inner-2", "last", "inner-2", "last"]


def with_child(ran: Ran) -> Job:
    """Return a job that has failed after its step "child" enqueued another."""

    @task(slug="child")
    def child() -> None: ...

    @workflow(slug="flow")
    def flow(ctx: JobContext) -> None:
        ctx.enqueue_child("child", child)
        ran.step(ctx, "fails", fails=True)

    job = flow.enqueue()
    run(job)
    return job


def test_a_child_is_enqueued_again_and_the_unfinished_one_cancelled(ran: Ran) -> None:
    job = with_child(ran)
    first = Job.objects.get(slug="child")
    assert retry_from(job, "child")
    run(job)
    first.refresh_from_db()
    assert first.status == JobStatus.CANCELLED
    assert Job.objects.filter(slug="child", status=JobStatus.READY).count() == 1


def test_a_child_of_a_step_that_is_kept_goes_on(ran: Ran) -> None:
    job = with_child(ran)
    assert retry_from(job, "fails")
    assert Job.objects.get(slug="child").status == JobStatus.READY


def test_an_event_that_was_taken_is_taken_again(ran: Ran) -> None:
    @workflow(slug="flow")
    def flow(ctx: JobContext) -> None:
        ran.append(ctx.wait_for_event("approval", "approved"))
        ran.step(ctx, "fails", fails=True)

    job = flow.enqueue()
    jobs.send_event("approved", "by Ada")
    run_until_finished(job)
    assert retry_from(job, "approval")
    run_until_finished(job)
    assert ran == ["by Ada", "fails", "by Ada", "fails"]
