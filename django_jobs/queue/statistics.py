"""Numbers about queues, from bounded queries only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from django.db.models import Count

from django_jobs import conf
from django_jobs.fields import DatabaseNow
from django_jobs.models import Job, JobStatus, Worker

# How many rows are looked at, where no index answers.
SAMPLE = 2_000
# How many ready jobs are looked at for the oldest, in the order in which they are claimed.
READY_SAMPLE = 10_000


def workers_alive(*, using: str) -> int:
    """Count the workers whose heartbeat is not overdue."""
    recent = DatabaseNow() - conf.get().LEASE
    return Worker.objects.using(using).filter(last_heartbeat_at__gte=recent).count()


def oldest_ready_seconds(*, using: str) -> float | None:
    """Return for how long the oldest ready job has been due; None where there is none."""
    ready = Job.objects.using(using).filter(claim_rank__isnull=False)
    rows = ready.order_by("claim_rank", "due_at", "id")
    found = list(rows.values_list("due_at", DatabaseNow())[:READY_SAMPLE])
    if not found:
        return None
    oldest = min(due_at for due_at, _now in found)
    return _seconds(found[0][1] - oldest)


@dataclass(slots=True)
class Recent:
    """How long recent jobs waited and ran, in seconds, by queue."""

    waits: dict[str, list[float]] = field(default_factory=dict)
    runs: dict[str, list[float]] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], int] = field(default_factory=dict)


def recent(*, using: str) -> Recent:
    """Look at the newest jobs."""
    table = Recent()
    rows = (
        Job.objects.using(using)
        .order_by("-id")
        .values_list("queue", "status", "due_at", "started_at", "completed_at")
    )
    for queue, status, due_at, started_at, completed_at in rows[:SAMPLE]:
        if started_at is None or completed_at is None:
            continue
        key = (queue, status)
        table.outcomes[key] = table.outcomes.get(key, 0) + 1
        table.waits.setdefault(queue, []).append(_seconds(started_at - due_at))
        table.runs.setdefault(queue, []).append(_seconds(completed_at - started_at))
    return table


def _seconds(duration: timedelta) -> float:
    return max(duration.total_seconds(), 0.0)


def unfinished(*, using: str) -> dict[tuple[str, str], int]:
    """Count the jobs that are not finished, by queue and state; each by a partial index."""
    jobs = Job.objects.using(using)
    states = {
        "ready": jobs.filter(claim_rank__isnull=False),
        "delayed": jobs.filter(wake_at__isnull=False, status=JobStatus.READY),
        "waiting": jobs.filter(wake_at__isnull=False, status=JobStatus.WAITING),
        "held": jobs.filter(line_key__isnull=False, line_rank__isnull=False),
        "running": jobs.filter(processing_until__isnull=False, status=JobStatus.RUNNING),
    }
    return {
        (queue, state): count
        for state, rows in states.items()
        for queue, count in rows.values_list("queue").annotate(Count("pk")).order_by()
    }
