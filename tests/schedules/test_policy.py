from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from django_jobs import EnqueueSchedule, Schedule, SkipSchedule, jobs
from django_jobs.models import Job, ScheduleRun
from django_jobs.worker.schedules import ScheduleContext
from tests.schedules.conftest import Clock
from tests.schedules.support import declare, declare_and_plan, due_times, finish_jobs, row, utc

pytestmark = pytest.mark.django_db


def due(clock: Clock, **options: Any) -> None:
    """Declare a schedule and let its first due time come."""
    declare_and_plan(Schedule("*/5 * * * *", **options))
    clock.set("2026-05-04T12:05")


@pytest.mark.parametrize("status", [Job.Status.READY, Job.Status.RUNNING, Job.Status.WAITING])
def test_no_job_is_added_while_the_one_before_is_unfinished(clock: Clock, status: str) -> None:
    due(clock)
    jobs.handle_schedules()
    token = {"processing_token": "0" * 32, "processing_until": clock.now}
    Job.objects.update(status=status, **(token if status == Job.Status.RUNNING else {}))
    clock.forward(minutes=5)
    result = jobs.handle_schedules()
    assert result.queued == []
    assert result.skipped == [("scheduled", "The job before it is not finished.")]
    assert ScheduleRun.objects.get(due_at=clock.now).reason == "The job before it is not finished."


@pytest.mark.parametrize("status", [Job.Status.SUCCESSFUL, Job.Status.FAILED, Job.Status.CANCELLED])
def test_a_finished_job_holds_nothing_back(clock: Clock, status: str) -> None:
    due(clock)
    jobs.handle_schedules()
    Job.objects.update(status=status)
    clock.forward(minutes=5)
    assert len(jobs.handle_schedules().queued) == 1


def test_a_skipped_time_is_gone(clock: Clock) -> None:
    due(clock)
    jobs.handle_schedules()
    clock.forward(minutes=5)
    jobs.handle_schedules()
    finish_jobs()
    clock.forward(minutes=2)
    assert jobs.handle_schedules().queued == []
    assert row().last_run_at == utc("2026-05-04T12:05")
    clock.forward(minutes=3)
    jobs.handle_schedules()
    assert due_times() == [utc("2026-05-04T12:05"), utc("2026-05-04T12:15")]


@pytest.mark.parametrize(
    "other",
    [
        {"queue": "elsewhere", "meta": {"scheduled": True}},
        {"meta": {"scheduled": False}},
        {"meta": {"note": "by hand"}},
        {},
    ],
)
def test_jobs_of_other_queues_and_those_not_scheduled_hold_nothing_back(
    clock: Clock, other: dict[str, Any]
) -> None:
    due(clock)
    jobs.enqueue("scheduled", {}, **other)
    assert len(jobs.handle_schedules().queued) == 1


def test_before_schedule_is_told_what_it_decides_on(clock: Clock) -> None:
    asked: list[ScheduleContext] = []
    due(clock, before_schedule=asked.append)
    jobs.handle_schedules()
    clock.forward(minutes=5)
    jobs.handle_schedules()
    first, second = asked
    assert (first.slug, first.queue, first.due) == (
        "scheduled", "default", utc("2026-05-04T12:05"),
    )  # fmt: skip
    assert first.schedule == row()
    assert (first.active_jobs, second.active_jobs) == ([], [Job.objects.get()])
    assert first.job is None


def test_before_schedule_may_leave_it_to_the_default_policy(clock: Clock) -> None:
    due(clock, before_schedule=lambda context: None)
    assert len(jobs.handle_schedules().queued) == 1
    clock.forward(minutes=5)
    assert len(jobs.handle_schedules().skipped) == 1


@pytest.mark.parametrize("decision", [EnqueueSchedule(), EnqueueSchedule])
def test_before_schedule_may_enqueue_in_spite_of_an_active_job(clock: Clock, decision: Any) -> None:
    due(clock, before_schedule=lambda context: decision)
    jobs.handle_schedules()
    clock.forward(minutes=5)
    assert len(jobs.handle_schedules().queued) == 1
    assert due_times() == [utc("2026-05-04T12:05"), utc("2026-05-04T12:10")]


def test_before_schedule_may_give_another_input_and_another_time(clock: Clock) -> None:
    later = utc("2026-05-04T18:00")
    due(
        clock,
        input={"number": 1},
        before_schedule=lambda context: EnqueueSchedule(
            input={"number": context.due.minute}, wait_until=later
        ),
    )
    [job] = jobs.handle_schedules().queued
    assert (job.input, job.wait_until, job.meta) == ({"number": 5}, later, {"scheduled": True})


