"""Enqueue what schedules say, each due time once, whoever and however many do it."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from django_jobs import conf
from django_jobs.models import Job, JobSchedule
from django_jobs.tasks import registry
from django_jobs.tasks.enqueue import Options, enqueue
from django_jobs.worker.declared_schedules import schedule_of, synchronise
from django_jobs.worker.schedule_turn import ScheduleContext, ScheduleResult, Turn, sentence

__all__ = [
    "ScheduleContext", "ScheduleResult", "handle_schedules", "pause", "resume", "run_now",
    "seconds_to_next",
]  # fmt: skip

logger = logging.getLogger("django_jobs.schedules")

# How soon is looked again at what is due, but could not be seen to.
LOOK_AGAIN_SECONDS = 1.0


def handle_schedules(*, queue: str | None = None, using: str) -> ScheduleResult:
    """Enqueue what is due, of one queue or of all.

    A schedule that is seen for the first time gets its row and enqueues nothing.
    """
    result = ScheduleResult()
    if not conf.get().SCHEDULING:
        return result
    now = timezone.now()
    for row in synchronise(using=using):
        if queue not in (None, row.queue):
            continue
        try:
            if turn := _turn(row, now, result, using):
                turn.handle()
        except Exception as error:
            # Left due, and tried again.
            logger.exception("The schedule %s of %s could not be handled", row.cron, row.slug)
            result.errored.append((row.slug, sentence(error)))
    return result


def seconds_to_next(*, using: str) -> float:
    """Return how long no schedule is due; a minute at the most."""
    rows = JobSchedule.objects.using(using).filter(enabled=True, next_run_at__isnull=False)
    first = rows.order_by("next_run_at").values_list("next_run_at", flat=True).first()
    if first is None:
        return 60.0
    left: float = (first - timezone.now()).total_seconds()
    # Overdue is what nobody here can see to, such as a schedule whose task is gone.
    return min(left, 60.0) if left > 0 else LOOK_AGAIN_SECONDS


def run_now(row: JobSchedule, *, using: str) -> Job:
    """Enqueue the job of a schedule at once; its times stay as they are.

    Raises UnknownTaskError, InvalidInputError.
    """
    row = JobSchedule.objects.using(using).get(pk=row.pk)
    options = Options().merged(queue=row.queue, meta={"scheduled": True})
    return enqueue([(registry.get(row.slug), row.input, options)])[0]


def pause(rows: QuerySet[JobSchedule]) -> int:
    """Let schedules enqueue nothing until they are resumed; return how many were not paused."""
    return rows.filter(enabled=True).update(enabled=False)


def resume(rows: QuerySet[JobSchedule]) -> int:
    """Undo the pause of schedules, without making up for it; return how many were paused."""
    return rows.filter(enabled=False).update(enabled=True, next_run_at=None)


def _turn(row: JobSchedule, now: datetime, result: ScheduleResult, using: str) -> Turn | None:
    """Return the turn of a schedule; None where its task or its declaration is gone."""
    declaration = registry.find(row.slug)
    if declaration is None:
        return None
    schedule = schedule_of(row, declaration)
    if row.is_declared and schedule is None:
        return None
    return Turn(row, declaration, schedule, now, result, using)
