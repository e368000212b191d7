from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from django.test import override_settings
from django.utils import timezone

from django_jobs import signals
from django_jobs.models import Job, JobStatus, Worker
from django_jobs.queue import lifecycle, operate, rescue
from tests.queue.support import ERROR, add, add_many, claim, claim_one, end, end_lease, pks

pytestmark = pytest.mark.django_db


def take_over() -> int:
    return rescue.take_over(using="default")


def lose() -> None:
    end_lease(claim_one())
    assert take_over() == 1


def test_a_job_whose_lease_is_over_is_ready_again_and_has_lost_no_try() -> None:
    add()
    end(claim_one(), lifecycle.retry(ERROR, timedelta(0)))
    lose()
    stored = Job.objects.get()
    assert (stored.status, stored.total_tried, stored.crashes) == (JobStatus.READY, 1, 1)
    assert (stored.processing_token, stored.processing_until) == (None, None)
    assert "worker was lost" in stored.log.get().message
    assert claim_one().pk == stored.pk


def test_a_lease_that_lasts_is_left_alone() -> None:
    add()
    running = claim_one()
    assert take_over() == 0
    assert Job.objects.get().processing_token == running.processing_token


def test_a_job_that_loses_its_worker_too_often_fails() -> None:
    add()
    heard: list[Any] = []

    def hear(*, job: Job, **kwargs: Any) -> None:
        heard.append((job.pk, job.status))

    signals.job_failed.connect(hear)
    try:
        lose()
        lose()
        assert heard == []
        lose()
    finally:
        signals.job_failed.disconnect(hear)
    stored = Job.objects.get()
    assert (stored.status, stored.crashes, stored.total_tried) == (JobStatus.FAILED, 3, 0)
    assert stored.error is not None
    assert stored.error["name"] == "WorkerLostError"
    assert stored.completed_at is not None
    assert heard == [(stored.pk, JobStatus.FAILED)]


def test_the_setting_says_how_often_a_worker_may_be_lost() -> None:
    add()
    with override_settings(DJANGO_JOBS={"MAX_CRASHES": 1}):
        lose()
    assert Job.objects.get().status == JobStatus.FAILED


def test_a_retry_forgets_the_lost_workers() -> None:
    job = add()
    for _ in range(3):
        lose()
    job.retry()
    lose()
    assert Job.objects.get().status == JobStatus.READY


def test_what_a_shutdown_gives_back_has_not_lost_its_worker() -> None:
    add()
    for _ in range(5):
        end(claim_one(), lifecycle.give_back())
    assert (Job.objects.get().crashes, Job.objects.get().status) == (0, JobStatus.READY)


def test_a_cancelled_job_whose_lease_is_over_is_released_and_stays_cancelled() -> None:
    add()
    running = claim_one()
    operate.cancel(Job.objects.all())
    end_lease(running)
    take_over()
    stored = Job.objects.get()
    assert (stored.status, stored.processing_token, stored.crashes) == (
        JobStatus.CANCELLED, None, 0,
    )  # fmt: skip
    assert stored.processing_until is None


def test_jobs_that_crashed_differently_often_are_counted_each() -> None:
    first = add(priority=1)
    lose()
    second = add()
    end_lease(*claim())
    assert take_over() == 2
    assert Job.objects.get(pk=first.pk).crashes == 2
    assert Job.objects.get(pk=second.pk).crashes == 1


def test_more_jobs_than_fit_a_batch_are_taken_over() -> None:
    add_many(rescue.BATCH + 1)
    end_lease(*claim(rescue.BATCH + 1))
    assert take_over() == rescue.BATCH + 1
    assert len(claim(rescue.BATCH + 1)) == rescue.BATCH + 1


def test_jobs_of_a_dead_worker_are_ready_before_their_leases_are_over() -> None:
    now = timezone.now()
    dead, alive = (
        Worker.objects.create(host="h", pid=pid, started_at=now, last_heartbeat_at=now)
        for pid in (1, 2)
    )
    add_many(2)
    lost, running = claim()
    Job.objects.filter(pk=lost.pk).update(worker=dead)
    Job.objects.filter(pk=running.pk).update(worker=alive)
    rescue.end_leases(dead, using="default")
    assert take_over() == 1
    assert pks(claim()) == [lost.pk]
    assert list(Worker.objects.all()) == [alive]


@pytest.mark.parametrize("error", [timedelta(hours=1), -timedelta(hours=1)])
def test_the_clock_of_a_machine_that_is_wrong_does_not_end_or_prolong_leases(
    error: timedelta,
) -> None:
    right = timezone.now

    def wrong() -> datetime:
        return right() + error

    add_many(2)
    with mock.patch("django.utils.timezone.now", wrong):
        claimed, ended = claim()
        assert claimed.processing_until is not None
        lease = claimed.processing_until - right()
        Job.objects.filter(pk=ended.pk).update(processing_until=right() - timedelta(seconds=1))
        assert pks(list(Job.objects.stuck())) == [ended.pk]
        assert take_over() == 1
        assert take_over() == 0
    assert timedelta(seconds=30) < lease <= timedelta(seconds=61)
    assert Job.objects.get(pk=claimed.pk).status == JobStatus.RUNNING


@pytest.mark.parametrize("error", [timedelta(hours=1), -timedelta(hours=1)])
def test_the_clock_of_a_machine_that_is_wrong_does_not_wake_delayed_jobs(error: timedelta) -> None:
    right = timezone.now

    def wrong() -> datetime:
        return right() + error

    add(wait_until=right() + timedelta(minutes=30))
    due = add(wait_until=right() - timedelta(minutes=30))
    with mock.patch("django.utils.timezone.now", wrong):
        assert pks(claim()) == [due.pk]
