"""The queue without a worker: jobs that are added, claimed and ended by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from django_jobs.models import Job
from django_jobs.queue import enqueue, lifecycle
from django_jobs.queue.claim import Selection
from django_jobs.queue.claim import claim as claim_jobs
from django_jobs.queue.lifecycle import Change
from django_jobs.queue.record import Report, Standing, record

ERROR = {"name": "ValueError", "message": "no", "traceback": "", "cancelled": False}


def job(key: str | None = None, *, limit: int | None = 1, **fields: Any) -> Job:
    """Return a job that is not stored yet."""
    if key is not None:
        fields |= {"concurrency_key": key, "concurrency_limit": limit}
    return Job(**{"slug": "work", **fields})


def add(key: str | None = None, **fields: Any) -> Job:
    return enqueue.insert([job(key, **fields)], using="default")[0]


def add_many(number: int, key: str | None = None, **fields: Any) -> list[Job]:
    return enqueue.insert([job(key, **fields) for _ in range(number)], using="default")


def claim(
    limit: int = 10, *, queue: str | None = "default", queues: tuple[str, ...] | None = None,
    where: Q | None = None, order: str | None = None, lease: float = 60,
) -> list[Job]:  # fmt: skip
    selection = Selection(
        queues=queues if queues is not None or queue is None else (queue,),
        where=where, order=order, lease=timedelta(seconds=lease),
    )  # fmt: skip
    return claim_jobs(selection, limit, using="default")


def claim_one(**options: Any) -> Job:
    (claimed,) = claim(1, **options)
    return claimed


def end(claimed: Job, change: Change | None = None) -> Standing:
    change = lifecycle.succeed(None) if change is None else change
    return record([Report(job=claimed, change=change)], using="default")[0]


def end_lease(*claimed: Job) -> None:
    """Let it be a minute ago that the leases of the jobs have ended."""
    rows = Job.objects.filter(pk__in=[one.pk for one in claimed])
    rows.update(processing_until=timezone.now() - timedelta(minutes=1))


def pks(found: list[Job]) -> list[int]:
    return [one.pk for one in found]
