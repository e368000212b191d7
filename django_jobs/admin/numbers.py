"""What the overview tells, from a bounded number of bounded queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from django_jobs import conf
from django_jobs.fields import DatabaseNow
from django_jobs.models import Queue, Worker
from django_jobs.queue.backlog import Backlog, backlogs
from django_jobs.queue.history import Bar, History, last_day, last_hour
from django_jobs.queue.statistics import percentile, recent

# How many queues and workers one page shows.
MOST_ROWS = 200


@dataclass(frozen=True, slots=True)
class Typical:
    """How long it takes half and nearly all of the recent jobs, in seconds."""

    p50: float
    p95: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Typical | None:
        return cls(percentile(seconds, 0.5), percentile(seconds, 0.95)) if seconds else None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueNumbers:
    """What there is to know of one queue."""

    name: str
    backlog: Backlog
    hour: Bar
    day: Bar
    # None where no job has ended lately.
    wait: Typical | None
    run: Typical | None
    # Its row, which only a queue has that was paused at some time.
    row: Queue | None
    # For how long the oldest ready job has been due.
    oldest: timedelta | None
    # Whether a living worker takes jobs from it.
    is_heard: bool

    @property
    def is_paused(self) -> bool:
        return self.row is not None and self.row.paused

    @property
    def is_ignored(self) -> bool:
        """Whether jobs are ready that no worker takes."""
        return bool(self.backlog.counts["ready"]) and not self.is_heard


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A worker, and whether it is alive."""

    worker: Worker
    is_alive: bool
    # Since its last heartbeat.
    silence: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The whole overview; there may be more queues and workers than it has."""

    queues: Sequence[QueueNumbers]
    has_more_queues: bool
    workers: Sequence[WorkerRow]
    hour: History
    day: History

    @property
    def alive(self) -> int:
        return sum(row.is_alive for row in self.workers)


def look(*, using: str) -> Numbers:
    hour, day = last_hour(using=using), last_day(using=using)
    workers, now = _workers(using)
    rows = {row.name: row for row in Queue.objects.using(using).order_by("name")[:MOST_ROWS]}
    served = {queue for row in workers if row.is_alive for queue in row.worker.queues}
    known = {*day.by_queue, *hour.by_queue, *rows, *served}
    table, lately = backlogs(known, using=using), recent(using=using)
    queues = [
        QueueNumbers(
            name=name, backlog=backlog, hour=hour.sum(name), day=day.sum(name), row=rows.get(name),
            wait=Typical.of(lately.waits.get(name, ())), run=Typical.of(lately.runs.get(name, ())),
            oldest=_age(backlog, now), is_heard=_is_heard(name, workers),
        )
        for name, backlog in list(table.items())[:MOST_ROWS]
    ]  # fmt: skip
    return Numbers(
        queues=queues, has_more_queues=len(table) > MOST_ROWS, workers=workers, hour=hour, day=day
    )


def _workers(using: str) -> tuple[list[WorkerRow], datetime]:
    """Return the workers that were heard of last, and the database's time."""
    found = Worker.objects.using(using).annotate(now=DatabaseNow())
    workers = list(found.order_by("-last_heartbeat_at")[:MOST_ROWS])
    now = workers[0].now if workers else timezone.now()
    # Each keeps its place on the page from one look to the next.
    return [_row(worker, now) for worker in sorted(workers, key=lambda worker: worker.pk)], now


def _row(worker: Worker, now: datetime) -> WorkerRow:
    silence = now - worker.last_heartbeat_at
    return WorkerRow(worker=worker, is_alive=silence <= conf.get().LEASE, silence=silence)


def _is_heard(queue: str, workers: Iterable[WorkerRow]) -> bool:
    return any(
        row.is_alive and (not row.worker.queues or queue in row.worker.queues) for row in workers
    )


def _age(backlog: Backlog, now: datetime) -> timedelta | None:
    due_at = backlog.oldest_due_at
    return None if due_at is None else max(now - due_at, timedelta(0))
