"""How many jobs end, counted in memory and written down now and then.

A job costs an addition. What a process has counted since it last wrote is lost if it is killed.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, connections
from django.db.models import F
from django.utils import timezone

from django_jobs.models import Job, JobStatus, Throughput
from django_jobs.queue.lifecycle import Change
from django_jobs.queue.record import Report, Standing
from django_jobs.queue.transient import retried

logger = logging.getLogger("django_jobs.throughput")

FLUSHED_EVERY = timedelta(seconds=10)
KEPT_FOR = timedelta(days=2)
# At every such row that is added: now and then is often enough.
PRUNED_EVERY = 100

# By database and queue, for each column.
_counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
_lock = threading.Lock()
_flushed_at: dict[str, float] = {}

_COLUMNS = {JobStatus.SUCCESSFUL: "succeeded", JobStatus.FAILED: "failed"}


def note(reports: Sequence[Report], standings: Sequence[Standing], *, using: str) -> None:
    """Count the attempts that ended with these reports, which are stored."""
    counts = Counter(
        (report.job.queue, _column(report.change))
        for report, standing in zip(reports, standings, strict=True)
        if report.change is not None and standing is Standing.HELD
    )
    with _lock:
        for (queue, column), count in counts.items():
            if column is not None:
                _counts[using, queue][column] += count


def _column(change: Change) -> str | None:
    if change.status is JobStatus.READY:
        return "retried" if change.counts_attempt else None
    return _COLUMNS.get(change.status)


def note_failed(jobs: Iterable[Job], *, using: str) -> None:
    """Count jobs that failed without a report, since their worker was lost."""
    with _lock:
        for job in jobs:
            _counts[using, job.queue]["failed"] += 1


def flush(*, using: str) -> None:
    """Write down what this process has counted; no query where that is nothing."""
    _flushed_at[using] = time.monotonic()
    minute = timezone.now().replace(second=0, microsecond=0)
    for queue in sorted(queue for alias, queue in list(_counts) if alias == using):
        with _lock:
            counts = _counts.pop((using, queue), Counter())
        try:
            _add(queue, minute, counts, using=using)
        except Exception:
            with _lock:
                _counts[using, queue].update(counts)
            raise


def flush_after_pass(*, using: str) -> None:
    """Write down what a pass has counted, unless this process has just done so.

    In a transaction of the caller's, or without a database, that comes later.
    """
    since = time.monotonic() - _flushed_at.get(using, -math.inf)
    if since >= FLUSHED_EVERY.total_seconds() and not connections[using].in_atomic_block:
        flush_if_possible(using=using)


def flush_if_possible(*, using: str) -> None:
    try:
        flush(using=using)
    except DatabaseError as error:
        logger.warning("How many jobs ended could not be written down: %s", error)


@retried
def _add(queue: str, minute: datetime, counts: Counter[str], *, using: str) -> None:
    rows = Throughput.objects.using(using)
    row = rows.filter(queue=queue, minute=minute)
    more: dict[str, Any] = {column: F(column) + count for column, count in counts.items()}
    if row.update(**more):
        return
    made, is_new = rows.get_or_create(queue=queue, minute=minute, defaults=counts)
    if not is_new:
        row.update(**more)
    elif made.pk % PRUNED_EVERY == 0:
        rows.filter(minute__lt=minute - KEPT_FOR).delete()
