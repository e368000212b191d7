from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Q
from django.test import override_settings
from django.utils import timezone

from django_jobs import jobs, signals
from django_jobs.models import Job, JobLog, JobStatus, LogState, Queue, TaskStatus
from django_jobs.queue import lifecycle, operate
from tests.queue.support import ERROR, add, add_many, claim, claim_one, end, end_lease, pks

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def all_jobs() -> Any:
    return Job.objects.order_by("pk")


# cancel


def test_what_is_not_finished_is_cancelled_whatever_it_does() -> None:
    running, sleeping = add(priority=2), add(priority=1)
    _running, claimed = claim(2)
    end(claimed, lifecycle.suspend(HOUR))
    ready, delayed = add(), add(wait_until=timezone.now() + HOUR)
    assert jobs.cancel(Q()) == 4
    for job in (ready, delayed, running, sleeping):
        job.refresh_from_db()
        assert job.status == JobStatus.CANCELLED
        assert job.has_error
        assert job.error is not None
        assert job.error["cancelled"] is True
        assert job.completed_at is not None


@pytest.mark.parametrize(
    "change", [lifecycle.succeed(3), lifecycle.fail(ERROR), lifecycle.cancel(ERROR)]
)
def test_what_is_finished_is_not_cancelled(change: lifecycle.Change) -> None:
    job = add()
    end(claim_one(), change)
    before = Job.objects.values().get()
    assert not job.cancel()
    assert Job.objects.values().get() == before


def test_a_cancelled_job_is_never_claimed() -> None:
    jobs.cancel_by_id(add().pk)
    jobs.cancel_by_id(add(wait_until=timezone.now() - HOUR).pk)
    assert claim() == []


def test_a_cancelled_running_job_keeps_its_claim_until_its_handler_has_left() -> None:
    add()
    running = claim_one()
    jobs.cancel_by_id(running.pk)
    stored = Job.objects.get()
    assert stored.processing_token == running.processing_token
    end(running)
    stored.refresh_from_db()
    assert (stored.status, stored.processing_token) == (JobStatus.CANCELLED, None)
    assert stored.output is None


def test_jobs_are_cancelled_by_condition_and_queue() -> None:
    chosen = add(queue="a", input={"n": 1})
    add(queue="a", input={"n": 2})
    add(queue="b", input={"n": 1})
    assert jobs.cancel(Q(input__n=1), queue="a") == 1
    assert pks(list(Job.objects.filter(status=JobStatus.CANCELLED))) == [chosen.pk]


def test_more_jobs_than_fit_a_batch_are_cancelled() -> None:
    add_many(operate.BATCH + 1)
    assert jobs.cancel(Q()) == operate.BATCH + 1
    assert not Job.objects.unfinished().exists()


def test_cancelling_is_announced_once_for_each_job() -> None:
    heard: list[int] = []

    def hear(*, job: Job, **kwargs: Any) -> None:
        heard.append(job.pk)

    signals.job_cancelled.connect(hear)
    try:
        added = add_many(2)
        jobs.cancel(Q())
        jobs.cancel(Q())
    finally:
        signals.job_cancelled.disconnect(hear)
    assert heard == pks(added)


# retry


def test_a_failed_job_starts_anew() -> None:
    add()
    end(claim_one(), lifecycle.retry(ERROR, timedelta(0)))
    end(claim_one(), lifecycle.fail(ERROR))
    Job.objects.update(crashes=2)
    assert jobs.retry_by_id(Job.objects.get().pk) == 1
    stored = Job.objects.get()
    assert (stored.status, stored.total_tried, stored.crashes) == (JobStatus.READY, 0, 0)
    assert (stored.error, stored.output, stored.completed_at) == (None, None, None)
    assert stored.wait_until is None
    assert pks(claim()) == [stored.pk]


def test_a_cancelled_delayed_job_that_is_retried_is_due_at_once() -> None:
    job = add(wait_until=timezone.now() + HOUR)
    assert job.cancel()
    assert job.retry()
    assert pks(claim()) == [job.pk]


def test_finished_steps_stay_finished_and_the_counts_of_others_start_again() -> None:
    job = add()
    end(claim_one(), lifecycle.fail(ERROR))
    fields = {"job": job, "task_slug": "step", "total_tried": 2, "total_failed": 2}
    TaskStatus.objects.create(task_id="done", complete=True, output=[1], **fields)
    TaskStatus.objects.create(task_id="failed", **fields)
    job.retry()
    done, failed = TaskStatus.objects.order_by("task_id")
    assert (done.complete, done.output) == (True, [1])
    assert (failed.total_tried, failed.total_failed) == (0, 0)


def test_only_failed_and_cancelled_jobs_are_retried() -> None:
    add_many(4)
    succeeded, failed, cancelled, _running = claim()
    end(succeeded)
    end(failed, lifecycle.fail(ERROR))
    end(cancelled, lifecycle.cancel(ERROR))
    add(wait_until=timezone.now() + HOUR)
    assert jobs.retry(Q()) == 2
    assert sorted(pks(claim())) == sorted([failed.pk, cancelled.pk])
    assert not Job.objects.get(pk=succeeded.pk).retry()


