from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Q
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_jobs import jobs, task
from django_jobs.models import Job, JobLog, JobStatus, LogState, TaskStatus
from django_jobs.queue import lifecycle, rescue
from django_jobs.queue.record import Report, Standing, record
from tests.queue.support import ERROR, add, add_many, claim, claim_one, end, end_lease

pytestmark = pytest.mark.django_db


def full_report(job: Job, change: lifecycle.Change | None = None) -> Report:
    """Return a report of all that a worker can write."""
    return Report(
        job=job,
        change=change,
        entries=[JobLog(job=job, state=LogState.MESSAGE, message="a")],
        statuses=[TaskStatus(job=job, task_slug="step", task_id="1", complete=True, output=3)],
        values={"progress": {"current": 1}},
    )


def written() -> tuple[int, int, int]:
    return (
        JobLog.objects.count(),
        TaskStatus.objects.count(),
        Job.objects.filter(progress__isnull=False).count(),
    )


def test_what_a_worker_reports_of_its_job_is_written() -> None:
    add()
    running = claim_one()
    assert record([full_report(running)], using="default") == [Standing.HELD]
    assert written() == (1, 1, 1)
    assert Job.objects.get().status == JobStatus.RUNNING


def lost_to_another_claim(running: Job) -> None:
    Job.objects.filter(pk=running.pk).update(processing_token=uuid.uuid4())


def lost_to_a_rescue(running: Job) -> None:
    end_lease(running)
    rescue.take_over(using="default")
    JobLog.objects.all().delete()


def lost_to_a_deletion(running: Job) -> None:
    Job.objects.filter(pk=running.pk).delete()


@pytest.mark.parametrize("lose", [lost_to_another_claim, lost_to_a_rescue, lost_to_a_deletion])
@pytest.mark.parametrize("change", [None, lifecycle.succeed(3)], ids=["midway", "at its end"])
def test_a_worker_whose_claim_is_gone_writes_nothing(
    lose: Any, change: lifecycle.Change | None
) -> None:
    add()
    running = claim_one()
    lose(running)
    before = list(Job.objects.values())
    assert record([full_report(running, change)], using="default") == [Standing.LOST]
    assert written() == (0, 0, 0)
    assert list(Job.objects.values()) == before


def test_a_worker_whose_job_runs_again_elsewhere_writes_nothing() -> None:
    add()
    first = claim_one()
    lost_to_a_rescue(first)
    second = claim_one()
    assert end(first, lifecycle.fail(ERROR)) is Standing.LOST
    assert Job.objects.get().status == JobStatus.RUNNING
    assert end(second, lifecycle.succeed("second")) is Standing.HELD
    assert Job.objects.get().output == "second"


def test_of_a_job_cancelled_while_it_runs_nothing_more_is_written() -> None:
    add()
    running = claim_one()
    jobs.cancel(Q())
    assert record([full_report(running)], using="default") == [Standing.CANCELLED]
    assert Job.objects.get().processing_token is not None
    at_its_end = full_report(running, lifecycle.succeed(3))
    assert record([at_its_end], using="default") == [Standing.CANCELLED]
    assert written() == (0, 0, 0)
    stored = Job.objects.get()
    assert (stored.status, stored.output, stored.total_tried) == (JobStatus.CANCELLED, None, 0)
    assert (stored.processing_token, stored.processing_until) == (None, None)


def test_a_report_that_writes_nothing_tells_how_the_worker_stands() -> None:
    add_many(3)
    held, lost, cancelled = claim()
    lost_to_another_claim(lost)
    jobs.cancel_by_id(cancelled.pk)
    reports = [Report(job=job) for job in (lost, held, cancelled)]
    with CaptureQueriesContext(connection) as queries:
        standings = record(reports, using="default")
    assert standings == [Standing.LOST, Standing.HELD, Standing.CANCELLED]
    assert len(queries) == 1


