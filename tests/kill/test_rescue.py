"""What becomes of the jobs of workers that are killed, or stopped and continued."""

from __future__ import annotations

import signal
import time

import pytest

from django_jobs.models import Job, JobStatus, Worker
from tests.conftest import RunJobs
from tests.kill.support import freeze, settings, states, wait_until_finished, wait_until_status
from tests.testapp.journal import Journal, until
from tests.testapp.tasks import die, die_once, hold, hold_between_steps, note, parent_of_two

# At most this long after its process is gone, a worker is known to be dead on its machine.
KNOWN_DEAD = 15


def test_a_worker_that_was_stopped_past_its_lease_cannot_record_its_late_result(
    runjobs: RunJobs, journal: Journal
) -> None:
    lease = settings(LEASE=2)
    stopped = runjobs("--poll-interval=0.2", DJANGO_JOBS=lease)
    job = hold.enqueue("slow")
    journal.wait_for("start", "slow")
    freeze(stopped)
    runjobs("--poll-interval=0.2", DJANGO_JOBS=lease)
    journal.wait_for("start", "slow", count=2)
    journal.open("slow")
    finished = wait_until_finished([job])[0]
    stopped.send_signal(signal.SIGCONT)
    stopped.wait_for(f"Job {job.pk} hold is not ours any more")
    assert journal.wait_for("end", "slow", count=2).pid == stopped.pid
    assert [entry.state for entry in job.log if entry.state != "message"] == ["succeeded"]
    job.refresh_from_db()
    assert (job.status, job.total_tried) == (JobStatus.SUCCESSFUL, 1)
    assert job.completed_at == finished.completed_at
    assert f"Job {job.pk} hold succeeded" not in stopped.output


def test_a_late_result_is_refused_while_the_other_worker_still_runs_the_job(
    runjobs: RunJobs, journal: Journal
) -> None:
    lease = settings(LEASE=2)
    stopped = runjobs("--poll-interval=0.2", DJANGO_JOBS=lease)
    job = hold.enqueue("slow", key="a key")
    journal.wait_for("start", "slow")
    freeze(stopped)
    other = runjobs("--poll-interval=0.2", DJANGO_JOBS=lease)
    journal.wait_for("start", "slow", count=2)
    stopped.send_signal(signal.SIGCONT)
    journal.open(f"slow-{stopped.pid}")
    stopped.wait_for(f"Job {job.pk} hold is not ours any more")
    job.refresh_from_db()
    assert (job.status, job.output, states(job)) == (JobStatus.RUNNING, None, ["message"])
    assert job.worker is not None
    assert job.worker.pid == other.pid
    journal.open(f"slow-{other.pid}")
    assert wait_until_finished([job])[0].total_tried == 1
    assert states(job) == ["message", "succeeded"]


def test_a_worker_that_was_stopped_goes_on_with_other_jobs(
    runjobs: RunJobs, journal: Journal
) -> None:
    worker = runjobs("--poll-interval=0.2", DJANGO_JOBS=settings(LEASE=1))
    worker.wait_for("Working on")
    until(Worker.objects.exists)
    freeze(worker)
    # What its neighbours do with the row of a worker that is silent for long.
    Worker.objects.all().delete()
    worker.send_signal(signal.SIGCONT)
    job = note.enqueue("later")
    wait_until_finished([job])
    assert until(Worker.objects.first).pid == worker.pid


def test_jobs_of_a_killed_worker_run_again_on_its_machine_long_before_the_lease_is_over(
    runjobs: RunJobs, journal: Journal
) -> None:
    killed = runjobs(DJANGO_JOBS=settings(LEASE=60))
    job, key = hold.enqueue("one"), hold.enqueue("two", key="a key")
    journal.wait_for("start", "one")
    journal.wait_for("start", "two")
    runjobs(DJANGO_JOBS=settings(LEASE=60)).wait_for("Working on")
    killed.kill()
    died_at = time.monotonic()
    journal.wait_for("start", "one", count=2, timeout=KNOWN_DEAD)
    journal.wait_for("start", "two", count=2, timeout=KNOWN_DEAD)
    assert time.monotonic() < died_at + KNOWN_DEAD
    journal.open("one")
    journal.open("two")
    for finished in wait_until_finished([job, key]):
        assert (finished.status, finished.total_tried) == (JobStatus.SUCCESSFUL, 1)
        assert finished.crashes == 1
        assert states(finished) == ["message", "succeeded"]


