"""Numbers about queues, from bounded queries only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.db.models import Count

from django_jobs import conf
from django_jobs.fields import DatabaseNow
from django_jobs.models import ALL_QUEUES, Job, JobLog, JobStatus, Wait, Worker

# How many rows are looked at, where no index answers.
SAMPLE = 2_000


def workers_alive(*, using: str) -> int:
    """Count the workers whose heartbeat is not overdue."""
    recent = DatabaseNow() - conf.get().LEASE
    return Worker.objects.using(using).filter(last_heartbeat_at__gte=recent).count()


def oldest_ready_seconds(*, using: str) -> float | None:
    """Return for how long the oldest ready job has been due; None where there is none.

    The index has them by priority: its first of each is looked up, of 201 at the most.
    """
    ready = Job.objects.using(using).filter(ALL_QUEUES, claim_rank__isnull=False)
    in_order = ready.order_by("claim_rank", "due_at", "id")
    ages, rows = [], in_order
    while found := rows.values_list("claim_rank", "due_at", DatabaseNow()).first():
        rank, due_at, now = found
        ages.append(_seconds(now - due_at))
        rows = in_order.filter(claim_rank__gt=rank)
    return max(ages, default=None)


@dataclass(slots=True)
class Recent:
    """How long recent jobs waited and ran, in seconds, by queue."""

    waits: dict[str, list[float]] = field(default_factory=dict)
    runs: dict[str, list[float]] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], int] = field(default_factory=dict)


def recent(*, using: str) -> Recent:
    """Look at the jobs of the newest entries of the log: the newest jobs may not have run yet."""
    table = Recent()
    fields = ("queue", "status", "wait_until", "created_at", "started_at", "completed_at")
    entries = JobLog.objects.using(using).order_by("-id")
    rows = entries.values_list("job_id", *(f"job__{name}" for name in fields))[:SAMPLE]
    once = {job: values for job, *values in rows}
    for queue, status, wait_until, created_at, started_at, completed_at in once.values():
        if started_at is None or completed_at is None:
            continue
        key = (queue, status)
        table.outcomes[key] = table.outcomes.get(key, 0) + 1
        table.waits.setdefault(queue, []).append(_seconds(started_at - (wait_until or created_at)))
        table.runs.setdefault(queue, []).append(_seconds(completed_at - started_at))
    return table


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of them does not exceed; there must be one."""
    in_order = sorted(values)
    return in_order[max(math.ceil(share * len(in_order)) - 1, 0)]


def _seconds(duration: timedelta) -> float:
    return max(duration.total_seconds(), 0.0)


def unfinished(*, using: str) -> dict[tuple[str, str], int]:
    """Count the jobs that are not finished, by queue and state; each by a partial index."""
    jobs = Job.objects.using(using)
    waiting = jobs.filter(status=JobStatus.WAITING)
    states = [
        ("ready", jobs.filter(claim_rank__isnull=False)),
        ("delayed", jobs.filter(wake_at__isnull=False, status=JobStatus.READY)),
        ("waiting", waiting.filter(wake_at__isnull=False)),
        # Without a timeout, for an event or for children.
        ("waiting", waiting.filter(wake_at__isnull=True, pk__in=Wait.objects.values("job"))),
        ("held", jobs.filter(line_key__isnull=False, line_rank__isnull=False)),
        ("running", jobs.filter(processing_until__isnull=False, status=JobStatus.RUNNING)),
    ]
    counts: Counter[tuple[str, str]] = Counter()
    for state, rows in states:
        for queue, count in rows.values_list("queue").annotate(Count("pk")).order_by():
            counts[queue, state] += count
    return counts
