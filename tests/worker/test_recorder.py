"""When what handlers report is written."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue

import pytest
from django.db import connections

from django_jobs.models import Job, JobLog, JobStatus, LogState
from django_jobs.queue import lifecycle
from django_jobs.queue.record import Report, Standing
from django_jobs.worker.recorder import Answer, BatchRecorder
from tests.conftest import RunJobs
from tests.kill.support import wait_until_finished
from tests.queue.support import add_many, claim
from tests.testapp.journal import Journal
from tests.testapp.tasks import hold, note

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 60
ROUNDS = 20
PROMISED = 0.05


@pytest.fixture
def recorder() -> Iterator[BatchRecorder]:
    """A recorder that is served by a thread of its own."""
    recorder = BatchRecorder("default")
    closed = threading.Event()

    def serve() -> None:
        recorder.serve(closed.is_set)
        connections.close_all()

    thread = threading.Thread(target=serve)
    thread.start()
    yield recorder
    closed.set()
    recorder.wake()
    thread.join(PATIENCE)


def seconds_to_disk(recorder: BatchRecorder, claimed: list[Job]) -> float:
    """Have the jobs recorded as handlers would; return how long that took."""
    answers: SimpleQueue[Answer] = SimpleQueue()
    begun = time.monotonic()
    for job in claimed:
        entries = [JobLog(job=job, state=LogState.SUCCEEDED)]
        report = Report(job=job, change=lifecycle.succeed(None), entries=entries)
        recorder.submit(report, answers.put)
    for _job in claimed:
        assert answers.get(timeout=PATIENCE) is Standing.HELD
    return time.monotonic() - begun


def test_what_has_ended_is_on_disk_within_50_milliseconds_of_the_last_end(
    recorder: BatchRecorder,
) -> None:
    """At least once in a while on a busy machine, which a recorder that waits never reaches."""
    add_many(10 * ROUNDS)
    took = [seconds_to_disk(recorder, claim(10)) for _round in range(ROUNDS)]
    assert min(took) < PROMISED, took
    assert not Job.objects.exclude(status=JobStatus.SUCCESSFUL).exists()


def test_a_job_that_runs_on_does_not_hold_the_record_of_others_back(
    runjobs: RunJobs, journal: Journal
) -> None:
    slow = hold.enqueue("slow")
    quick = [note.enqueue(f"quick-{number}") for number in range(20)]
    worker = runjobs("--once")
    wait_until_finished(quick)
    slow.refresh_from_db()
    assert not slow.is_finished
    journal.open("slow")
    assert worker.wait() == 0
