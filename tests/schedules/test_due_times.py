from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import override_settings

from django_jobs import Schedule, jobs, workflow
from django_jobs.models import Job, JobSchedule, ScheduleRun
from django_jobs.worker import schedule_turn, schedules
from tests.schedules.conftest import Clock
from tests.schedules.support import (
    declare,
    declare_and_plan,
    due_times,
    finish_jobs,
    row,
    utc,
)

pytestmark = pytest.mark.django_db


def test_a_schedule_seen_for_the_first_time_gets_its_row_and_enqueues_nothing(
    clock: Clock,
) -> None:
    declare("*/5 * * * *", queue="media")
    assert not JobSchedule.objects.exists()
    result = jobs.handle_schedules()
    assert (result.queued, result.skipped, result.errored) == ([], [], [])
    assert not Job.objects.exists()
    schedule = row()
    assert (schedule.cron, schedule.queue, schedule.timezone) == ("*/5 * * * *", "media", "")
    assert schedule.enabled
    assert schedule.last_run_at is None
    assert schedule.next_run_at == utc("2026-05-04T12:05")


def test_a_job_is_enqueued_when_next_run_at_has_come_and_not_before(clock: Clock) -> None:
    declare_and_plan(Schedule("*/5 * * * *", input={"number": 7}), queue="media", priority=3)
    clock.set("2026-05-04T12:04:59.9")
    assert jobs.handle_schedules().queued == []
    clock.set("2026-05-04T12:05:02")
    [job] = jobs.handle_schedules().queued
    job.refresh_from_db()
    assert (job.slug, job.queue, job.priority, job.input) == (
        "scheduled", "media", 3, {"number": 7},
    )  # fmt: skip
    assert job.meta == {"scheduled": True}
    assert job.wait_until == utc("2026-05-04T12:05")
    assert row().last_run_at == utc("2026-05-04T12:05")
    assert row().next_run_at == utc("2026-05-04T12:10")
    assert ScheduleRun.objects.get().job_id == job.pk


def test_a_due_time_is_enqueued_once(clock: Clock) -> None:
    declare_and_plan("*/5 * * * *")
    clock.forward(minutes=5)
    assert len(jobs.handle_schedules().queued) == 1
    finish_jobs()
    assert jobs.handle_schedules().queued == []
    clock.forward(minutes=5)
    assert len(jobs.handle_schedules().queued) == 1


def test_a_due_time_that_is_set_back_is_not_enqueued_again_and_passes(clock: Clock) -> None:
    declare_and_plan("*/5 * * * *")
    clock.forward(minutes=5)
    jobs.handle_schedules()
    finish_jobs()
    JobSchedule.objects.update(next_run_at=utc("2026-05-04T12:05"))
    assert jobs.handle_schedules().queued == []
    assert row().next_run_at == utc("2026-05-04T12:10")


def test_seconds_come_first_of_six_fields(clock: Clock) -> None:
    declare_and_plan("15 */10 * * * *")
    assert row().next_run_at == utc("2026-05-04T12:10:15")
    clock.set("2026-05-04T12:10:15")
    jobs.handle_schedules()
    assert due_times() == [utc("2026-05-04T12:10:15")]


@pytest.mark.parametrize(
    ("cron", "next_run_at"),
    [
        ("@hourly", "2026-05-04T13:00"),
        ("@daily", "2026-05-05T00:00"),
        ("@weekly", "2026-05-10T00:00"),
        ("@monthly", "2026-06-01T00:00"),
        ("@yearly", "2027-01-01T00:00"),
    ],
)
def test_forms_such_as_daily_are_reckoned(clock: Clock, cron: str, next_run_at: str) -> None:
    declare_and_plan(cron)
    assert row().next_run_at == utc(next_run_at)


def test_without_a_zone_the_setting_time_zone_is_meant(clock: Clock) -> None:
    with override_settings(TIME_ZONE="Asia/Kolkata"):
        declare_and_plan("0 9 * * *")
        assert row().next_run_at == utc("2026-05-05T03:30")
    # Another TIME_ZONE is another plan.
    jobs.handle_schedules()
    assert row().next_run_at == utc("2026-05-05T09:00")


def test_a_schedule_of_a_workflow_is_enqueued(clock: Clock) -> None:
    @workflow(slug="nightly", schedule="@hourly")
    def nightly(ctx: object) -> None: ...

    jobs.handle_schedules()
    clock.forward(hours=1)
    [job] = jobs.handle_schedules().queued
    assert job.kind == Job.Kind.WORKFLOW


