"""Workers on machines whose clocks are wrong."""

from __future__ import annotations

import pytest

from django_jobs.models import Job, JobStatus
from tests.conftest import RunJobs
from tests.kill.support import settings, wait_until_finished
from tests.testapp.journal import Journal, until
from tests.testapp.tasks import hold, nap

HOUR = 3600
LEASE = settings(LEASE=1.5)


@pytest.mark.parametrize("offset", [HOUR, -HOUR])
def test_a_job_of_a_worker_with_a_wrong_clock_is_not_stolen(
    runjobs: RunJobs, journal: Journal, offset: int
) -> None:
    runjobs("--poll-interval=0.2", DJANGO_JOBS=LEASE, CLOCK_OFFSET=str(offset))
    job = hold.enqueue("long", key="a key")
    journal.wait_for("start", "long")
    runjobs("--poll-interval=0.2", DJANGO_JOBS=LEASE)
    # Each renewal comes after a third of the lease, so this is longer than the lease.
    leases = set()

    def renewed() -> bool:
        leases.add(Job.objects.get(pk=job.pk).processing_until)
        return len(leases) > 5

    until(renewed)
    journal.open("long")
    finished = wait_until_finished([job])[0]
    assert (finished.status, finished.crashes) == (JobStatus.SUCCESSFUL, 0)
    assert len(journal.lines("start", "long")) == 1


@pytest.mark.parametrize("offset", [HOUR, -HOUR])
def test_a_worker_with_a_wrong_clock_steals_no_jobs(
    runjobs: RunJobs, journal: Journal, offset: int
) -> None:
    runjobs("--poll-interval=0.2", DJANGO_JOBS=settings(LEASE=60))
    job = hold.enqueue("long")
    journal.wait_for("start", "long")
    wrong = runjobs("--queue=other", DJANGO_JOBS=LEASE, CLOCK_OFFSET=str(offset))
    # It has looked around when it sleeps and wakes a job of its own.
    nap_job = nap.using(queue="other").enqueue("nap", 1.0)
    wait_until_finished([nap_job])
    journal.open("long")
    finished = wait_until_finished([job])[0]
    assert (finished.status, finished.crashes) == (JobStatus.SUCCESSFUL, 0)
    assert "Took over" not in wrong.output


@pytest.mark.parametrize("offset", [HOUR, -HOUR])
def test_a_job_sleeps_as_long_as_it_said_on_a_machine_with_a_wrong_clock(
    runjobs: RunJobs, journal: Journal, offset: int
) -> None:
    runjobs("--poll-interval=0.2", CLOCK_OFFSET=str(offset))
    job = nap.enqueue("nap", 1.0)
    wait_until_finished([job])
    before, after = journal.wait_for("before", "nap"), journal.wait_for("after", "nap")
    assert 0.9 < (after.moment - before.moment) / 10**9 < 5
