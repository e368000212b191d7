"""Local times that do not exist, or exist twice, through handle_schedules."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from django_jobs import Schedule, jobs
from tests.schedules.conftest import Clock
from tests.schedules.support import declare_and_plan, due_times, finish_jobs, utc

pytestmark = pytest.mark.django_db

BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"


def fired(clock: Clock, cron: str, zone: str, start: str, end: str) -> list[datetime]:
    """Return what fires when schedules are handled every five minutes from start to end."""
    clock.set(start)
    declare_and_plan(Schedule(cron, timezone=zone))
    while clock.now < utc(end):
        clock.forward(minutes=5)
        jobs.handle_schedules()
        finish_jobs()
    return due_times()


@pytest.mark.parametrize(
    ("zone", "start", "end", "times"),
    [
        # The clock jumps at 01:00 UTC from 02:00 to 03:00, and at 07:00 UTC in New York.
        (BERLIN, "2026-03-29T00:30", "2026-03-29T02:30", ["2026-03-29T01:00"]),
        (NEW_YORK, "2026-03-08T06:30", "2026-03-08T08:30", ["2026-03-08T07:00"]),
        # It goes back at 01:00 UTC from 03:00 to 02:00, and at 06:00 UTC from 02:00 to 01:00.
        (BERLIN, "2026-10-24T23:30", "2026-10-25T03:30", ["2026-10-25T00:30"]),
        (NEW_YORK, "2026-11-01T04:30", "2026-11-01T08:30", ["2026-11-01T07:30"]),
    ],
)
def test_half_past_two_is_due_once_a_day(
    clock: Clock, zone: str, start: str, end: str, times: list[str]
) -> None:
    assert fired(clock, "30 2 * * *", zone, start, end) == [utc(time) for time in times]


def test_half_past_one_exists_twice_in_new_york_and_is_due_once(clock: Clock) -> None:
    times = fired(clock, "30 1 * * *", NEW_YORK, "2026-11-01T04:30", "2026-11-01T08:30")
    assert times == [utc("2026-11-01T05:30")]


@pytest.mark.parametrize(
    ("zone", "start", "end", "times"),
    [
        (
            BERLIN, "2026-03-29T00:40", "2026-03-29T01:30",
            ["2026-03-29T00:45", "2026-03-29T01:00", "2026-03-29T01:15", "2026-03-29T01:30"],
        ),
        (
            NEW_YORK, "2026-03-08T06:40", "2026-03-08T07:30",
            ["2026-03-08T06:45", "2026-03-08T07:00", "2026-03-08T07:15", "2026-03-08T07:30"],
        ),
        (
            BERLIN, "2026-10-25T00:25", "2026-10-25T02:20",
            ["2026-10-25T00:30", "2026-10-25T00:45", "2026-10-25T02:00", "2026-10-25T02:15"],
        ),
        (
            NEW_YORK, "2026-11-01T05:25", "2026-11-01T07:20",
            ["2026-11-01T05:30", "2026-11-01T05:45", "2026-11-01T07:00", "2026-11-01T07:15"],
        ),
    ],
)  # fmt: skip
def test_each_quarter_of_an_hour_on_the_clock_is_due_once(
    clock: Clock, zone: str, start: str, end: str, times: list[str]
) -> None:
    assert fired(clock, "*/15 * * * *", zone, start, end) == [utc(time) for time in times]


@pytest.mark.parametrize(("zone", "day"), [(BERLIN, "2026-03-29"), (NEW_YORK, "2026-11-01")])
def test_an_outage_across_the_change_is_made_up_by_times_that_differ(
    clock: Clock, zone: str, day: str
) -> None:
    clock.set(f"{day}T00:00")
    declare_and_plan(Schedule("*/15 * * * *", timezone=zone, catch_up=True))
    clock.now += timedelta(hours=12)
    jobs.handle_schedules()
    times = due_times()
    walls = [time.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for time in times]
    assert len(set(walls)) == len(walls) == len(set(times))
    assert times == sorted(times)
