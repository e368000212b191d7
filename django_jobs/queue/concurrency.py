"""Concurrency keys: of the jobs with one key, at most its limit run at once.

The constraint `jobs_job_key_slot` keeps the promise: a claimed job takes one of the places of
its key, and no place can be taken twice. It is free again the moment the job's claim token is
cleared, so a place cannot leak.

The rest of this page only keeps the claim fast. A hundred thousand jobs behind one busy key
would be in the way of all others, so they are HELD, which takes them out of the claim's
indexes, and the next of each queue is let to the front when a place becomes free.

Whoever holds a job back looks again after its commit: the place that it saw taken may have
become free in between, by a transaction that could not see the held job yet. What a crash
leaves between the two is repaired by `repair`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.db.models.lookups import LessThan

from django_jobs import conf
from django_jobs.models import Gate, Job, JobQuerySet, JobStatus
from django_jobs.queue.index_order import in_index_order
from django_jobs.queue.transient import retried

Line = tuple[str, str]
"""A concurrency key and a queue."""


def order_of(queue: str | None) -> tuple[str, ...]:
    """Return in which order the jobs of the queue are taken; () for the usual one.

    None stands for several queues at once, about which a callable is not asked.
    """
    order = conf.get().PROCESSING_ORDER
    if callable(order):
        order = None if queue is None else order(queue)
    elif isinstance(order, dict):
        order = order.get(queue, order.get(None))
    return (order, "id" if not order.startswith("-") else "-id") if order else ()


def assign_gates(jobs: Sequence[Job], *, using: str) -> list[Job]:
    """Hold new jobs back that could not run now, and return those.

    One that comes first by its priority is let through: the claim will know.
    """
    keyed = [job for job in jobs if job.concurrency_limit is not None]
    if not keyed:
        return []
    running, fronts = _occupied({str(job.concurrency_key) for job in keyed}, using)
    held = []
    for job in keyed:
        if job.wait_until is not None:
            continue
        key = str(job.concurrency_key)
        front = fronts[key, job.queue]
        ahead = running[key] + sum(rank <= -job.priority for rank in front)
        if ahead >= (job.concurrency_limit or 1):
            job.gate = Gate.HELD
            held.append(job)
        else:
            front.append(-job.priority)
    return held


def _occupied(keys: Collection[str], using: str) -> tuple[Counter[str], dict[Line, list[int]]]:
    """Return how many run with each key, and the ranks at the front of each line."""
    running: Counter[str] = Counter()
    fronts: dict[Line, list[int]] = defaultdict(list)
    rows = Job.objects.using(using).filter(
        Q(held_key__in=keys)
        | Q(line_key__in=keys, claim_rank__isnull=False, concurrency_limit__isnull=False)
    )
    for key, queue, rank in rows.values_list("concurrency_key", "queue", "claim_rank"):
        if rank is None:
            running[str(key)] += 1
        else:
            fronts[str(key), queue].append(rank)
    return running, fronts


def seat(candidates: Iterable[Job], room: int, *, using: str) -> tuple[list[Job], list[Job]]:
    """Return who of the candidates may run, with their places set, and who must wait.

    `room` is how many may run in all.
    """
    candidates = list(candidates)
    keys = {job.concurrency_key for job in candidates if job.concurrency_limit is not None}
    taken: dict[str | None, set[int]] = defaultdict(set)
    if keys:
        rows = Job.objects.using(using).filter(held_key__in=keys)
        for key, slot in rows.values_list("held_key", "slot"):
            taken[key].add(slot)
    seated: list[Job] = []
    waiting: list[Job] = []
    for job in candidates:
        if len(seated) == room:
            break
        if job.concurrency_limit is None:
            seated.append(job)
            continue
        places = taken[job.concurrency_key]
        free = next((slot for slot in range(job.concurrency_limit) if slot not in places), None)
        if free is None:
            waiting.append(job)
        else:
            job.slot = free
            places.add(free)
            seated.append(job)
    return seated, waiting


def hold(jobs: Sequence[Job], *, using: str) -> None:
    """Take ready jobs out of the claim's way until a place of their key is free."""
    rows = Job.objects.using(using).filter(pk__in=[job.pk for job in jobs])
    rows.filter(status=JobStatus.READY).update(gate=Gate.HELD)