def test_a_cancelled_job_is_not_retried_before_its_handler_has_left() -> None:
    add()
    running = claim_one()
    job = Job.objects.get()
    job.cancel()
    assert not job.retry()
    assert job.status == JobStatus.CANCELLED
    end(running)
    assert job.retry()


def test_a_cancelled_job_is_retried_once_the_lease_of_its_handler_is_over() -> None:
    add()
    running = claim_one()
    job = Job.objects.get()
    job.cancel()
    end_lease(running)
    assert job.retry()
    assert claim_one().pk == job.pk
    # What the first handler still reports is refused.
    end(running)
    job.refresh_from_db()
    assert job.status == JobStatus.RUNNING


def test_more_jobs_than_fit_a_batch_are_retried() -> None:
    add_many(operate.BATCH + 1)
    jobs.cancel(Q())
    assert jobs.retry(Q()) == operate.BATCH + 1


# prune


def finished(status: JobStatus, age: timedelta, **fields: Any) -> Job:
    return Job.objects.create(
        slug="work", status=status, completed_at=timezone.now() - age, **fields
    )


def test_jobs_that_finished_before_a_time_are_deleted_with_what_belongs_to_them() -> None:
    old = finished(JobStatus.SUCCESSFUL, 2 * HOUR)
    child = finished(JobStatus.SUCCESSFUL, HOUR / 2, parent=old)
    JobLog.objects.create(job=old, state=LogState.MESSAGE)
    TaskStatus.objects.create(job=old, task_slug="a", task_id="1")
    assert jobs.prune(before=timezone.now() - HOUR) == 1
    assert Job.objects.get() == child
    assert Job.objects.get().parent is None
    assert not JobLog.objects.exists()
    assert not TaskStatus.objects.exists()


def test_only_the_statuses_asked_for_are_deleted() -> None:
    finished(JobStatus.SUCCESSFUL, HOUR)
    failed = finished(JobStatus.FAILED, HOUR)
    assert jobs.prune(before=timezone.now(), statuses=["successful"]) == 1
    assert Job.objects.get() == failed


def test_unfinished_jobs_are_never_deleted() -> None:
    add(created_at=timezone.now() - 9 * HOUR)
    add()
    claim(1)
    assert jobs.prune(before=timezone.now() + HOUR, statuses=list(JobStatus)) == 0
    assert Job.objects.count() == 2


def test_a_cancelled_job_whose_handler_runs_on_is_not_deleted() -> None:
    add()
    running = claim_one()
    jobs.cancel(Q())
    assert jobs.prune(before=timezone.now() + HOUR) == 0
    end(running)
    assert jobs.prune(before=timezone.now() + HOUR) == 1


def test_without_a_time_each_status_is_kept_as_long_as_the_setting_says() -> None:
    kept = [
        finished(JobStatus.SUCCESSFUL, HOUR),
        finished(JobStatus.FAILED, 3 * HOUR),
        finished(JobStatus.CANCELLED, 99 * HOUR),
    ]
    finished(JobStatus.SUCCESSFUL, 3 * HOUR)
    finished(JobStatus.FAILED, 5 * HOUR)
    with override_settings(DJANGO_JOBS={"RETENTION": {"successful": 2 * HOUR, "failed": 4 * 3600}}):
        assert jobs.prune() == 2
    assert pks(list(all_jobs())) == pks(kept)


def test_without_a_time_and_a_setting_nothing_is_deleted() -> None:
    finished(JobStatus.SUCCESSFUL, 9999 * HOUR)
    assert jobs.prune() == 0


def test_more_jobs_than_fit_a_batch_are_deleted() -> None:
    gone = timezone.now() - HOUR
    Job.objects.bulk_create(
        Job(slug="work", status=JobStatus.FAILED, completed_at=gone)
        for _ in range(2 * operate.BATCH + 1)
    )
    assert jobs.prune(before=timezone.now()) == 2 * operate.BATCH + 1
    assert not Job.objects.exists()


# count, pause


def test_runnable_and_active_jobs_are_counted() -> None:
    add(queue="a", slug="x", priority=2)
    add(queue="a", slug="y", priority=1, meta={"scheduled": True})
    end(claim_one(queue="a"), lifecycle.suspend(HOUR))
    claim_one(queue="a")
    add(queue="b", slug="x", wait_until=timezone.now() + HOUR, meta={"scheduled": True})
    add(queue="b", slug="x", meta={"scheduled": False})
    finished(JobStatus.FAILED, HOUR)
    count = jobs.count_runnable_or_active
    assert count() == 4
    assert (count(queue="a"), count(slug="x"), count(queue="b", slug="y")) == (2, 3, 0)
    assert (count(only_scheduled=True), count(only_scheduled=True, queue="b")) == (2, 1)


def test_a_queue_is_paused_and_resumed_once() -> None:
    assert jobs.pause_queue("a")
    assert not jobs.pause_queue("a")
    paused = Queue.objects.get()
    assert (paused.name, paused.paused) == ("a", True)
    assert paused.paused_at is not None
    assert jobs.resume_queue("a")
    assert not jobs.resume_queue("a")
    assert not jobs.resume_queue("never seen")
    assert (Queue.objects.get().paused, Queue.objects.get().paused_at) == (False, None)


def test_pausing_tells_queues_apart_by_case() -> None:
    jobs.pause_queue("A")
    add(queue="a")
    assert len(claim(queue="a")) == 1
