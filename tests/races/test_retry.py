"""Jobs that several operators retry at once, each from another step."""

from __future__ import annotations

from functools import partial

import pytest

from django_jobs import JobContext, jobs, workflow
from django_jobs.models import JobLog, JobStatus, TaskStatus
from django_jobs.queue import operate
from tests.races.support import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_job_that_many_retry_from_a_step_at_once_is_retried_once() -> None:
    @workflow(slug="flow")
    def flow(ctx: JobContext) -> None:
        for name in "abcd":
            ctx.inline(name, int)
        ctx.inline("fails", lambda: 1 / 0)

    job = flow.enqueue()
    jobs.run_by_id(job.pk)
    steps = list(TaskStatus.objects.filter(job=job).order_by("pk"))
    ways = [partial(operate.retry_from, job.pk, step.pk, using="default") for step in steps]
    assert sum(at_once(*ways)) == 1
    job.refresh_from_db()
    assert job.status == JobStatus.READY
    (note,) = JobLog.objects.filter(job=job, message="Retried from a step.")
    forgotten = len(note.data["run_again"])
    assert TaskStatus.objects.filter(job=job).count() == len(steps) - forgotten