def look_again(jobs: Iterable[Job], *, using: str) -> None:
    """Let the next of each key to the front, where a place is free for it.

    To be called after the commit of whatever set these jobs back, ended, or took them out of
    their line. Inside a transaction of the caller's it is done now, and again at its commit.
    """
    by_key = {job.concurrency_key: job for job in jobs if job.concurrency_limit is not None}
    if not by_key:
        return
    _admit_all(list(by_key.values()), using)
    if transaction.get_connection(using).in_atomic_block:
        again = partial(_admit_all, list(by_key.values()), using)
        transaction.on_commit(again, using=using, robust=True)


def _admit_all(jobs: Sequence[Job], using: str) -> None:
    for key in _keys_with_someone_held(jobs, using):
        admit(key, using=using)


def _held(using: str) -> JobQuerySet:
    held: JobQuerySet = Job.objects.using(using).filter(line_rank__isnull=False)
    return held


def _keys_with_someone_held(jobs: Sequence[Job], using: str) -> Iterator[str]:
    """Probe the lines of many keys at once: by the rows of the jobs, while they are there."""
    someone = Exists(_held(using).filter(line_key=OuterRef("concurrency_key")))
    rows = Job.objects.using(using).filter(pk__in=[job.pk for job in jobs if job.pk])
    probed = dict(rows.annotate(someone=someone).values_list("pk", "someone"))
    for job in jobs:
        if probed.get(job.pk, True):
            yield str(job.concurrency_key)


@retried
def admit(key: str, *, using: str) -> None:
    """Let the first of each queue's line to the front, as far as there are free places.

    Of each queue, because only a running job holds the key: one at the front of a queue
    that is paused, or has no worker, must not be in the way of another queue.
    """
    queue = ""
    with in_index_order(using):
        while head := _head_of_next_queue(key, queue, using):
            queue = head.queue
            _admit_first(head, using)


def _admit_first(head: Job, using: str) -> None:
    free = (head.concurrency_limit or 1) - _ahead_of(head, using)
    if free > 0:
        line = _held(using).filter(line_key=head.concurrency_key, queue=head.queue)
        order = order_of(head.queue) or ("line_rank", "due_at", "id")
        ids = list(line.order_by(*order).values_list("pk", flat=True)[:free])
        _held(using).filter(pk__in=ids).update(gate=Gate.DUE)


def has_free_place(using: str) -> Q:
    """Return the condition that the key of a job is not busy."""
    holders = Job.objects.using(using).filter(held_key=OuterRef("concurrency_key"))
    running = holders.order_by().values("held_key").annotate(number=Count("pk")).values("number")
    return Q(LessThan(Coalesce(Subquery(running), 0), F("concurrency_limit")))


def _head_of_next_queue(key: str, after: str, using: str) -> Job | None:
    line = _held(using).filter(line_key=key, queue__gt=after)
    order = ("line_key", "queue", "line_rank", "due_at", "id")
    head: Job | None = (
        line.order_by(*order)
        .only(
            "queue",
            "concurrency_limit",
            "priority",
            "concurrency_key",
            "wait_until",
            "created_at",
        )
        .first()
    )
    return head


def _ahead_of(head: Job, using: str) -> int:
    """Return how many run with the key or stand before `head` at the front of its queue."""
    key = head.concurrency_key
    rank = -head.priority
    due_at = head.wait_until or head.created_at
    sooner = Q(claim_rank__lt=rank) | Q(claim_rank=rank, due_at__lte=due_at)
    front = Q(line_key=key, queue=head.queue) & sooner
    rows = Job.objects.using(using).filter(
        Q(held_key=key) | (front & Q(concurrency_limit__isnull=False))
    )
    limit = head.concurrency_limit or 1
    return len(rows.values_list("pk")[:limit])


def repair(*, using: str, after: Line = ("", ""), lines: int = 1000) -> Line | None:
    """Admit for each line what a crash left held; return where to go on, None at the end.

    Visits `lines` lines, a few index look-ups each.
    """
    key, queue = after
    for _ in range(lines):
        rest = Q(line_key__gt=key) | Q(line_key=key, queue__gt=queue)
        order = ("line_key", "queue")
        line = _held(using).filter(rest).order_by(*order).values_list(*order).first()
        if line is None:
            return None
        if line[0] != key:
            admit(line[0], using=using)
        key, queue = line
    return key, queue
