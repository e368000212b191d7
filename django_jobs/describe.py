"""Jobs in words and numbers, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import Count
from django.utils.timezone import localtime

from django_jobs import conf
from django_jobs.models import Job, JobLog
from django_jobs.queue.json import encode

HIDDEN = "•••"


def redacted(input: Any) -> Any:
    """Return an input as it may be shown: without the values of the fields in REDACT."""
    names = conf.get().REDACT
    if isinstance(input, Mapping):
        return {name: HIDDEN if name in names else redacted(value) for name, value in input.items()}
    if isinstance(input, list):
        return [redacted(value) for value in input]
    return input


def facts(job: Job) -> Iterator[tuple[str, str]]:
    """Yield what there is to know of a job, as names and texts."""
    for name in ("id", "slug", "kind", "queue", "priority", "status", "total_tried"):
        yield name, str(getattr(job, name))
    yield "input", encode(redacted(job.input))
    for name in ("wait_until", "created_at", "started_at", "completed_at", "processing_until"):
        moment = getattr(job, name)
        if moment is not None:
            yield name, f"{localtime(moment):%Y-%m-%d %H:%M:%S}"
    for name in ("concurrency_key", "progress", "output"):
        value = getattr(job, name)
        if value is not None:
            yield name, encode(value)
    if job.error:
        yield "error", f"{job.error.get('name')}: {job.error.get('message')}"


def line(entry: JobLog) -> str:
    """Return a log entry on one line."""
    when = f"{localtime(entry.executed_at):%H:%M:%S}"
    if entry.state == JobLog.State.MESSAGE:
        return f"  {when}  {entry.message}"
    error = f"  {entry.error.get('name')}: {entry.error.get('message')}" if entry.error else ""
    return f"  {when}  {entry.task_slug} {entry.task_id}  {entry.state}{error}"


def counts() -> dict[str, dict[str, int]]:
    """Return how many jobs of each status each queue has."""
    table: dict[str, dict[str, int]] = {}
    rows = Job.objects.values_list("queue", "status").annotate(count=Count("id"))
    for queue, status, count in rows.order_by("queue", "status"):
        table.setdefault(queue, {})[status] = count
    return table