def test_before_schedule_may_give_an_empty_input(clock: Clock) -> None:
    due(clock, input={"number": 1}, before_schedule=lambda context: EnqueueSchedule(input={}))
    [job] = jobs.handle_schedules().queued
    assert job.input == {}


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (SkipSchedule("Holidays."), "Holidays."),
        (SkipSchedule(), "before_schedule skipped it."),
        (SkipSchedule, "before_schedule skipped it."),
        (SkipSchedule("x\x00" + "y" * 500), "x\N{REPLACEMENT CHARACTER}" + "y" * 253),
    ],
)
def test_before_schedule_may_skip(clock: Clock, decision: Any, reason: str) -> None:
    due(clock, before_schedule=lambda context: decision)
    result = jobs.handle_schedules()
    assert (result.queued, result.skipped, result.errored) == ([], [("scheduled", reason)], [])
    assert not Job.objects.exists()
    assert row().last_run_at is None
    assert row().next_run_at == utc("2026-05-04T12:10")
    assert jobs.handle_schedules().skipped == []


def raising(error: Exception) -> Callable[[Any], None]:
    def hook(context: Any) -> None:
        raise error

    return hook


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        (raising(RuntimeError("The calendar is down.")), "The calendar is down."),
        (raising(ZeroDivisionError()), "ZeroDivisionError"),
        (lambda context: True, "not bool"),
        (lambda context: "skip", "not str"),
        (lambda context: EnqueueSchedule(input={"nonsense": 1}), "nonsense"),
        (lambda context: EnqueueSchedule(input=[1]), ""),  # type: ignore[arg-type]
        (lambda context: EnqueueSchedule(wait_until=datetime(2026, 1, 1)), "aware"),
        (lambda context: EnqueueSchedule(wait_until="soon"), "datetime"),  # type: ignore[arg-type]
    ],
)
def test_a_before_schedule_that_fails_costs_its_due_time_only(
    clock: Clock, hook: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    declare("*/5 * * * *", slug="zzz")
    due(clock, before_schedule=hook)
    result = jobs.handle_schedules()
    [(slug, said)] = result.errored
    assert slug == "scheduled"
    assert reason in said
    assert [job.slug for job in result.queued] == ["zzz"]
    assert ScheduleRun.objects.get(schedule=row()).reason == said
    assert row().next_run_at == utc("2026-05-04T12:10")
    assert any(
        record.levelno == logging.ERROR and "scheduled" in record.getMessage()
        for record in caplog.records
    )
    assert jobs.handle_schedules().errored == []


def test_after_schedule_sees_the_job(clock: Clock) -> None:
    seen: list[ScheduleContext] = []
    due(clock, after_schedule=seen.append)
    [job] = jobs.handle_schedules().queued
    assert [context.job for context in seen] == [job]
    assert (seen[0].slug, seen[0].due) == ("scheduled", utc("2026-05-04T12:05"))


def test_after_schedule_is_not_called_for_a_skipped_time(clock: Clock) -> None:
    seen: list[ScheduleContext] = []
    due(clock, before_schedule=lambda context: SkipSchedule(), after_schedule=seen.append)
    jobs.handle_schedules()
    assert seen == []


def test_an_after_schedule_that_raises_hurts_neither_its_job_nor_others(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    declare("*/5 * * * *", slug="zzz")
    due(clock, after_schedule=raising(RuntimeError("no")))
    result = jobs.handle_schedules()
    assert ([job.slug for job in result.queued], result.errored) == (["scheduled", "zzz"], [])
    assert "after_schedule of scheduled raised" in caplog.text


def test_a_job_with_an_unfinished_twin_is_not_enqueued_again(clock: Clock) -> None:
    declare_and_plan("*/5 * * * *", unique=True)
    twin = jobs.enqueue("scheduled", {})
    clock.set("2026-05-04T12:05")
    result = jobs.handle_schedules()
    assert result.queued == []
    assert result.skipped == [("scheduled", "A job with the same unique key is not finished.")]
    assert Job.objects.get().pk == twin.pk


def test_two_schedules_of_a_task_that_are_due_together_enqueue_one_job(clock: Clock) -> None:
    declare_and_plan("*/5 * * * *", "*/10 * * * *")
    clock.set("2026-05-04T12:10")
    result = jobs.handle_schedules()
    assert (len(result.queued), len(result.skipped)) == (1, 1)
