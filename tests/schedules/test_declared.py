"""Rows follow the declarations, and keep what an admin paused or changed."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from django_jobs import Schedule, jobs
from django_jobs.models import Job, JobSchedule
from django_jobs.tasks import registry
from django_jobs.worker import declared_schedules
from tests.schedules.conftest import Clock
from tests.schedules.support import declare, declare_and_plan, row, utc

pytestmark = pytest.mark.django_db


def start_with(*schedules: str | Schedule, **options: Any) -> None:
    """Handle schedules as a new process with this version of the code does."""
    declared_schedules._written.clear()
    declare_and_plan(*schedules, **options)


def crons() -> list[tuple[int | None, str]]:
    return list(JobSchedule.objects.order_by("number").values_list("number", "cron"))


def test_several_schedules_of_a_task_have_a_row_each(clock: Clock) -> None:
    start_with("@daily", Schedule("@daily", input={"number": 1}), "@hourly")
    assert crons() == [(0, "@daily"), (1, "@daily"), (2, "@hourly")]


def test_what_a_schedule_says_is_in_its_row(clock: Clock) -> None:
    schedule = Schedule("0 9 * * *", queue="mail", input={"number": 1}, timezone="Europe/Berlin")
    start_with(schedule, queue="media")
    found = row()
    assert (found.queue, found.timezone, found.input, found.declared_cron) == (
        "mail", "Europe/Berlin", {"number": 1}, "0 9 * * *",
    )  # fmt: skip
    assert found.is_declared
    assert not found.is_overridden


def test_a_changed_declaration_changes_its_row_and_starts_from_now(clock: Clock) -> None:
    start_with("*/5 * * * *")
    JobSchedule.objects.update(enabled=False)
    pk = row().pk
    clock.forward(hours=1)
    start_with(Schedule("*/7 * * * *", queue="mail", input={"number": 2}))
    found = row()
    assert (found.pk, found.cron, found.declared_cron, found.queue, found.input) == (
        pk, "*/7 * * * *", "*/7 * * * *", "mail", {"number": 2},
    )  # fmt: skip
    assert found.next_run_at == utc("2026-05-04T13:07")
    assert not found.enabled
    assert not Job.objects.exists()


def test_a_cron_that_an_admin_changed_stays_and_both_are_shown(clock: Clock) -> None:
    start_with("*/5 * * * *")
    JobSchedule.objects.update(cron="@hourly")
    start_with("*/5 * * * *")
    assert (row().cron, row().declared_cron, row().is_overridden) == (
        "@hourly",
        "*/5 * * * *",
        True,
    )
    start_with(Schedule("*/7 * * * *", queue="mail"))
    found = row()
    assert (found.cron, found.declared_cron, found.is_overridden) == (
        "@hourly",
        "*/7 * * * *",
        True,
    )
    assert found.queue == "mail"
    assert found.next_run_at == utc("2026-05-04T13:00")


def test_a_change_that_an_admin_takes_back_is_none(clock: Clock) -> None:
    start_with("*/5 * * * *")
    JobSchedule.objects.update(cron="@hourly")
    JobSchedule.objects.update(cron="*/5 * * * *")
    start_with("*/7 * * * *")
    assert row().cron == "*/7 * * * *"


def test_a_removed_declaration_takes_its_row_along(clock: Clock) -> None:
    start_with("*/5 * * * *", "@daily")
    start_with("*/5 * * * *")
    assert crons() == [(0, "*/5 * * * *")]
    start_with()
    assert crons() == []


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (["@weekly", "*/5 * * * *", "@daily"], [(0, True), (1, True), (2, False)]),
        (["@daily"], [(0, False)]),
        (["@daily", "*/5 * * * *"], [(0, False), (1, True)]),
        (["*/5 * * * *", "@weekly"], [(0, True), (1, False)]),
        (["@weekly", "@daily"], [(0, True), (1, False)]),
        (["@weekly", "@daily", "@monthly"], [(0, True), (1, False), (2, True)]),
    ],
)
def test_a_pause_stays_with_its_schedule_when_others_come_and_go(
    clock: Clock, after: list[str], expected: list[tuple[int, bool]]
) -> None:
    start_with("*/5 * * * *", "@daily")
    JobSchedule.objects.filter(cron="@daily").update(enabled=False)
    start_with(*after)
    found = JobSchedule.objects.order_by("number").values_list("number", "enabled")
    assert list(found) == expected
    assert [cron for _number, cron in crons()] == after


def test_schedules_that_an_admin_made_stay(clock: Clock) -> None:
    start_with("@daily")
    made = JobSchedule.objects.create(slug="scheduled", cron="@hourly", input={"number": 4})
    start_with()
    assert JobSchedule.objects.get() == made
    clock.set("2026-05-04T13:00")
    [job] = jobs.handle_schedules().queued
    assert job.input == {"number": 4}


def test_a_schedule_whose_task_is_gone_stays_and_fires_nothing(clock: Clock) -> None:
    start_with("*/5 * * * *")
    JobSchedule.objects.create(slug="never-there", cron="* * * * *")
    planned = row().next_run_at
    declared_schedules._written.clear()
    with registry.isolated():
        del registry._declarations["scheduled"]
        clock.forward(minutes=10)
        result = jobs.handle_schedules()
        assert (result.queued, result.skipped, result.errored) == ([], [], [])
        # A process that does not know the task leaves its times to those that do.
        assert row().next_run_at == planned
    assert len(jobs.handle_schedules().queued) == 1
    assert JobSchedule.objects.filter(slug="never-there").exists()


def test_a_process_writes_its_declarations_once(clock: Clock) -> None:
    """So that two versions of the code do not change the rows back and forth."""
    start_with("*/5 * * * *")
    # The other version has come later.
    JobSchedule.objects.update(cron="*/7 * * * *", declared_cron="*/7 * * * *")
    jobs.handle_schedules()
    assert row().cron == "*/7 * * * *"


def test_a_row_that_is_deleted_comes_back(clock: Clock) -> None:
    start_with("*/5 * * * *")
    row().delete()
    jobs.handle_schedules()
    assert row().next_run_at == utc("2026-05-04T12:05")


def test_another_version_s_schedule_fires_nothing_here(clock: Clock) -> None:
    """The row of a second schedule, in a process whose code declares one."""
    start_with("@daily")
    JobSchedule.objects.create(
        slug="scheduled", number=1, cron="* * * * *", declared_cron="* * * * *"
    )
    clock.forward(minutes=5)
    jobs.handle_schedules()
    clock.forward(minutes=5)
    assert jobs.handle_schedules().queued == []


@pytest.mark.parametrize(
    "broken",
    [
        Schedule("61 * * * *"),
        Schedule("@daily", timezone="Mars/Olympus"),
        Schedule("@daily", input={"x": object()}),
        Schedule("@daily", input={"x": float("nan")}),
        Schedule("@daily", queue="a,b"),
        Schedule("@daily", queue="q" * 256),
        Schedule(
            ",".join(map(str, range(60))) + " " + ",".join(map(str, range(24))) * 2 + " * * *"
        ),
        Schedule(" ".join([",".join(map(str, range(60)))] * 2) + " * * * *"),
    ],
)
def test_a_declaration_that_cannot_be_used_hurts_no_other(clock: Clock, broken: Schedule) -> None:
    declare(broken, "*/5 * * * *")
    declare("*/5 * * * *", slug="zzz")
    jobs.handle_schedules()
    assert crons() == [(0, "*/5 * * * *"), (1, "*/5 * * * *")]
    clock.forward(minutes=5)
    assert {job.slug for job in jobs.handle_schedules().queued} == {"scheduled", "zzz"}


def test_a_declaration_that_is_broken_by_a_release_keeps_its_row_and_pause(clock: Clock) -> None:
    start_with("*/5 * * * *")
    JobSchedule.objects.update(enabled=False)
    pk = row().pk
    start_with("61 * * * *")
    assert row().pk == pk
    start_with("*/7 * * * *")
    assert (row().pk, row().cron, row().enabled) == (pk, "*/7 * * * *", False)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"cron": "61 * * * *"}, "'61 * * * *'"),
        ({"cron": ""}, "''"),
        ({"cron": "0 0 30 2 *"}, "never comes true"),
        ({"timezone": "Mars/Olympus"}, "'Mars/Olympus'"),
        ({"timezone": "../../etc/passwd"}, "'../../etc/passwd'"),
    ],
)
def test_a_row_with_a_broken_cron_or_zone_rests_and_hurts_no_other(
    clock: Clock, values: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    declare()
    broken = JobSchedule.objects.create(**{"slug": "scheduled", "cron": "* * * * *", **values})
    declare("*/5 * * * *", slug="zzz")
    [(slug, said)] = jobs.handle_schedules().errored
    assert slug == "scheduled"
    assert reason in said
    assert caplog.records[-1].levelno == logging.ERROR
    clock.forward(minutes=5)
    result = jobs.handle_schedules()
    assert ([job.slug for job in result.queued], result.errored) == (["zzz"], [])
    # It is not looked at all the time, but a change is seen at once.
    JobSchedule.objects.filter(pk=broken.pk).update(cron="*/2 * * * *", timezone="")
    jobs.handle_schedules()
    assert row().next_run_at == utc("2026-05-04T12:06")


def test_a_cron_that_breaks_while_it_is_due_says_so_and_rests(clock: Clock) -> None:
    declare()
    JobSchedule.objects.create(
        slug="scheduled", cron="bad", planned_with="bad|UTC", next_run_at=clock.now
    )
    assert len(jobs.handle_schedules().errored) == 1
    assert jobs.handle_schedules().errored == []


@pytest.mark.parametrize("input", [{"nonsense": 1}, {"number": "many"}, [1], "text", 5])
def test_a_row_with_a_broken_input_fires_nothing_and_hurts_no_other(
    clock: Clock, input: Any
) -> None:
    declare()
    JobSchedule.objects.create(slug="scheduled", cron="*/5 * * * *", input=input)
    declare("*/5 * * * *", slug="zzz")
    jobs.handle_schedules()
    clock.forward(minutes=5)
    result = jobs.handle_schedules()
    assert [job.slug for job in result.queued] == ["zzz"]
    assert [slug for slug, _reason in result.errored] == ["scheduled"]
    assert row().next_run_at == utc("2026-05-04T12:10")


def test_an_input_matches_its_row_whatever_the_database_makes_of_it(clock: Clock) -> None:
    input = {"zeta": [1, 2.5, None], "alpha": {"b": "ü", "a": True}}
    start_with("@daily", Schedule("@hourly", input=input))
    JobSchedule.objects.filter(cron="@hourly").update(enabled=False)
    start_with(Schedule("@hourly", input=input))
    assert list(JobSchedule.objects.values_list("enabled", flat=True)) == [False]


def test_the_hooks_are_those_of_the_schedule_that_the_row_is_of(clock: Clock) -> None:
    seen: list[str] = []
    start_with(
        Schedule("@daily", after_schedule=lambda context: seen.append("daily")),
        Schedule("@hourly", after_schedule=lambda context: seen.append("hourly")),
    )
    clock.set("2026-05-04T13:00")
    jobs.handle_schedules()
    assert seen == ["hourly"]
