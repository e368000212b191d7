"""Workers are killed by chance, all the time, and every job is run to its end once."""

from __future__ import annotations

import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import pytest

from django_jobs.models import Job, JobLog, JobStatus, LogState, TaskStatus, Worker
from tests.conftest import RunJobs
from tests.kill.support import settings
from tests.processes import Process
from tests.testapp.journal import Journal, Line
from tests.testapp.tasks import brief, brief_workflow

WORKERS = 4
KEYS = 20
# To torment the workers for longer, or on a slow machine for less long.
SCALE = float(os.environ.get("CHAOS_SCALE", "1"))
# SQLite has one writer at a time, and MariaDB waits for the disk.
JOBS = {"postgresql": 3000, "sqlite": 600, "mysql": 600}
# The workers come up, and then one is killed each second; the last of them finish the rest.
SECONDS_OF_KILLING = 12 * SCALE
PATIENCE = 180 + 60 * SCALE

pytestmark = pytest.mark.timeout(240 + 120 * SCALE)


class Workers:
    """A number of worker processes of which any may be killed at any time."""

    def __init__(self, runjobs: RunJobs) -> None:
        self._runjobs = runjobs
        self.killed_at: dict[int, int] = {}
        self._alive = [self._start() for _ in range(WORKERS)]

    def _start(self) -> Process:
        crashes = settings(LEASE=8, MAX_CRASHES=1000)
        return self._runjobs("--concurrency=4", "--poll-interval=0.2", DJANGO_JOBS=crashes)

    def replace_one(self) -> None:
        # The oldest of two, so that it has had the time to come up.
        victim = min(random.sample(range(WORKERS), 2), key=lambda place: self._alive[place].pid)
        process = self._alive[victim]
        assert process.popen.poll() is None, f"A worker ended by itself:\n{process.output}"
        process.kill()
        self.killed_at[process.pid] = time.monotonic_ns()
        self._alive[victim] = self._start()

    def outputs(self) -> str:
        return "\n".join(process.output for process in self._alive)


class Stay(NamedTuple):
    """From when to when a handler of a key ran."""

    start: int
    end: int
    number: str


def test_jobs_of_killed_workers_are_run_to_their_end_exactly_once(
    runjobs: RunJobs, journal: Journal, vendor: str
) -> None:
    count = int(JOBS[vendor] * SCALE)
    enqueue(count)
    workers = Workers(runjobs)
    kill_until_done(workers)
    assert handlers_were_killed()
    assert_every_job_succeeded_once(count)
    assert_no_key_was_held_twice(journal, workers.killed_at)
    assert_no_recorded_step_ran_again(journal)
    assert_nothing_is_left_behind()


def enqueue(count: int) -> None:
    """Enqueue the jobs; every fifth is a workflow of three steps."""
    inputs = [{"number": number, "key": f"key-{number % KEYS}"} for number in range(count)]
    brief_workflow.enqueue_many(inputs[::5])
    brief.enqueue_many([given for place, given in enumerate(inputs) if place % 5])


def kill_until_done(workers: Workers) -> None:
    began = time.monotonic()
    next_kill = began + 2
    while Job.objects.unfinished().exists():
        assert time.monotonic() < began + PATIENCE, workers.outputs()
        is_over = time.monotonic() > began + SECONDS_OF_KILLING and handlers_were_killed()
        if next_kill <= time.monotonic() and not is_over:
            workers.replace_one()
            next_kill = time.monotonic() + 1
        time.sleep(0.05)


def handlers_were_killed() -> bool:
    """Whether enough of them were; otherwise the test shows nothing."""
    return Job.objects.filter(crashes__gt=0).count() >= 3


def assert_every_job_succeeded_once(count: int) -> None:
    assert Counter(Job.objects.values_list("status", flat=True)) == {JobStatus.SUCCESSFUL: count}
    assert set(Job.objects.values_list("total_tried", flat=True)) == {1}
    entries = JobLog.objects.exclude(state=LogState.MESSAGE)
    seen = Counter(entries.values_list("job__slug", "job", "task_slug", "task_id", "state"))
    assert set(seen.values()) == {1}, [entry for entry, times in seen.items() if times > 1]
    per_job = Counter(entries.values_list("job", flat=True))
    kinds = dict(Job.objects.values_list("pk", "slug"))
    assert {(kinds[job], times) for job, times in per_job.items()} == {
        ("brief", 1),
        ("brief-workflow", 3),
    }
    assert len(per_job) == count


def assert_no_key_was_held_twice(journal: Journal, killed_at: dict[int, int]) -> None:
    for key, stays in stays_by_key(journal, killed_at).items():
        ordered = sorted(stays)
        for one, following in pairwise(ordered):
            assert one.end <= following.start, f"{key}: {one} and {following} ran at once"


def stays_by_key(journal: Journal, killed_at: dict[int, int]) -> dict[str, list[Stay]]:
    """Return the runs of each key. One that did not end was killed with its process."""
    stays: dict[str, list[Stay]] = defaultdict(list)
    for start, end in runs(journal.lines()):
        _word, key, number = start.words
        ended = end.moment if end is not None else killed_at[start.pid]
        stays[key].append(Stay(start.moment, ended, number))
    return stays


def runs(lines: list[Line]) -> Iterator[tuple[Line, Line | None]]:
    """Yield each start with its end, which is in the same process."""
    open_runs: dict[tuple[int, str], Line] = {}
    for line in lines:
        identity = (line.pid, line.words[-1])
        if line.words[0] == "start":
            open_runs[identity] = line
        elif line.words[0] == "end":
            yield open_runs.pop(identity), line
    for line in open_runs.values():
        yield line, None


def assert_no_recorded_step_ran_again(journal: Journal) -> None:
    """The run that was recorded is the last: after the record there was none."""
    last: dict[tuple[str, str], int] = {}
    for line in journal.lines("step"):
        _word, number, name, moment = line.words
        last[number, name] = int(moment)
    steps = TaskStatus.objects.filter(task_slug="brief-step").values_list("input", "output")
    recorded = {(str(given["number"]), given["name"]): output for given, output in steps}
    assert recorded == last


def assert_nothing_is_left_behind() -> None:
    assert not Job.objects.filter(processing_token__isnull=False).exists()
    assert not Job.objects.filter(held_key__isnull=False).exists()
    # Those of the last to be killed are forgotten by a neighbour, a moment later.
    assert Worker.objects.count() <= WORKERS + 1
