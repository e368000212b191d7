"""How much each queue has to do, counted up to a bound, so that looking costs no more than that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connections
from django.db.models import BooleanField, ExpressionWrapper, F, IntegerField, Q, QuerySet, Subquery
from django.db.models.expressions import RawSQL

from django_jobs.models import Gate, Job, JobStatus, Wait

# How many rows of a state are looked at.
MOST_COUNTED = 10_000
# How many that run next are looked at for the oldest.
MOST_COMPARED = 1_000
# How many queues with ready jobs are told apart.
MOST_QUEUES = 50


@dataclass(frozen=True, slots=True)
class Count:
    """A number, or the least that it can be."""

    number: int = 0
    or_more: bool = False

    def __str__(self) -> str:
        return f"{self.number}+" if self.or_more else str(self.number)

    def __bool__(self) -> bool:
        return bool(self.number or self.or_more)


@dataclass(slots=True)
class Backlog:
    """The unfinished jobs of one queue."""

    # By state: ready, delayed, retrying, held, running, waiting.
    counts: dict[str, Count] = field(default_factory=dict)
    # Since when the oldest ready job has been due.
    oldest_due_at: datetime | None = None


class _CountOf(Subquery):
    """How many rows a subquery has."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) AS counted)"
    output_field = IntegerField()


class _OldestOf(Subquery):
    """The earliest `due` of a subquery."""

    template = "(SELECT MIN(counted.due) FROM (%(subquery)s) AS counted)"


@dataclass(frozen=True, slots=True)
class _Tally:
    """What was counted of some states, by state and queue."""

    states: Sequence[str]
    counts: Counter[tuple[str, str]]
    or_more: bool


def backlogs(known: Iterable[str] = (), *, using: str) -> dict[str, Backlog]:
    """Return what is unfinished of the queues that have something, and of the `known` ones."""
    ready = {queue: (count, due) for queue, count, due in _ready(_ready_queues(using), using)}
    tallies = [_by_time(using), _in_line(using), _claimed(using), _without_time(using)]
    counted = {queue for tally in tallies for _state, queue in tally.counts}
    table = {}
    for queue in sorted({*known, *ready, *counted}):
        count, oldest = ready.get(queue, (Count(), None))
        table[queue] = Backlog({"ready": count, **_counts(queue, tallies)}, oldest)
    return table


def _counts(queue: str, tallies: Iterable[_Tally]) -> dict[str, Count]:
    counts: dict[str, Count] = {}
    for tally in tallies:
        for state in tally.states:
            before = counts.get(state, Count())
            number = before.number + tally.counts[state, queue]
            counts[state] = Count(number, before.or_more or tally.or_more)
    return counts


def _ready_queues(using: str) -> list[str]:
    """Return the queues with ready jobs, each found by one step along the index."""
    ready = Job.objects.using(using).filter(claim_rank__isnull=False).order_by("queue")
    first = ready.values("queue")[:1]
    following = ready.filter(queue__gt=RawSQL("walk.queue", ())).values("queue")[:1]
    first_sql, first_params = first.query.get_compiler(using).as_sql()
    next_sql, next_params = following.query.get_compiler(using).as_sql()
    sql = (
        f"WITH RECURSIVE walk(queue, step) AS (SELECT ({first_sql}), 1 UNION ALL "  # noqa: S608
        f"SELECT ({next_sql}), walk.step + 1 FROM walk "
        f"WHERE walk.queue IS NOT NULL AND walk.step < {MOST_QUEUES}) "
        "SELECT queue FROM walk WHERE queue IS NOT NULL"
    )
    with connections[using].cursor() as cursor:
        cursor.execute(sql, [*first_params, *next_params])
        return [queue for (queue,) in cursor.fetchall()]


def _ready(queues: Sequence[str], using: str) -> list[tuple[str, Count, datetime | None]]:
    """Count the ready jobs of these queues in one statement, which needs a row to start from."""
    columns = [column for queue in queues for column in _columns(queue, using)]
    row = Job.objects.using(using).order_by("-pk").values_list(*columns).first() if columns else ()
    found = []
    for queue, (number, *oldest) in zip(queues, _triples(row or ()), strict=False):
        count = Count(min(number, MOST_COUNTED), number > MOST_COUNTED)
        found.append((queue, count, min(filter(None, oldest), default=None)))
    return found


def _columns(queue: str, using: str) -> list[Any]:
    ready = Job.objects.using(using).filter(queue=queue, claim_rank__isnull=False)
    due = ready.order_by("claim_rank", "due_at", "id").values(due=F("due_at"))
    # The oldest may be of the lowest priority, behind all that are looked at.
    lowest = ready.order_by("-claim_rank").values("claim_rank")[:1]
    tail = ready.filter(claim_rank=Subquery(lowest)).order_by("due_at")
    return [
        _CountOf(due[: MOST_COUNTED + 1]),
        _OldestOf(due[:MOST_COMPARED]),
        Subquery(tail.values("due_at")[:1]),
    ]


def _triples(row: Sequence[Any]) -> list[tuple[Any, Any, Any]]:
    return list(zip(row[::3], row[1::3], row[2::3], strict=True))


def _counted(
    rows: QuerySet[Any], fields: Sequence[Any], states: Sequence[str],
    state_of: Callable[..., str | None],
) -> _Tally:  # fmt: skip
    """Count rows by state and by queue, which is the first of `fields`.

    States are told apart here and not in the statement, which so looks at a bounded number
    of rows however few of them are in a state. They come in the order of an index, or the
    database might read the whole table to find them.
    """
    found = list(rows.values_list(*fields)[: MOST_COUNTED + 1])
    counts: Counter[tuple[str, str]] = Counter()
    for queue, *values in found[:MOST_COUNTED]:
        if (state := state_of(*values)) is not None:
            counts[state, queue] += 1
    return _Tally(states, counts, len(found) > MOST_COUNTED)


def _by_time(using: str) -> _Tally:
    """Count what a time is waited for."""
    jobs = Job.objects.using(using).filter(wake_at__isnull=False).order_by("wake_at")
    has_failed = ExpressionWrapper(Q(error__isnull=False), BooleanField())

    def state_of(status: str, has_failed: bool) -> str:
        if status == JobStatus.WAITING:
            return "waiting"
        return "retrying" if has_failed else "delayed"

    states = ("delayed", "retrying", "waiting")
    return _counted(jobs, ("queue", "status", has_failed), states, state_of)


def _in_line(using: str) -> _Tally:
    """Count what waits for its concurrency key."""
    jobs = Job.objects.using(using).filter(line_key__isnull=False).order_by("line_key")
    return _counted(jobs, ("queue", "gate"), ("held",), {Gate.HELD: "held"}.get)


def _claimed(using: str) -> _Tally:
    jobs = Job.objects.using(using).filter(processing_until__isnull=False)
    jobs = jobs.order_by("processing_until")
    states = {JobStatus.RUNNING: "running"}
    return _counted(jobs, ("queue", "status"), ("running",), states.get)


def _without_time(using: str) -> _Tally:
    """Count what waits for an event or for children, without a timeout."""
    seen: set[int] = set()

    def state_of(job: int, status: str, wait_until: datetime | None) -> str | None:
        if job in seen or status != JobStatus.WAITING or wait_until is not None:
            return None
        seen.add(job)
        return "waiting"

    fields = ("job__queue", "job_id", "job__status", "job__wait_until")
    return _counted(Wait.objects.using(using).order_by("id"), fields, ("waiting",), state_of)
