"""What the tests of running jobs share."""

from __future__ import annotations

from typing import Any

from django_jobs import jobs
from django_jobs.models import Job


def run(job: Job) -> str | None:
    """Run the job once, if it is due, and bring it up to date; return what was reported of it."""
    result = jobs.run_by_id(job.pk)
    job.refresh_from_db()
    return result.job_status.get(job.pk)


def run_until_finished(job: Job, *, at_most: int = 20) -> Job:
    """Run the job, without its delays, until it is finished."""
    for _ in range(at_most):
        run(job)
        if job.is_finished:
            return job
        skip_delay(job)
    raise AssertionError(f"The job is {job.status} after {at_most} attempts: {job.error}")


def skip_delay(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(wait_until=None)


def entries(job: Job, *fields: str) -> list[Any]:
    """Return these columns of the log, oldest first; a list of values for a single one."""
    return list(job.log.values_list(*fields, flat=len(fields) == 1))


def error_of(job: Job) -> dict[str, Any]:
    assert job.error is not None
    return job.error
