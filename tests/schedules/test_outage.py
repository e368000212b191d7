from __future__ import annotations

from datetime import timedelta

import pytest

from django_jobs import Schedule, jobs
from django_jobs.models import Job, JobSchedule
from django_jobs.worker.schedule_turn import MOST_MADE_UP
from tests.schedules.conftest import Clock
from tests.schedules.support import declare_and_plan, due_times, finish_jobs, row, utc

pytestmark = pytest.mark.django_db


def test_the_last_missed_time_is_made_up_and_no_other(clock: Clock) -> None:
    declare_and_plan("*/5 * * * *")
    clock.set("2026-05-04T14:02")
    assert len(jobs.handle_schedules().queued) == 1
    assert due_times() == [utc("2026-05-04T14:00")]
    assert row().next_run_at == utc("2026-05-04T14:05")
    finish_jobs()
    assert jobs.handle_schedules().queued == []


def test_every_missed_time_is_made_up_where_the_schedule_catches_up(clock: Clock) -> None:
    declare_and_plan(Schedule("*/5 * * * *", catch_up=True))
    clock.set("2026-05-04T12:22")
    assert len(jobs.handle_schedules().queued) == 4
    assert due_times() == [utc(f"2026-05-04T12:{minute:02}") for minute in (5, 10, 15, 20)]
    assert row().next_run_at == utc("2026-05-04T12:25")
    assert row().last_run_at == utc("2026-05-04T12:20")
    assert jobs.handle_schedules().queued == []


def test_an_unfinished_job_does_not_hold_back_what_is_caught_up(clock: Clock) -> None:
    declare_and_plan(Schedule("*/5 * * * *", catch_up=True))
    clock.set("2026-05-04T12:05")
    jobs.handle_schedules()
    clock.set("2026-05-04T12:17")
    result = jobs.handle_schedules()
    assert (len(result.queued), result.skipped) == (2, [])


@pytest.mark.parametrize("missed", [MOST_MADE_UP - 1, MOST_MADE_UP])
def test_as_many_as_are_made_up_at_once_are(clock: Clock, missed: int) -> None:
    declare_and_plan(Schedule("* * * * *", catch_up=True))
    clock.set("2026-05-04T12:01")
    clock.forward(minutes=missed - 1)
    assert len(jobs.handle_schedules().queued) == missed
    assert jobs.handle_schedules().queued == []
    assert row().next_run_at == clock.now + timedelta(minutes=1)


def test_what_is_more_than_can_be_made_up_at_once_follows(clock: Clock) -> None:
    declare_and_plan(Schedule("* * * * *", catch_up=True))
    clock.set("2026-05-04T12:01")
    clock.forward(minutes=2 * MOST_MADE_UP + 20)
    counts = [len(jobs.handle_schedules().queued) for _ in range(4)]
    assert counts == [MOST_MADE_UP, MOST_MADE_UP, 21, 0]
    times = due_times()
    assert times == [utc("2026-05-04T12:01") + timedelta(minutes=n) for n in range(len(times))]
    assert times[-1] == clock.now


def test_a_made_up_run_is_of_a_time_that_an_admin_set(clock: Clock) -> None:
    declare_and_plan("@daily")
    moment = clock.now - timedelta(seconds=20)
    JobSchedule.objects.update(next_run_at=moment)
    assert len(jobs.handle_schedules().queued) == 1
    assert due_times() == [moment]


def test_an_outage_in_a_pause_is_not_made_up_by_catching_up(clock: Clock) -> None:
    declare_and_plan(Schedule("*/5 * * * *", catch_up=True))
    JobSchedule.objects.update(enabled=False)
    clock.forward(hours=1)
    jobs.handle_schedules()
    JobSchedule.objects.update(enabled=True)
    assert jobs.handle_schedules().queued == []
    assert not Job.objects.exists()
