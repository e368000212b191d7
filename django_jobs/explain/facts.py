"""What must be known of the surroundings of some jobs, from a bounded number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, Min, Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from django_jobs import conf
from django_jobs.fields import DatabaseNow
from django_jobs.models import (
    EVENT_SLUG,
    UNFINISHED,
    USUAL_ORDER,
    Job,
    JobStatus,
    Queue,
    TaskStatus,
    Wait,
    Worker,
)
from django_jobs.queue import concurrency

# How far the place of a job in its queue is counted, and of how many queues.
MOST_AHEAD = 1_000
MOST_QUEUES = 3
# How many workers and waits are looked at.
MOST_ROWS = 1_000


@dataclass(slots=True, kw_only=True)
class Facts:
    """What is true at `now`, by the clock of the database."""

    now: datetime
    paused: dict[str, Queue] = field(default_factory=dict)
    workers: dict[int, Worker] = field(default_factory=dict)
    # How many jobs hold a key, and the first of them.
    holders: dict[str, tuple[int, int]] = field(default_factory=dict)
    events: dict[int, list[str]] = field(default_factory=dict)
    children: dict[int, list[int]] = field(default_factory=dict)
    # When the wait of a job for an event times out.
    timeouts: dict[tuple[int, str], datetime] = field(default_factory=dict)
    # How many jobs are ahead in the queue of those that may be claimed; MOST_AHEAD + 1 is more.
    ahead: dict[int, int] = field(default_factory=dict)

    def is_alive(self, worker: Worker) -> bool:
        return bool(worker.last_heartbeat_at >= self.now - conf.get().LEASE)

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self.workers.values() if self.is_alive(worker)]

    def is_heard(self, queue: str) -> bool:
        """Whether a living worker takes jobs from the queue; one without queues takes all."""
        return any(not worker.queues or queue in worker.queues for worker in self.alive)


def gather(jobs: Sequence[Job], *, using: str) -> Facts:
    now, claimable = _moment_and_claimable(jobs, using)
    facts = Facts(now=now)
    unfinished = [job for job in jobs if not job.is_finished]
    idle = [job for job in unfinished if job.status != JobStatus.RUNNING]
    if unfinished or any(job.processing_token for job in jobs):
        facts.workers = _workers(jobs, now - conf.get().LEASE, using)
    if idle:
        names = {job.queue for job in idle}
        paused = Queue.objects.using(using).filter(paused=True, name__in=names)
        facts.paused = {queue.name: queue for queue in paused}
    facts.holders = _holders(idle, using)
    _add_waits(facts, [job for job in idle if job.status == JobStatus.WAITING], using)
    facts.ahead = _ahead([job for job in idle if job.pk in claimable], using)
    return facts


def _moment_and_claimable(jobs: Sequence[Job], using: str) -> tuple[datetime, set[int]]:
    """Return the database's time, and which of the jobs stand in the claim's way."""
    rows = Job.objects.using(using).filter(pk__in=[job.pk for job in jobs])
    found = list(rows.values_list("pk", "claim_rank", DatabaseNow()))
    now = found[0][2] if found else timezone.now()
    return now, {pk for pk, rank, _now in found if rank is not None}


def _workers(jobs: Iterable[Job], alive_since: datetime, using: str) -> dict[int, Worker]:
    """Return those that are alive, and those that have these jobs."""
    named = {job.worker_id for job in jobs if job.processing_token and job.worker_id}
    rows = Worker.objects.using(using).filter(
        Q(last_heartbeat_at__gte=alive_since) | Q(pk__in=named)
    )
    return {worker.pk: worker for worker in rows.order_by("-last_heartbeat_at")[:MOST_ROWS]}


def _holders(jobs: Iterable[Job], using: str) -> dict[str, tuple[int, int]]:
    keys = {job.concurrency_key for job in jobs if job.concurrency_limit is not None}
    if not keys:
        return {}
    held = Job.objects.using(using).filter(held_key__in=keys).order_by().values("held_key")
    rows = held.annotate(number=Count("pk"), first=Min("pk"))
    return {key: (number, first) for key, number, first in rows.values_list(
        "held_key", "number", "first"
    )}  # fmt: skip


def _add_waits(facts: Facts, jobs: Collection[Job], using: str) -> None:
    if not jobs:
        return
    ids = [job.pk for job in jobs]
    left = Q(child__isnull=True) | Q(child__status__in=UNFINISHED)
    waits = Wait.objects.using(using).filter(left, job__in=ids).order_by("job", "id")
    events, children = defaultdict(list), defaultdict(list)
    for job, event, child in waits.values_list("job", "event", "child")[:MOST_ROWS]:
        if event is not None:
            events[job].append(event)
        if child is not None:
            children[job].append(child)
    facts.events, facts.children = dict(events), dict(children)
    if events:
        facts.timeouts = _timeouts(events, using)


def _timeouts(jobs: Collection[int], using: str) -> dict[tuple[int, str], datetime]:
    steps = TaskStatus.objects.using(using).filter(
        job__in=jobs, task_slug=EVENT_SLUG, complete=False
    )
    found = {}
    for job, input in steps.values_list("job", "input")[:MOST_ROWS]:
        until = parse_datetime((input or {}).get("until") or "")
        if until is not None:
            found[job, input["name"]] = until
    return found


def _ahead(jobs: Iterable[Job], using: str) -> dict[int, int]:
    """Count for some queues, where the usual order is in force, who is ahead of these jobs."""
    lines = defaultdict(list)
    for job in jobs:
        lines[job.queue].append(job.pk)
    found: dict[int, int] = {}
    for queue in [name for name in lines if not concurrency.order_of(name)][:MOST_QUEUES]:
        line = Job.objects.using(using).filter(queue=queue, claim_rank__isnull=False)
        first = line.order_by(*USUAL_ORDER).values_list("pk", flat=True)[: MOST_AHEAD + 1]
        places = {pk: place for place, pk in enumerate(first)}
        found |= {pk: places.get(pk, MOST_AHEAD + 1) for pk in lines[queue]}
    return found
