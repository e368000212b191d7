"""Jobs that are cancelled while another process runs them."""

from __future__ import annotations

from django_jobs import jobs
from django_jobs.models import Job, JobStatus
from tests.conftest import RunJobs
from tests.kill.support import settings, states, wait_until_finished
from tests.testapp.journal import Journal, until
from tests.testapp.tasks import ahold, hold, hold_between_steps

HEARTBEAT = 0.5
QUICK = settings(LEASE=3 * HEARTBEAT)


def has_left(job: Job) -> bool:
    return Job.objects.filter(pk=job.pk, processing_token__isnull=True).exists()


def test_an_async_handler_is_cancelled_within_a_heartbeat_and_keeps_its_key_until_it_left(
    runjobs: RunJobs, journal: Journal
) -> None:
    worker = runjobs("--poll-interval=0.1", DJANGO_JOBS=QUICK)
    job = ahold.enqueue("first", key="a key")
    journal.wait_for("start", "first")
    waiting = ahold.enqueue("second", key="a key")
    assert jobs.cancel_by_id(job.pk) == 1
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED
    journal.wait_for("cancelled", "first", timeout=10 * HEARTBEAT)
    # It is still in its `except` block; a heartbeat later the key is held as before.
    lease = Job.objects.get(pk=job.pk).processing_until
    until(lambda: Job.objects.get(pk=job.pk).processing_until != lease)
    assert journal.lines("start", "second") == []
    journal.open("left")
    journal.wait_for("start", "second")
    assert journal.wait_for("left", "first") < journal.wait_for("start", "second")
    journal.open("second")
    assert wait_until_finished([waiting])[0].status == JobStatus.SUCCESSFUL
    job.refresh_from_db()
    assert (job.status, job.output, job.processing_token) == (JobStatus.CANCELLED, None, None)
    assert "succeeded" not in states(job)
    assert "was cancelled, or lost" in worker.output


def test_a_plain_handler_runs_to_its_end_and_its_success_is_not_recorded(
    runjobs: RunJobs, journal: Journal
) -> None:
    runjobs("--poll-interval=0.1", DJANGO_JOBS=QUICK)
    job = hold.enqueue("first", key="a key")
    journal.wait_for("start", "first")
    waiting = hold.enqueue("second", key="a key")
    job.cancel()
    # Longer than the lease, which is renewed as long as the handler runs.
    lease = job.processing_until
    until(lambda: Job.objects.get(pk=job.pk).processing_until != lease)
    assert journal.lines("start", "second") == []
    journal.open("first")
    journal.wait_for("start", "second")
    assert journal.wait_for("end", "first") < journal.wait_for("start", "second")
    journal.open("second")
    wait_until_finished([waiting])
    job.refresh_from_db()
    assert (job.status, job.output, job.processing_token) == (JobStatus.CANCELLED, None, None)
    assert states(job) == []


def test_a_plain_workflow_stops_before_its_next_step(runjobs: RunJobs, journal: Journal) -> None:
    runjobs("--poll-interval=0.1", DJANGO_JOBS=QUICK)
    job = hold_between_steps.enqueue("flow")
    journal.wait_for("start", "flow")
    job.cancel()
    journal.open("flow")
    until(lambda: has_left(job))
    assert journal.lines("note", "flow-after") == []
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED
    assert list(job.log.values_list("task_id", "state")) == [("before", "succeeded")]


def test_a_cancelled_job_whose_worker_is_killed_frees_its_key(
    runjobs: RunJobs, journal: Journal
) -> None:
    killed = runjobs(DJANGO_JOBS=QUICK)
    job = hold.enqueue("first", key="a key")
    journal.wait_for("start", "first")
    waiting = hold.enqueue("second", key="a key")
    job.cancel()
    killed.kill()
    journal.open("second")
    runjobs("--poll-interval=0.1", DJANGO_JOBS=QUICK)
    assert wait_until_finished([waiting])[0].status == JobStatus.SUCCESSFUL
    job.refresh_from_db()
    assert (job.status, job.processing_token) == (JobStatus.CANCELLED, None)


def test_a_job_that_was_cancelled_while_it_ran_can_be_retried_when_its_handler_left(
    runjobs: RunJobs, journal: Journal
) -> None:
    runjobs("--poll-interval=0.1", DJANGO_JOBS=QUICK)
    job = hold.enqueue("first")
    journal.wait_for("start", "first")
    job.cancel()
    assert not job.retry(), "The handler still runs: it would run twice at once."
    journal.open("first")
    until(lambda: has_left(job))
    assert job.retry()
    assert wait_until_finished([job])[0].status == JobStatus.SUCCESSFUL
