"""Take due jobs, so that nobody else takes them."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import Q, QuerySet, Subquery

from django_jobs.fields import DatabaseNow
from django_jobs.models import ALL_QUEUES, USUAL_ORDER, Gate, Job, JobStatus, Queue, Worker
from django_jobs.queue import claim_at_once, claim_on_sqlite, concurrency, lifecycle
from django_jobs.queue.index_order import in_index_order, rows_of
from django_jobs.queue.rows import skip_locked
from django_jobs.queue.transient import retried

# How many rows are looked at, at the most, behind those that stand in the way.
LOOK_AHEAD = 500
# How often two claims may take the same place of a key from each other.
TRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which jobs to claim, in which order, and for whom."""

    # None means all of them.
    queues: tuple[str, ...] | None
    where: Q | None = None
    # A Django ordering that overrides priority and age.
    order: str | None = None
    worker_id: int | None = None
    lease: timedelta

    @property
    def ordering(self) -> tuple[str, ...]:
        if self.order:
            return (self.order, "-id" if self.order.startswith("-") else "id")
        one = self.queues is not None and len(self.queues) == 1
        return concurrency.order_of(self.queues[0] if one and self.queues else None) or USUAL_ORDER

    @property
    def sees_held_jobs(self) -> bool:
        """Whether a job that another one is let to the front of is looked at all the same.

        The front of a line is that of the usual order among all jobs; another order, or a
        condition, may want another job of the line.
        """
        return not self.is_usual

    @property
    def is_usual(self) -> bool:
        return self.where is None and self.ordering == USUAL_ORDER


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Whether there is something to claim, and in how many seconds the next delayed job is due."""

    is_due: bool = False
    seconds_to_wake: float = math.inf


def claim(selection: Selection, limit: int, *, wakes: bool = True, using: str) -> list[Job]:
    """Mark up to `limit` due jobs as running, and return them in the order to run them.

    Jobs whose key is busy are held back and do not count. An empty list means that nothing
    was due, or that others were faster. Unless it `wakes`, the jobs whose time has come since
    somebody last did are left out.
    """
    if limit < 1 or selection.queues == ():
        return []
    if wakes:
        wake(using=using)
    at_once = claim_at_once.is_supported(using) or claim_on_sqlite.is_supported(using)
    step = _claim_at_once if at_once and selection.is_usual else _claim_some
    claimed: list[Job] = []
    size = limit
    while len(claimed) < limit:
        try:
            looked_at, seated, waiting = step(selection, size, limit - len(claimed), using=using)
            claimed += seated
            concurrency.look_again(waiting, using=using)
        except (OperationalError, InterfaceError):
            # What was claimed before the connection broke is the caller's to run.
            if not claimed or transaction.get_connection(using).in_atomic_block:
                raise
            break
        if looked_at < size or not waiting:
            break
        size, step = LOOK_AHEAD, _claim_some
    return claimed


def _claim_at_once(
    selection: Selection, size: int, room: int, *, using: str
) -> tuple[int, list[Job], list[Job]]:
    """See _claim_some(), which is left those of the candidates that have a key."""
    claimed, keyed = _claim_keyless(selection, size, using=using)
    if not keyed:
        return len(claimed), sorted(claimed, key=_usual_place), []
    try:
        among = [job.pk for job in keyed]
        _found, seated, waiting = _claim_some(
            selection, size, room - len(claimed), among=among, using=using
        )
    except (OperationalError, InterfaceError):
        if not claimed or transaction.get_connection(using).in_atomic_block:
            raise
        seated, waiting = [], []
    return len(claimed) + len(keyed), sorted([*claimed, *seated], key=_usual_place), waiting


@retried
def _claim_keyless(selection: Selection, size: int, *, using: str) -> tuple[list[Job], list[Job]]:
    if claim_on_sqlite.is_supported(using):
        statements = _statements_for(selection.queues, using)
        return statements.run(size, lease=selection.lease, worker_id=selection.worker_id)
    statement = _statement_for(selection.queues, using)
    return statement.run(size, lease=selection.lease, worker_id=selection.worker_id)


# The names of queues may come with requests.
@lru_cache(maxsize=100)
def _statement_for(queues: tuple[str, ...] | None, using: str) -> claim_at_once.ClaimStatement:
    return claim_at_once.ClaimStatement(_candidates_by_queue(queues, using))


@lru_cache(maxsize=100)
def _statements_for(queues: tuple[str, ...] | None, using: str) -> claim_on_sqlite.ClaimStatements:
    usual = Selection(queues=queues, lease=timedelta(0))
    return claim_on_sqlite.ClaimStatements(_candidates(usual, using))


def _usual_place(job: Job) -> tuple[int, datetime, int]:
    """Return what USUAL_ORDER goes by."""
    return (-job.priority, job.wait_until or job.created_at, job.pk)


def wake(*, using: str) -> None:
    """Make the jobs whose time has come claimable."""
    # Not by exists(), which drops the order, and with it the reason to use the index.
    while rows_of(_first_due_to_wake(using)):
        if _wake_some(using=using) < LOOK_AHEAD:
            break


def look(selection: Selection, *, using: str) -> Outlook:
    """Return what there is to claim, by one statement that locks nothing."""
    chosen = [_candidates(selection, using)]
    if selection.is_usual:
        chosen = _candidates_by_queue(selection.queues, using)
    # In order, as the claim asks, so that it is answered by the same index.
    due = [Subquery(jobs.values("pk")[:1]) for jobs in chosen]
    delayed = Job.objects.using(using).filter(wake_at__isnull=False).order_by("wake_at")
    own = Worker.objects.using(using).filter(pk=selection.worker_id)
    rows = rows_of(own.values_list(DatabaseNow(), Subquery(delayed.values("wake_at")[:1]), *due))
    if not rows:
        # The worker has been forgotten for its silence; its next heartbeat makes up for it.
        return Outlook(is_due=True)
    now, wake_at, *first = rows[0]
    left = math.inf if wake_at is None else max((wake_at - now).total_seconds(), 0.0)
    return Outlook(is_due=any(first) or not left, seconds_to_wake=left)


def _due_to_wake(using: str) -> QuerySet[Job]:
    return Job.objects.using(using).filter(wake_at__lte=DatabaseNow()).order_by("wake_at")


def _first_due_to_wake(using: str) -> QuerySet[Job, tuple[int]]:
    return _due_to_wake(using).values_list("pk")[:1]


@retried
def _wake_some(*, using: str) -> int:
    with transaction.atomic(using=using):
        found = rows_of(skip_locked(_due_to_wake(using)).values_list("pk")[:LOOK_AHEAD])
        ids = [pk for (pk,) in found]
        rows = Job.objects.using(using).filter(pk__in=ids)
        rows.update(status=JobStatus.READY, gate=Gate.DUE)
    return len(ids)


@retried
def _claim_some(
    selection: Selection, size: int, room: int, *, among: Sequence[int] | None = None, using: str
) -> tuple[int, list[Job], list[Job]]:
    """Look at `size` candidates in one transaction; return how many, who runs, who waits."""
    chosen = _candidates(selection, using)
    if among is not None:
        chosen = chosen.filter(pk__in=among)
    for tries_left in reversed(range(TRIES)):
        try:
            with transaction.atomic(using=using):
                with in_index_order(using) if among is None else nullcontext():
                    rows = list(skip_locked(chosen)[:size])
                # A condition on related rows can find a job more than once.
                candidates = list({job.pk: job for job in rows}.values())
                seated, waiting = concurrency.seat(candidates, room, using=using)
                _start(seated, selection, using)
                if waiting:
                    concurrency.hold(waiting, using=using)
                return len(rows), seated, waiting
        except IntegrityError:
            # Another claim took the last place of a key since it was looked up.
            if not tries_left:
                raise
    raise AssertionError("unreachable")


def _candidates_by_queue(queues: tuple[str, ...] | None, using: str) -> list[QuerySet[Job]]:
    """Return the candidates in the usual order, of each queue by itself.

    Of several at once they would have to be sorted, all of them.
    """
    each = [None] if queues is None else [(queue,) for queue in sorted(set(queues))]
    return [_candidates(Selection(queues=one, lease=timedelta(0)), using) for one in each]


def _candidates(selection: Selection, using: str) -> QuerySet[Job]:
    jobs = Job.objects.using(using).annotate(now=DatabaseNow())
    if selection.sees_held_jobs:
        held = Q(line_rank__isnull=False) & concurrency.has_free_place(using)
        jobs = jobs.filter(Q(claim_rank__isnull=False) | held)
    else:
        jobs = jobs.filter(claim_rank__isnull=False)
    if selection.queues is None:
        jobs = jobs.filter(ALL_QUEUES)
    else:
        one = len(selection.queues) == 1
        name = selection.queues[0] if one else selection.queues
        jobs = jobs.filter(**{"queue" if one else "queue__in": name})
    if selection.where is not None:
        jobs = jobs.filter(selection.where)
    paused = Queue.objects.using(using).filter(paused=True).values("name")
    return jobs.exclude(queue__in=paused).order_by(*selection.ordering)


def _start(jobs: Sequence[Job], selection: Selection, using: str) -> None:
    """Write the claim, one statement for each place of a key that is taken."""
    token = uuid.uuid4()
    for slot in sorted({job.slot for job in jobs}):
        same = [job for job in jobs if job.slot == slot]
        now = same[0].now  # type: ignore[attr-defined]
        values = lifecycle.claimed(
            token=token, worker_id=selection.worker_id, now=now, lease=selection.lease, slot=slot
        )
        rows = Job.objects.using(using).filter(pk__in=[job.pk for job in same])
        rows.update(**values)
        for job in same:
            vars(job).update(values)