def test_one_lost_job_does_not_keep_the_reports_of_others_from_being_written() -> None:
    add_many(2)
    held, lost = claim()
    lost_to_another_claim(lost)
    reports = [full_report(job, lifecycle.succeed(None)) for job in (lost, held)]
    assert record(reports, using="default") == [Standing.LOST, Standing.HELD]
    assert written() == (1, 1, 1)
    assert Job.objects.get(pk=held.pk).status == JobStatus.SUCCESSFUL


@pytest.mark.parametrize(
    ("change", "tried", "finished"),
    [
        (lifecycle.succeed({"a": 1}), 1, True),
        (lifecycle.fail(ERROR), 1, True),
        (lifecycle.retry(ERROR, timedelta(hours=1)), 1, False),
        (lifecycle.postpone(timedelta(hours=1), "later"), 0, False),
        (lifecycle.give_back(), 0, False),
    ],
    ids=["succeed", "fail", "retry", "postpone", "give back"],
)
def test_the_end_of_an_attempt_is_stored(
    change: lifecycle.Change, tried: int, finished: bool
) -> None:
    add()
    running = claim_one()
    end(running, change)
    stored = Job.objects.get()
    assert (stored.status, stored.output, stored.error) == (
        change.status,
        change.output,
        change.error,
    )
    assert stored.total_tried == running.total_tried == tried
    assert (stored.completed_at is not None) is finished
    assert (stored.processing_token, stored.processing_until) == (None, None)
    if change.delay:
        assert stored.wait_until is not None
        assert stored.wait_until - stored.updated_at == change.delay
    assert running.status == stored.status
    assert running.completed_at == stored.completed_at


def test_jobs_that_end_differently_are_told_apart_in_one_batch() -> None:
    add_many(6)
    claimed = claim()
    changes = [
        lifecycle.succeed(1),
        lifecycle.succeed(True),
        lifecycle.succeed(1.0),
        lifecycle.succeed("1"),
        lifecycle.fail(ERROR),
        lifecycle.fail({**ERROR, "message": "other"}),
    ]
    reports = [Report(job=job, change=change) for job, change in zip(claimed, changes, strict=True)]
    record(reports, using="default")
    stored = [Job.objects.get(pk=job.pk) for job in claimed]
    assert [repr(job.output) for job in stored[:2]] == ["1", "True"]
    assert [job.output for job in stored[2:4]] == [1.0, "1"]
    assert [job.error and job.error["message"] for job in stored[4:]] == ["no", "other"]


def test_the_last_of_several_statuses_of_a_step_is_kept() -> None:
    add()
    running = claim_one()

    def report(tried: int) -> Report:
        status = TaskStatus(job=running, task_slug="s", task_id="1", total_tried=tried)
        return Report(job=running, statuses=[status])

    record([report(1), report(2)], using="default")
    record([report(3)], using="default")
    assert TaskStatus.objects.get().total_tried == 3


def test_steps_are_told_apart_by_case_and_by_spaces() -> None:
    add()
    running = claim_one()
    ids = ["a", "A", "a ", "ä", "ae"]
    statuses = [TaskStatus(job=running, task_slug="s", task_id=task_id) for task_id in ids]
    record([Report(job=running, statuses=statuses)], using="default")
    assert sorted(TaskStatus.objects.values_list("task_id", flat=True)) == sorted(ids)


def test_a_job_that_is_deleted_on_completion_leaves_nothing() -> None:
    add("k")
    running = claim_one()
    waiting = add("k")
    report = full_report(running, lifecycle.succeed(None))
    record(
        [Report(job=running, change=report.change, entries=report.entries, delete=True)],
        using="default",
    )
    assert Job.objects.get() == waiting
    assert not JobLog.objects.exists()
    assert claim_one() == waiting


@pytest.mark.django_db(transaction=True)
def test_only_successful_jobs_are_deleted_on_completion() -> None:
    @task(slug="divide")
    def divide(by: int) -> float:
        return 1 / by

    divide.enqueue_many([{"by": 0}, {"by": 1}])
    with override_settings(DJANGO_JOBS={"DELETE_JOB_ON_COMPLETE": True}):
        result = jobs.run()
    assert sorted(result.job_status.values()) == ["error-reached-max-retries", "success"]
    assert Job.objects.get().status == JobStatus.FAILED
