"""Each due time is enqueued once, however many handle schedules at the same moment."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_jobs import Schedule, jobs
from django_jobs.models import Job, JobSchedule, ScheduleRun
from django_jobs.worker.schedules import ScheduleResult
from tests.processes import ROOT
from tests.races.support import PATIENCE, at_once
from tests.schedules.support import declare, declare_and_plan, due_times, row

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 8


def handle_at_once() -> list[ScheduleResult]:
    return at_once(*[jobs.handle_schedules] * THREADS)


def set_back(**duration: float) -> None:
    """Let a schedule be due since this long."""
    JobSchedule.objects.update(
        next_run_at=timezone.now().replace(microsecond=0) - timedelta(**duration)
    )


def test_threads_that_see_a_schedule_first_leave_one_row() -> None:
    declare("@daily", "@hourly")
    handle_at_once()
    assert list(JobSchedule.objects.order_by("number").values_list("cron", flat=True)) == [
        "@daily", "@hourly",
    ]  # fmt: skip
    assert not Job.objects.exists()


def test_threads_that_have_all_decided_to_enqueue_enqueue_one_job() -> None:
    """None of them writes before all have read that the time is due."""
    barrier = threading.Barrier(THREADS)

    def wait_for_the_others(context: Any) -> None:
        barrier.wait(PATIENCE)

    declare_and_plan(Schedule("@hourly", before_schedule=wait_for_the_others))
    set_back(seconds=1)
    results = handle_at_once()
    assert Job.objects.count() == ScheduleRun.objects.count() == 1
    assert sum(len(result.queued) for result in results) == 1
    assert [result.errored for result in results] == [[]] * THREADS


def test_threads_make_up_each_missed_time_once() -> None:
    declare_and_plan(Schedule("* * * * *", catch_up=True))
    set_back(minutes=30)
    results = handle_at_once()
    times = due_times()
    assert len(times) == len(set(times)) == sum(len(result.queued) for result in results)
    assert len(times) in (30, 31)
    assert [result.errored for result in results] == [[]] * THREADS


def test_threads_skip_a_due_time_once() -> None:
    declare_and_plan("@hourly")
    jobs.enqueue("scheduled", {}, meta={"scheduled": True})
    set_back(seconds=1)
    results = handle_at_once()
    assert sum(len(result.skipped) for result in results) == 1
    assert Job.objects.count() == ScheduleRun.objects.count() == 1


def test_threads_note_a_failure_once() -> None:
    declare()
    JobSchedule.objects.create(slug="scheduled", cron="@hourly", input={"nonsense": 1})
    jobs.handle_schedules()
    set_back(seconds=1)
    results = handle_at_once()
    assert sum(len(result.errored) for result in results) == 1
    assert ScheduleRun.objects.count() == 1


def test_one_who_was_held_up_for_long_enqueues_nothing_twice() -> None:
    """Its row is of long ago, and the record of that time has been deleted since."""
    decided, go_on = threading.Event(), threading.Event()
    late = threading.local()

    def hold_up(context: Any) -> None:
        if getattr(late, "is_late", False):
            decided.set()
            go_on.wait(PATIENCE)

    def handle_late() -> ScheduleResult:
        late.is_late = True
        return jobs.handle_schedules()

    def handle_meanwhile() -> ScheduleResult:
        decided.wait(PATIENCE)
        result = jobs.handle_schedules()
        ScheduleRun.objects.all().delete()
        go_on.set()
        return result

    declare_and_plan(Schedule("@hourly", before_schedule=hold_up))
    set_back(seconds=1)
    slow, quick = at_once(handle_late, handle_meanwhile)
    assert (len(slow.queued), len(quick.queued)) == (0, 1)
    assert Job.objects.count() == 1


@pytest.fixture
def programs(worker_env: dict[str, str]) -> Iterator[list[subprocess.Popen[str]]]:
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.schedules.program", "3.5"],
            cwd=ROOT, env=worker_env, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_processes_enqueue_each_second_once(programs: list[subprocess.Popen[str]]) -> None:
    for process in programs:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate(timeout=5)[1]
    counts = []
    for process in programs:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in programs:
        output, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
        counts.append(int(output))
    assert sum(counts) == Job.objects.count()
    every = due_times("every-second")
    first, last = every[0], every[-1]
    assert every == [first + timedelta(seconds=n) for n in range(len(every))]
    assert last - first >= timedelta(seconds=2)
    # The default policy lets one through, and the others are skipped once each.
    assert len(due_times("each-second")) == 1
    runs = ScheduleRun.objects.filter(schedule=row("each-second"))
    seen_to = sorted(runs.values_list("due_at", flat=True))
    assert len(set(seen_to)) == len(seen_to)