def test_only_the_schedules_of_the_named_queue_are_handled(clock: Clock) -> None:
    declare("*/5 * * * *", slug="a", queue="media")
    declare(Schedule("*/5 * * * *", queue="mail"), slug="b", queue="media")
    jobs.handle_schedules()
    clock.forward(minutes=5)
    assert [job.slug for job in jobs.handle_schedules(queue="mail").queued] == ["b"]
    assert [job.slug for job in jobs.handle_schedules(queue="nothing").queued] == []
    assert [job.slug for job in jobs.handle_schedules(queue="x", all_queues=True).queued] == ["a"]


def test_without_a_queue_the_schedules_of_all_are_handled(clock: Clock) -> None:
    declare("*/5 * * * *", slug="a", queue="media")
    declare("*/5 * * * *", slug="b")
    jobs.handle_schedules()
    clock.forward(minutes=5)
    assert [job.slug for job in jobs.handle_schedules().queued] == ["a", "b"]


def test_nothing_is_scheduled_where_the_setting_says_so(clock: Clock) -> None:
    declare_and_plan("*/5 * * * *")
    clock.forward(minutes=5)
    with override_settings(DJANGO_JOBS={"SCHEDULING": False}):
        result = jobs.handle_schedules()
    assert (result.queued, result.skipped, result.errored) == ([], [], [])
    assert not Job.objects.exists()


def test_a_pause_is_not_made_up(clock: Clock) -> None:
    declare_and_plan("*/5 * * * *")
    JobSchedule.objects.update(enabled=False)
    clock.forward(minutes=12)
    assert jobs.handle_schedules().queued == []
    JobSchedule.objects.update(enabled=True)
    assert jobs.handle_schedules().queued == []
    clock.set("2026-05-04T12:15")
    jobs.handle_schedules()
    assert due_times() == [utc("2026-05-04T12:15")]


def test_a_pause_that_nobody_saw_is_not_made_up_where_it_is_undone_by_resume(
    clock: Clock,
) -> None:
    declare_and_plan("*/5 * * * *")
    JobSchedule.objects.update(enabled=False)
    clock.forward(minutes=12)
    assert schedules.resume(JobSchedule.objects.all()) == 1
    assert schedules.resume(JobSchedule.objects.all()) == 0
    assert jobs.handle_schedules().queued == []
    assert row().enabled
    assert row().next_run_at == utc("2026-05-04T12:15")


def test_a_cron_that_is_changed_in_its_row_starts_from_now(clock: Clock) -> None:
    declare_and_plan("*/5 * * * *")
    clock.forward(minutes=20)
    JobSchedule.objects.update(cron="*/7 * * * *")
    assert jobs.handle_schedules().queued == []
    assert row().next_run_at == utc("2026-05-04T12:21")
    clock.forward(minutes=1)
    assert len(jobs.handle_schedules().queued) == 1


def test_a_zone_that_is_changed_in_its_row_starts_from_now(clock: Clock) -> None:
    JobSchedule.objects.create(slug=declare().slug, cron="0 9 * * *")
    jobs.handle_schedules()
    JobSchedule.objects.update(timezone="Asia/Kolkata")
    clock.forward(days=3)
    assert jobs.handle_schedules().queued == []
    assert row().next_run_at == utc("2026-05-08T03:30")


def test_one_schedule_may_be_run_now_without_changing_its_times(clock: Clock) -> None:
    declare_and_plan(Schedule("@daily", input={"number": 3}), queue="media")
    before = row()
    job = schedules.run_now(before, using="default")
    assert (job.slug, job.queue, job.input, job.meta) == (
        "scheduled", "media", {"number": 3}, {"scheduled": True},
    )  # fmt: skip
    assert row().next_run_at == before.next_run_at
    assert jobs.count_runnable_or_active(slug="scheduled", only_scheduled=True) == 1


def test_how_long_a_worker_may_rest_is_until_the_next_due_time(clock: Clock) -> None:
    assert schedules.seconds_to_next(using="default") == 60
    declare_and_plan("@hourly")
    assert schedules.seconds_to_next(using="default") == 60
    clock.set("2026-05-04T12:59:50")
    assert schedules.seconds_to_next(using="default") == 10
    clock.set("2026-05-04T13:00:00")
    # Never 0: what cannot be seen to here must not keep a worker busy.
    assert schedules.seconds_to_next(using="default") == 1


def test_only_some_due_times_stay_on_record(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_turn, "REMEMBERED", 5)
    declare_and_plan(Schedule("* * * * * *", catch_up=True))
    for _ in range(3):
        clock.forward(seconds=100)
        jobs.handle_schedules()
    assert Job.objects.count() == 300
    assert ScheduleRun.objects.count() < 110
    newest = ScheduleRun.objects.order_by("-due_at").first()
    assert newest is not None
    assert newest.due_at > clock.now - timedelta(seconds=2)
