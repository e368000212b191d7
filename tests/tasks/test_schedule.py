from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from django_jobs.tasks.schedule import (
    EnqueueSchedule,
    Schedule,
    SkipSchedule,
    latest_time,
    next_time,
    times_between,
)

BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_one_schedule_or_several_are_a_tuple() -> None:
    schedule = Schedule("@daily")
    assert Schedule.many(()) == ()
    assert Schedule.many(None) == ()
    assert Schedule.many("@daily") == (schedule,)
    assert Schedule.many(schedule) == (schedule,)
    assert Schedule.many([schedule, "@hourly"]) == (schedule, Schedule("@hourly"))


@pytest.mark.parametrize("value", [5, {"cron": "@daily"}, [5], ("@daily", None)])
def test_nothing_else_means_schedules(value: Any) -> None:
    with pytest.raises(TypeError, match="'schedule' must"):
        Schedule.many(value)


@pytest.mark.parametrize(
    "options",
    [
        {"cron": 5},
        {"queue": 1},
        {"input": [1]},
        {"timezone": ZoneInfo(BERLIN)},
        {"before_schedule": "hooks.before"},
        {"after_schedule": 1},
        {"catch_up": 1},
    ],
)
def test_values_of_a_wrong_type_are_refused_at_declaration(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"'{next(iter(options))}' of Schedule must be"):
        Schedule(**{"cron": "@daily", **options})


@pytest.mark.parametrize(
    "cron",
    ["* * * * *", "*/5 * * * * *", "@daily", "@hourly", " 0 3 * * mon-fri ", "0 0 29 2 *"],
)
def test_a_good_schedule_has_no_problems(cron: str) -> None:
    assert Schedule(cron, timezone=BERLIN).problems() == []


@pytest.mark.parametrize(
    ("cron", "problem"),
    [
        ("", "has 0"),
        ("* * * *", "has 4"),
        ("0 * * * * * 2030", "has 7"),
        ("61 * * * *", "is not valid"),
        ("@sometimes", "is not valid"),
        ("* * * * nonday", "is not valid"),
        ("*/0 * * * *", "is not valid"),
        ("0 0 30 2 *", "never comes true"),
        ("r * * * *", "random"),
        ("0 h(0-3) * * *", "random"),
    ],
)
def test_a_bad_cron_string_is_a_problem_and_no_exception(cron: str, problem: str) -> None:
    problems = Schedule(cron).problems()
    assert len(problems) == 1
    assert repr(cron) in problems[0]
    assert problem in problems[0]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe", "a\x00b"])
def test_a_bad_zone_is_a_problem_and_no_exception(zone: str) -> None:
    assert Schedule("bad", timezone=zone).problems()[1:] == [
        f"There is no time zone {zone!r}; use a name such as 'Europe/Berlin'."
    ]


