"""SIGTERM and SIGINT, once and twice, and the status that a worker ends with."""

from __future__ import annotations

import signal
import time

import pytest

from django_jobs.models import JobStatus, Worker
from tests.conftest import RunJobs
from tests.kill.support import states, wait_until_finished, wait_until_status
from tests.testapp.journal import Journal, until
from tests.testapp.tasks import (
    ahold,
    block_in_c,
    die,
    eat_memory,
    hold,
    hold_in_thread,
    note,
)

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_lets_running_jobs_end_and_claims_no_more(
    runjobs: RunJobs, journal: Journal, number: signal.Signals
) -> None:
    worker = runjobs("--concurrency=2")
    running, coroutine = hold.enqueue("plain"), ahold.enqueue("async")
    journal.wait_for("start", "plain")
    journal.wait_for("start", "async")
    worker.send_signal(number)
    worker.wait_for("Stopping; 2 jobs are still running")
    later = note.enqueue("later")
    journal.open("plain")
    journal.open("async")
    assert worker.wait() == 0
    for job in wait_until_finished([running, coroutine]):
        assert (job.status, job.total_tried) == (JobStatus.SUCCESSFUL, 1)
    later.refresh_from_db()
    assert later.status == JobStatus.READY
    assert not Worker.objects.exists()
    assert "Stopped. 2 jobs were run." in worker.output


@pytest.mark.parametrize("task", [hold, ahold, hold_in_thread])
def test_what_does_not_end_within_the_shutdown_timeout_is_given_back(
    runjobs: RunJobs, journal: Journal, task: object
) -> None:
    worker = runjobs("--shutdown-timeout=0.5")
    job = task.enqueue("slow")  # type: ignore[attr-defined]
    journal.wait_for("start", "slow")
    worker.send_signal(signal.SIGTERM)
    signalled_at = time.monotonic()
    # The handler has not left: it must not run on while the job runs elsewhere.
    assert worker.wait(timeout=30) == 0
    assert time.monotonic() > signalled_at + 0.5
    job.refresh_from_db()
    assert (job.status, job.total_tried, job.crashes) == (JobStatus.READY, 0, 0)
    assert (job.processing_token, states(job)) == (None, [])
    journal.open("slow")
    runjobs("--until-empty").wait()
    assert wait_until_finished([job])[0].status == JobStatus.SUCCESSFUL
    assert len(journal.lines("start", "slow")) == 2


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_stops_at_once(
    runjobs: RunJobs, journal: Journal, number: signal.Signals
) -> None:
    worker = runjobs("--shutdown-timeout=600")
    job = hold.enqueue("slow", key="a key")
    journal.wait_for("start", "slow")
    worker.send_signal(number)
    worker.wait_for("Stopping")
    worker.send_signal(number)
    assert worker.wait(timeout=30) == 0
    job.refresh_from_db()
    assert (job.status, job.total_tried, job.crashes) == (JobStatus.READY, 0, 0)
    other = note.enqueue("other")
    journal.open("slow")
    runjobs("--until-empty").wait()
    wait_until_finished([job, other])


def test_a_worker_is_stopped_while_it_has_nothing_to_do(runjobs: RunJobs) -> None:
    worker = runjobs("--poll-interval=300")
    until(Worker.objects.exists)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0


def test_a_supervisor_passes_the_signals_on(runjobs: RunJobs, journal: Journal) -> None:
    supervisor = runjobs("--processes=2", "--concurrency=1", "--shutdown-timeout=600")
    jobs = [hold.enqueue("one"), hold.enqueue("two")]
    pids = {journal.wait_for("start", name).pid for name in ("one", "two")}
    assert len(pids) == 2
    supervisor.send_signal(signal.SIGTERM)
    supervisor.wait_for("(?s)Stopping.*Stopping")
    journal.open("one")
    wait_until_finished(jobs[:1])
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(timeout=30) == 0
    jobs[1].refresh_from_db()
    assert (jobs[1].status, jobs[1].crashes) == (JobStatus.READY, 0)


def test_a_worker_with_a_handler_that_cannot_be_stopped_asks_to_be_replaced(
    runjobs: RunJobs, journal: Journal
) -> None:
    worker = runjobs()
    stuck, neighbour = block_in_c.enqueue("stuck"), hold.enqueue("neighbour")
    journal.wait_for("start", "stuck")
    journal.wait_for("start", "neighbour")
    worker.wait_for(f"Job {stuck.pk} block-in-c does not stop at its timeout")
    stuck.refresh_from_db()
    # Its handler still runs, so nobody else may run it.
    assert stuck.status == JobStatus.RUNNING
    journal.open("neighbour")
    assert worker.wait() == 75
    assert wait_until_finished([neighbour])[0].total_tried == 1
    wait_until_status(stuck, JobStatus.READY)
    assert (stuck.total_tried, stuck.crashes) == (1, 0)
    assert stuck.error is not None
    assert stuck.error["name"] == "TaskTimeoutError"
    runjobs("--until-empty").wait()
    stuck.refresh_from_db()
    assert (stuck.status, stuck.total_tried) == (JobStatus.SUCCESSFUL, 2)
    assert states(stuck) == ["failed", "succeeded"]


def test_a_supervised_worker_that_has_run_its_jobs_is_replaced_at_once(
    runjobs: RunJobs, journal: Journal
) -> None:
    runjobs("--processes=2", "--max-jobs=1", "--poll-interval=0.1")
    jobs = [note.enqueue(f"note-{number}") for number in range(4)]
    wait_until_finished(jobs)
    assert len({line.pid for line in journal.lines("note")}) == 4


def test_a_supervised_worker_that_has_eaten_memory_is_replaced(
    runjobs: RunJobs, journal: Journal
) -> None:
    supervisor = runjobs("--processes=2", "--max-memory=200", "--poll-interval=0.1")
    supervisor.wait_for("(?s)Working on.*Working on")
    eaten = [eat_memory.enqueue(200) for _ in range(3)]
    wait_until_finished(eaten)
    supervisor.wait_for("Over the limit of memory")
    for job in eaten:
        job.refresh_from_db()
        assert (job.status, job.crashes) == (JobStatus.SUCCESSFUL, 0)
    wait_until_finished([note.enqueue("afterwards")])
    assert journal.wait_for("note", "afterwards").pid not in {job.output for job in eaten}


def test_the_workers_of_a_supervisor_that_is_killed_stop_by_themselves(
    runjobs: RunJobs, journal: Journal
) -> None:
    supervisor = runjobs("--processes=2", "--poll-interval=0.2")
    until(lambda: Worker.objects.count() == 2)
    job = hold.enqueue("one")
    journal.wait_for("start", "one")
    supervisor.kill()
    until(lambda: Worker.objects.count() <= 1)
    journal.open("one")
    assert wait_until_finished([job])[0].status == JobStatus.SUCCESSFUL
    until(lambda: not Worker.objects.exists())


def test_workers_that_die_are_not_restarted_in_a_hot_loop(
    runjobs: RunJobs, journal: Journal
) -> None:
    for number in range(4):
        die.enqueue(f"poison-{number}")
    supervisor = runjobs("--processes=2", "--concurrency=1")
    again = "Worker {} ended with status 1; it is replaced in {} s"
    supervisor.wait_for(again.format(1, 2))
    supervisor.wait_for(again.format(2, 2))
    starts = [line.moment for line in journal.lines("start")]
    assert starts[2] - starts[1] > 10**9
    assert supervisor.output.count("it is replaced in 1 s") == 2
