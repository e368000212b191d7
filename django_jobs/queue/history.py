"""How many jobs ended in the last hour and in the last day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Sum
from django.utils import timezone

from django_jobs.models import Throughput

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@dataclass(slots=True)
class Bar:
    """What ended in one stretch of time."""

    start: datetime
    succeeded: int = 0
    failed: int = 0
    retried: int = 0

    @property
    def total(self) -> int:
        return self.succeeded + self.failed + self.retried


@dataclass(frozen=True, slots=True)
class History:
    """Bars of one length, the oldest first and the one that still grows last, by queue."""

    length: timedelta
    starts: list[datetime]
    by_queue: dict[str, list[Bar]]

    def of(self, queue: str | None = None) -> list[Bar]:
        """Return the bars of one queue, or of all together."""
        if queue is not None and queue in self.by_queue:
            return self.by_queue[queue]
        bars = [Bar(start) for start in self.starts]
        for queues in self.by_queue.values() if queue is None else ():
            for bar, more in zip(bars, queues, strict=True):
                _add(bar, more.succeeded, more.failed, more.retried)
        return bars

    def sum(self, queue: str | None = None) -> Bar:
        total = Bar(self.starts[0])
        for bar in self.of(queue):
            _add(total, bar.succeeded, bar.failed, bar.retried)
        return total


def _add(bar: Bar, succeeded: int, failed: int, retried: int) -> None:
    bar.succeeded += succeeded
    bar.failed += failed
    bar.retried += retried


Row = tuple[str, datetime, int, int, int]


def last_hour(*, using: str) -> History:
    """Return a bar for each of 60 minutes."""
    first = timezone.now().replace(second=0, microsecond=0) - 59 * MINUTE
    rows = Throughput.objects.using(using).filter(minute__gte=first).order_by()
    columns = ("queue", "minute", "succeeded", "failed", "retried")
    return _history(rows.values_list(*columns), first, MINUTE, 60)


def last_day(*, using: str) -> History:
    """Return a bar for each of 24 hours."""
    first = timezone.now().replace(minute=0, second=0, microsecond=0) - 23 * HOUR
    rows = Throughput.objects.using(using).filter(minute__gte=first).order_by()
    counts = [Sum(column) for column in ("succeeded", "failed", "retried")]
    by_hour = rows.values_list("queue", "hour").annotate(*counts)
    return _history(by_hour, first, HOUR, 24)


def _history(rows: Iterable[Row], first: datetime, length: timedelta, number: int) -> History:
    starts = [first + length * place for place in range(number)]
    table: defaultdict[str, list[Bar]] = defaultdict(lambda: [Bar(start) for start in starts])
    for queue, start, *counts in rows:
        place = (start - first) // length
        # Of a machine whose clock is ahead there may be more.
        if place < number:
            _add(table[queue][place], *counts)
    return History(length, starts, dict(table))