@pytest.mark.parametrize(
    ("cron", "after", "due"),
    [
        ("*/5 * * * *", "2026-01-01T10:01:30", "2026-01-01T10:05:00"),
        ("*/5 * * * *", "2026-01-01T10:05:00", "2026-01-01T10:10:00"),
        ("*/5 * * * *", "2026-01-01T10:04:59.999999", "2026-01-01T10:05:00"),
        ("30 0 12 * * *", "2026-01-01T00:00:00", "2026-01-01T12:00:30"),
        ("*/10 * * * * *", "2026-01-01T10:00:00.5", "2026-01-01T10:00:10"),
        ("@daily", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        ("@monthly", "2026-01-15T00:00:00", "2026-02-01T00:00:00"),
        ("0 9 * * mon", "2026-01-01T00:00:00", "2026-01-05T09:00:00"),
    ],
)
def test_the_next_time_in_utc(cron: str, after: str, due: str) -> None:
    time = next_time(utc(after), cron=cron, zone="UTC")
    assert time == utc(due)
    assert time.tzinfo is UTC


def test_cron_reads_the_clock_of_its_zone() -> None:
    due = next_time(utc("2026-07-01T00:00"), cron="0 9 * * *", zone=BERLIN)
    assert due == utc("2026-07-01T07:00")
    assert next_time(due, cron="0 9 * * *", zone=ZoneInfo("Asia/Kolkata")) == utc(
        "2026-07-02T03:30"
    )


# The clock jumps at 01:00 UTC in Berlin, from 02:00 to 03:00, and back from 03:00 to 02:00;
# in New York at 07:00 UTC from 02:00 to 03:00 and at 06:00 UTC from 02:00 to 01:00.
@pytest.mark.parametrize(
    ("zone", "cron", "after", "due"),
    [
        (BERLIN, "30 2 * * *", "2026-03-28T12:00", ["03-29T01:00", "03-30T00:30"]),
        (BERLIN, "0 3 * * *", "2026-03-28T12:00", ["03-29T01:00", "03-30T01:00"]),
        (BERLIN, "30 2 * * *", "2026-10-24T12:00", ["10-25T00:30", "10-26T01:30"]),
        (BERLIN, "0 3 * * *", "2026-10-24T12:00", ["10-25T02:00", "10-26T02:00"]),
        (NEW_YORK, "30 2 * * *", "2026-03-07T12:00", ["03-08T07:00", "03-09T06:30"]),
        (NEW_YORK, "30 1 * * *", "2026-10-31T12:00", ["11-01T05:30", "11-02T06:30"]),
        (
            BERLIN,
            "*/15 * * * *",
            "2026-03-29T00:40",
            ["03-29T00:45", "03-29T01:00", "03-29T01:15", "03-29T01:30"],
        ),
        (
            BERLIN,
            "*/15 * * * *",
            "2026-10-25T00:25",
            ["10-25T00:30", "10-25T00:45", "10-25T02:00", "10-25T02:15"],
        ),
        (
            NEW_YORK,
            "*/15 * * * *",
            "2026-03-08T06:40",
            ["03-08T06:45", "03-08T07:00", "03-08T07:15"],
        ),
        (
            NEW_YORK,
            "*/15 * * * *",
            "2026-11-01T05:40",
            ["11-01T05:45", "11-01T07:00", "11-01T07:15"],
        ),
    ],
)
def test_times_that_do_not_exist_or_exist_twice_are_due_once(
    zone: str, cron: str, after: str, due: list[str]
) -> None:
    expected = [utc(f"2026-{text}") for text in due]
    found = times_between(utc(after), expected[-1], cron=cron, zone=zone, limit=len(expected) + 10)
    assert found == expected


@pytest.mark.parametrize(
    ("zone", "day"),
    [(BERLIN, "2026-03-29"), (BERLIN, "2026-10-25"), (NEW_YORK, "2026-03-08"),
     (NEW_YORK, "2026-11-01"), ("Australia/Lord_Howe", "2026-10-03"),
     ("Australia/Lord_Howe", "2026-04-04"), ("Pacific/Apia", "2011-12-30")],
)  # fmt: skip
@pytest.mark.parametrize("cron", ["*/15 * * * *", "7 * * * *", "10 */20 * * * *"])
def test_one_step_at_a_time_is_the_same_as_all_at_once(zone: str, day: str, cron: str) -> None:
    start, end = utc(f"{day}T00:00"), utc(f"{day}T00:00") + timedelta(days=1)
    together = times_between(start, end, cron=cron, zone=zone, limit=1000)
    stepwise = []
    after = start
    while (after := next_time(after, cron=cron, zone=zone)) <= end:
        stepwise.append(after)
    assert stepwise == together
    assert sorted(set(together)) == together
    walls = [time.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for time in together]
    assert len(set(walls)) == len(walls)
    for minutes in range(0, 24 * 60, 5):
        until = start + timedelta(minutes=minutes, seconds=1)
        before = [time for time in together if time <= until]
        if before:
            assert latest_time(until, cron=cron, zone=zone) == before[-1]


def test_times_between_are_the_first_of_a_half_open_interval() -> None:
    after, until = utc("2026-01-01T00:00"), utc("2026-01-01T03:00")
    times = times_between(after, until, cron="@hourly", zone="UTC", limit=10)
    assert times == [utc(f"2026-01-01T0{hour}:00") for hour in (1, 2, 3)]
    assert times_between(after, until, cron="@hourly", zone="UTC", limit=2) == times[:2]


def test_the_latest_time_is_the_last_missed() -> None:
    until = utc("2026-01-05T10:30")
    assert latest_time(until, cron="@hourly", zone="UTC") == utc("2026-01-05T10:00")
    assert latest_time(utc("2026-01-05T10:00"), cron="@hourly", zone="UTC") == utc(
        "2026-01-05T10:00"
    )


def test_a_time_that_never_comes_is_an_error() -> None:
    with pytest.raises(ValueError, match="failed to find next date"):
        next_time(utc("2026-01-01T00:00"), cron="0 0 30 2 *", zone="UTC")


def test_what_before_schedule_returns_is_a_value() -> None:
    assert SkipSchedule() == SkipSchedule()
    assert EnqueueSchedule() == EnqueueSchedule(input=None, wait_until=None)
