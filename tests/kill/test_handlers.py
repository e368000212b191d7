"""Handlers that do to their process what no handler should."""

from __future__ import annotations

import ctypes
import threading
import time

import pytest

from django_jobs import jobs, task
from django_jobs.models import JobStatus
from tests.conftest import RunJobs
from tests.kill.support import settings, wait_until_finished
from tests.testapp.journal import Journal
from tests.testapp.models import Receipt
from tests.testapp.tasks import (
    araise_base,
    close_connections,
    count_receipts,
    die,
    leave_transaction_broken,
    note,
    raise_base,
)

KINDS = ["SystemExit", "KeyboardInterrupt", "BaseException"]


@pytest.mark.parametrize("target", [raise_base, araise_base])
def test_a_worker_outlives_whatever_is_raised(runjobs: RunJobs, target: object) -> None:
    raised = [target.enqueue(kind) for kind in KINDS]  # type: ignore[attr-defined]
    worker = runjobs("--poll-interval=0.1")
    for kind, job in zip(KINDS, wait_until_finished(raised), strict=True):
        assert (job.status, job.total_tried) == (JobStatus.FAILED, 1)
        assert job.error is not None
        assert (job.error["name"], job.error["message"]) == (kind, "on purpose")
    assert worker.popen.poll() is None


def test_a_process_that_a_handler_ends_takes_nothing_else_down(
    runjobs: RunJobs, journal: Journal
) -> None:
    poison = die.enqueue("poison")
    others = [note.enqueue(f"note-{number}") for number in range(20)]
    quick = settings(LEASE=2, MAX_CRASHES=2)
    runjobs("--processes=2", "--concurrency=1", "--poll-interval=0.2", DJANGO_JOBS=quick)
    for job in wait_until_finished(others):
        assert job.status == JobStatus.SUCCESSFUL
    failed = wait_until_finished([poison])[0]
    assert failed.error is not None
    assert failed.error["name"] == "WorkerLostError"


def test_a_handler_may_close_the_connections_of_django(runjobs: RunJobs) -> None:
    runjobs("--concurrency=1", "--poll-interval=0.1")
    closing = [close_connections.enqueue()]
    after = count_receipts.enqueue()
    closed, counted = wait_until_finished([*closing, after])
    assert (closed.status, counted.output) == (JobStatus.SUCCESSFUL, 1)


def test_a_transaction_that_a_handler_leaves_broken_is_nobody_elses(runjobs: RunJobs) -> None:
    runjobs("--concurrency=1", "--poll-interval=0.1")
    broken, after = leave_transaction_broken.enqueue(), count_receipts.enqueue()
    failed, counted = wait_until_finished([broken, after])
    assert failed.status == JobStatus.FAILED
    assert failed.error is not None
    assert "there_is_no_such_table" in failed.error["message"]
    assert (counted.status, counted.output) == (JobStatus.SUCCESSFUL, 0)
    assert not Receipt.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_call_into_c_that_outlasts_its_timeout_fails_in_a_pass_too() -> None:
    threads = []

    @task(timeout=0.2)
    def block() -> None:
        threads.append(threading.current_thread())
        ctypes.CDLL(None).usleep(700_000)

    job = block.enqueue()
    began = time.monotonic()
    jobs.run()
    assert time.monotonic() < began + 5
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert job.error is not None
    assert job.error["name"] == "TaskTimeoutError"
    threads[0].join(5)