def test_a_worker_that_only_polls_now_and_then_rescues_in_time_all_the_same(
    runjobs: RunJobs, journal: Journal
) -> None:
    first = note.using(queue="other").enqueue("first")
    runjobs("--queue=other", "--poll-interval=300", DJANGO_JOBS=settings(LEASE=60))
    # So it has looked around already when the other one dies.
    wait_until_finished([first])
    killed = runjobs(DJANGO_JOBS=settings(LEASE=60))
    job = hold.enqueue("one")
    journal.wait_for("start", "one")
    killed.kill()
    wait_until_status(job, JobStatus.READY, timeout=KNOWN_DEAD)


def test_a_worker_of_another_queue_rescues_too(runjobs: RunJobs, journal: Journal) -> None:
    killed = runjobs("--queue=media", DJANGO_JOBS=settings(LEASE=60))
    job = hold.using(queue="media").enqueue("one")
    journal.wait_for("start", "one")
    killed.kill()
    runjobs("--queue=mail", DJANGO_JOBS=settings(LEASE=60)).wait_for("Took over 1 jobs")
    wait_until_status(job, JobStatus.READY, timeout=KNOWN_DEAD)


def test_the_steps_before_the_crash_do_not_run_again(runjobs: RunJobs, journal: Journal) -> None:
    killed = runjobs(DJANGO_JOBS=settings(LEASE=2))
    job = hold_between_steps.enqueue("flow")
    journal.wait_for("start", "flow")
    killed.kill()
    runjobs(DJANGO_JOBS=settings(LEASE=2))
    journal.wait_for("start", "flow", count=2)
    journal.open("flow")
    finished = wait_until_finished([job])[0]
    assert finished.status == JobStatus.SUCCESSFUL
    assert len(journal.lines("note", "flow-before")) == 1
    assert len(journal.lines("note", "flow-after")) == 1


def test_a_crash_of_the_parent_does_not_enqueue_its_children_again(
    runjobs: RunJobs, journal: Journal
) -> None:
    killed = runjobs("--concurrency=1", DJANGO_JOBS=settings(LEASE=2))
    job = parent_of_two.enqueue("family")
    journal.wait_for("start", "family")
    killed.kill()
    runjobs(DJANGO_JOBS=settings(LEASE=2))
    journal.wait_for("start", "family", count=2)
    journal.open("family")
    finished = wait_until_finished([job])[0]
    assert finished.output == ["family-a", "family-b"]
    assert Job.objects.filter(parent=job).count() == 2
    assert len(journal.lines("note")) == 2


@pytest.mark.timeout(60)
def test_a_job_that_kills_its_workers_fails_in_the_end(runjobs: RunJobs, journal: Journal) -> None:
    job = die.enqueue("poison")
    rescue = settings(LEASE=2, MAX_CRASHES=2)
    for _ in range(2):
        assert runjobs("--poll-interval=0.2", DJANGO_JOBS=rescue).wait() == 1
    last = runjobs("--poll-interval=0.2", DJANGO_JOBS=rescue)
    finished = wait_until_finished([job])[0]
    assert finished.status == JobStatus.FAILED
    assert finished.error is not None
    assert finished.error["name"] == "WorkerLostError"
    assert finished.total_tried == 0
    assert len(journal.lines("start", "poison")) == 2
    last.wait_for(f"Job {job.pk} die failed for good: WorkerLostError")


def test_an_operator_can_retry_a_job_that_lost_its_workers(
    runjobs: RunJobs, journal: Journal
) -> None:
    job = die_once.enqueue("once")
    runjobs(DJANGO_JOBS=settings(MAX_CRASHES=1, LEASE=1)).wait()
    worker = runjobs(DJANGO_JOBS=settings(MAX_CRASHES=1, LEASE=1))
    assert wait_until_finished([job])[0].status == JobStatus.FAILED
    assert job.retry()
    assert (job.crashes, job.error) == (0, None)
    assert wait_until_finished([job])[0].status == JobStatus.SUCCESSFUL
    assert worker.popen.poll() is None


def test_supervised_workers_that_die_are_replaced_and_their_jobs_run_again(
    runjobs: RunJobs, journal: Journal
) -> None:
    runjobs("--processes=2", "--poll-interval=0.2", DJANGO_JOBS=settings(LEASE=60))
    job = die_once.enqueue("once")
    assert wait_until_finished([job], timeout=KNOWN_DEAD)[0].status == JobStatus.SUCCESSFUL
