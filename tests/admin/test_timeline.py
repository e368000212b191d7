"""The timeline of a job, put together from the entries of its log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_jobs.admin.timeline import WIDTH, Scale, Timeline, timeline
from django_jobs.models import Job, JobLog, JobStatus, LogState, TaskStatus

BEGIN = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


class Log:
    """A job with a log, whose entries are dated in seconds from its enqueue."""

    def __init__(self, **fields: Any) -> None:
        given = {"slug": "flow", "kind": "workflow", "created_at": BEGIN, "started_at": at(10)}
        self.job = Job(pk=1, **given | fields)
        self.entries: list[JobLog] = []

    def add(self, begin: float, end: float, **fields: Any) -> Log:
        given = {"attempt": 1, "state": LogState.SUCCEEDED, "task_slug": "inline"}
        entry = JobLog(
            pk=len(self.entries) + 1, job=self.job, executed_at=at(begin), completed_at=at(end),
            **given | fields,
        )  # fmt: skip
        self.entries.append(entry)
        return self

    def read(self, *statuses: TaskStatus, **options: Any) -> Timeline:
        return timeline(self.job, self.entries, statuses, now=at(100), **options)


def lines(told: Timeline, place: int = 0) -> list[tuple[str, int]]:
    return [(line.entry.task_id, line.depth) for line in told.attempts[place].lines]


def numbers(told: Timeline) -> list[tuple[int, str]]:
    return [(attempt.number, str(attempt.outcome)) for attempt in told.attempts]


@pytest.mark.parametrize(
    ("begin", "end", "x", "width"),
    [
        (0, 100, 0, 1000),
        (50, 75, 500, 250),
        (50, 50, 500, 6),
        (100, 100, 994, 6),
        (-5, 200, 0, 1000),
    ],
)
def test_bars_are_to_scale_and_can_always_be_seen(
    begin: float, end: float, x: float, width: float
) -> None:
    bar = Scale(at(0), at(100)).bar(at(begin), at(end))
    assert (bar.x, bar.width) == (x, width)


def test_a_chart_of_no_time_at_all_has_bars() -> None:
    bar = Scale(at(0), at(0)).bar(at(0), at(0))
    assert 0 <= bar.x <= WIDTH - bar.width


def test_a_step_is_within_the_try_of_the_outer_one_that_lasted_then() -> None:
    inside = {"parent_task_slug": "outer", "parent_task_id": "o"}
    told = (
        Log()
        .add(11, 12, task_id="i", **inside)
        .add(10, 13, task_slug="outer", task_id="o", state=LogState.FAILED)
        .read()
    )
    assert lines(told) == [("o", 0), ("i", 1)]


def test_a_step_whose_outer_one_has_not_ended_says_so() -> None:
    inside = {"parent_task_slug": "outer", "parent_task_id": "o"}
    told = Log(status=JobStatus.RUNNING).add(11, 12, task_id="i", **inside).read()
    assert lines(told) == [("i", 0)]
    assert told.attempts[0].lines[0].is_inside


def test_entries_that_name_each_other_as_outer_do_not_go_round_for_ever() -> None:
    told = (
        Log()
        .add(10, 11, task_id="a", parent_task_slug="inline", parent_task_id="b")
        .add(10, 11, task_id="b", parent_task_slug="inline", parent_task_id="a")
        .read()
    )
    assert len(told.attempts) == 1


def test_a_step_that_comes_again_begins_the_attempt_of_a_retry() -> None:
    told = (
        Log(status=JobStatus.SUCCESSFUL, completed_at=at(40), total_tried=1)
        .add(10, 11, task_id="a")
        .add(11, 12, task_id="b", state=LogState.FAILED)
        .add(30, 31, task_id="b")
        .read()
    )
    assert numbers(told) == [(1, "failed"), (1, "successful")]


def test_an_attempt_that_runs_and_has_logged_nothing_is_there() -> None:
    log = Log(status=JobStatus.RUNNING, total_tried=0, started_at=at(50))
    log.add(10, 11, task_id="a", state=LogState.FAILED)
    told = log.read()
    assert numbers(told) == [(1, "failed"), (1, "running")]
    assert told.attempts[1].began_at == at(50)
    assert told.attempts[1].lasted is None


def test_an_attempt_that_sleeps_and_goes_on_is_one() -> None:
    told = (
        Log(status=JobStatus.RUNNING, total_tried=0, started_at=at(50))
        .add(10, 11, task_id="a")
        .add(50, 51, task_slug="ctx.sleep", task_id="nap")
        .read()
    )
    assert numbers(told) == [(1, "running")]


def test_the_wait_in_the_queue_is_measured_to_the_first_attempt() -> None:
    told = Log(status=JobStatus.RUNNING).add(10, 11, task_id="a").read()
    assert told.waited == timedelta(seconds=10)
    assert told.queued is not None
    assert (told.queued.x, told.queued.width) == (0, 100)


def test_of_the_middle_of_a_log_nothing_is_said_about_its_ends() -> None:
    log = Log(status=JobStatus.RUNNING, total_tried=5)
    told = log.add(10, 11, task_id="a").read(from_the_start=False, to_the_end=False)
    assert (told.queued, numbers(told)) == (None, [(1, "")])


def test_what_had_succeeded_before_is_kept_and_what_ran_is_not() -> None:
    steps = [TaskStatus(task_slug="inline", task_id=name, complete=True) for name in "abz"]
    log = Log(status=JobStatus.FAILED, total_tried=2, completed_at=at(40))
    log.add(10, 11, task_id="a").add(11, 12, task_id="b", state=LogState.FAILED)
    log.add(30, 31, task_id="b", attempt=2)
    kept = [[s.task_id for s in attempt.kept] for attempt in log.read(*steps).attempts]
    assert kept == [[], ["a"]]
    # What succeeded before the oldest of these entries was kept in all of them.
    told = log.read(*steps, from_the_start=False)
    assert [[s.task_id for s in attempt.kept] for attempt in told.attempts] == [["z"], ["a", "z"]]
