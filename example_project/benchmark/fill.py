"""Fill the database with jobs, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from benchmark.tasks import noop
from django_jobs.models import Job, JobLog

BATCH = 1_000


def batches(count: int) -> Iterator[list[dict[str, int]]]:
    for start in range(0, count, BATCH):
        yield [{"number": number} for number in range(start, min(start + BATCH, count))]


def waiting(count: int) -> None:
    for batch in batches(count):
        noop.enqueue_many(batch)


def delayed(count: int) -> None:
    later = noop.using(wait_until=timezone.now() + timedelta(days=30))
    for batch in batches(count):
        later.enqueue_many(batch)


def finished(count: int) -> None:
    """Add jobs as they are when they have succeeded, with their log."""
    now = timezone.now()
    values = {"slug": noop.slug, "total_tried": 1, "started_at": now, "completed_at": now}
    for batch in batches(count):
        jobs = [Job(input=input, status=Job.Status.SUCCESSFUL, **values) for input in batch]
        Job.objects.bulk_create(jobs)
        JobLog.objects.bulk_create(
            JobLog(
                job=job, attempt=1, task_slug=noop.slug, task_id="1", input=job.input,
                state=JobLog.State.SUCCEEDED,
            )
            for job in jobs
        )  # fmt: skip
