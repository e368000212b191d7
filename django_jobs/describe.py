"""Jobs in words and numbers, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.timezone import localtime

from django_jobs import conf
from django_jobs.models import Job, JobLog, database_alias
from django_jobs.queue.backlog import backlogs
from django_jobs.queue.history import last_day
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


def stats() -> Iterator[str]:
    """Yield a line on each queue: what it has to do, and what it did in the last day."""
    using = database_alias()
    day = last_day(using=using)
    for queue, backlog in backlogs(day.by_queue, using=using).items():
        counts = [f"{count} {state}" for state, count in backlog.counts.items() if count]
        ended = day.sum(queue)
        counts += [f"{ended.succeeded} succeeded"] if ended.succeeded else []
        counts += [f"{ended.failed} failed"] if ended.failed else []
        yield f"{queue}: {', '.join(counts) or 'nothing'}"
