"""What does not move although it should."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_jobs.explain import stuck
from django_jobs.models import Job, JobSchedule, JobStatus
from tests.explain.support import add_worker
from tests.queue.support import add, add_many, claim, claim_one, end_lease

pytestmark = pytest.mark.django_db


def find() -> stuck.Stuck:
    return stuck.find(using="default")


def have_run(number: int, seconds: float) -> None:
    """Let jobs have run for so long."""
    ended = timezone.now()
    Job.objects.bulk_create(
        Job(
            slug="work", status=JobStatus.SUCCESSFUL, completed_at=ended,
            started_at=ended - timedelta(seconds=seconds),
        )
        for _ in range(number)
    )  # fmt: skip


def started(job: Job, seconds_ago: float) -> None:
    began = timezone.now() - timedelta(seconds=seconds_ago)
    Job.objects.filter(pk=job.pk).update(started_at=began)


def test_nothing_is_stuck_where_all_is_well() -> None:
    add_worker()
    add_many(3)
    claim_one()
    assert not find()


def test_a_lease_that_is_over_is_found() -> None:
    add_many(2)
    over, _running = claim(2)
    end_lease(over)
    found = find()
    assert found.leases_over == (over.pk,)
    assert set(found.jobs) == {over.pk}


def test_a_cancelled_job_whose_handler_never_left_is_not_running() -> None:
    add()
    job = claim_one()
    end_lease(job)
    job.cancel()
    assert not find().jobs


def test_a_job_of_a_silent_worker_and_the_worker_are_found() -> None:
    add_many(3)
    lost, held, gone = claim(3)
    silent, alive = add_worker(silent_for=3600), add_worker()
    for job, worker in ((lost, silent.pk), (held, alive.pk), (gone, 999_999)):
        Job.objects.filter(pk=job.pk).update(worker=worker)
    found = find()
    assert set(found.without_worker) == {lost.pk, gone.pk}
    assert found.workers == (silent.pk,)


def test_a_job_far_above_its_usual_duration_is_found() -> None:
    have_run(10, seconds=20)
    add_many(2)
    slow, usual = claim(2)
    started(slow, 500)
    started(usual, 60)
    assert find().slow == (slow.pk,)


def test_what_is_usual_takes_more_than_a_few_runs_to_know() -> None:
    have_run(4, seconds=1)
    add()
    started(claim_one(), 5000)
    assert not find().slow


def test_a_run_of_some_seconds_is_never_called_slow() -> None:
    have_run(10, seconds=0.01)
    add()
    started(claim_one(), 10)
    assert not find().slow


def test_a_schedule_that_nobody_sees_to_is_found() -> None:
    def schedule(minutes_ago: float, **fields: Any) -> JobSchedule:
        due = timezone.now() - timedelta(minutes=minutes_ago)
        return JobSchedule.objects.create(slug="s", cron="@daily", next_run_at=due, **fields)

    overdue = schedule(10)
    schedule(0.5)
    schedule(10, enabled=False)
    schedule(-10)
    assert find().schedules == (overdue.pk,)


def test_it_takes_a_bounded_number_of_queries(django_assert_max_num_queries: Any) -> None:
    add_many(20)
    claim(20)
    have_run(20, 1)
    with django_assert_max_num_queries(4):
        find()
