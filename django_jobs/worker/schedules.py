"""Enqueue what schedules say, each due time once, whoever and however many do it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings as django_settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from django_jobs import conf
from django_jobs.exceptions import JobsError
from django_jobs.models import Job, JobSchedule, ScheduleRun
from django_jobs.queue.json import printable
from django_jobs.tasks import registry
from django_jobs.tasks.enqueue import Options, enqueue
from django_jobs.tasks.schedule import (
    EnqueueSchedule,
    Schedule,
    SkipSchedule,
    latest_time,
    next_time,
    times_between,
)
from django_jobs.tasks.task import Declaration

logger = logging.getLogger("django_jobs.schedules")

# How many missed times are made up in one go; the rest follows with the next.
MOST_MADE_UP = 100
# Without a next time, so that a schedule that cannot be reckoned rests.
REST = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ScheduleResult:
    """What was enqueued, and the slug and reason of what was not."""

    queued: list[Job] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    errored: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleContext:
    """What `before_schedule` and `after_schedule` are given; `job` is for the latter."""

    schedule: JobSchedule
    slug: str
    queue: str
    due: datetime
    # The scheduled jobs of this slug and queue that are not finished.
    active_jobs: list[Job]
    job: Job | None = None


def handle_schedules(*, queue: str | None = None, using: str) -> ScheduleResult:
    """Enqueue what is due, of one queue or of all.

    A schedule that is seen for the first time gets its row and enqueues nothing.
    """
    result = ScheduleResult()
    if not conf.get().SCHEDULING:
        return result
    now = timezone.now()
    synchronise(using=using)
    rows = JobSchedule.objects.using(using).order_by("id")
    for row in rows if queue is None else rows.filter(queue=queue):
        try:
            _handle(row, now, result, using)
        except Exception as error:
            logger.exception("The schedule %s of %s could not be handled", row.cron, row.slug)
            result.errored.append((row.slug, _sentence(error)))
    return result


def _sentence(error: BaseException) -> str:
    return printable(str(error) or type(error).__name__, 255)


# What was last written of the declarations, by database: a process does it once, so that two
# versions of the code that run side by side do not change the rows back and forth.
_written: dict[str, object] = {}


def synchronise(*, using: str) -> None:
    """Write the declared schedules down, keeping what an admin paused or changed."""
    declared = dict(_declared())
    rows = {
        (row.slug, row.number): row
        for row in JobSchedule.objects.using(using).filter(number__isnull=False)
    }
    for key in declared.keys() - rows.keys():
        _create(key, declared[key], using)
    if _written.get(using) == declared:
        return
    for key, row in rows.items():
        if key in declared:
            _update(row, declared[key], using)
        elif registry.find(row.slug) is not None:
            row.delete()
    _written[using] = declared


@dataclass(frozen=True, slots=True)
class _Declared:
    cron: str
    queue: str
    timezone: str
    input: str

    values: Mapping[str, Any] = field(compare=False)


def _declared() -> Iterator[tuple[tuple[str, int | None], _Declared]]:
    for declaration in registry.every():
        for number, schedule in enumerate(declaration.schedule):
            if not schedule.problems():
                yield (declaration.slug, number), _as_row(declaration, schedule)


def _as_row(declaration: Declaration[Any, Any], schedule: Schedule) -> _Declared:
    queue = schedule.queue or declaration.queue
    values = {
        "cron": schedule.cron, "declared_cron": schedule.cron, "queue": queue,
        "timezone": schedule.timezone or "", "input": dict(schedule.input or {}),
    }  # fmt: skip
    return _Declared(schedule.cron, queue, schedule.timezone or "", repr(schedule.input), values)


def _create(key: tuple[str, int | None], declared: _Declared, using: str) -> None:
    slug, number = key
    JobSchedule.objects.using(using).get_or_create(
        slug=slug, number=number, defaults=dict(declared.values)
    )


def _update(row: JobSchedule, declared: _Declared, using: str) -> None:
    values = dict(declared.values)
    if row.is_overridden:
        del values["cron"]
    JobSchedule.objects.using(using).filter(pk=row.pk).update(**values)


def _handle(row: JobSchedule, now: datetime, result: ScheduleResult, using: str) -> None:
    declaration = registry.find(row.slug)
    schedule = _schedule_of(row, declaration)
    if declaration is None or (row.is_declared and schedule is None):
        return
    if row.next_run_at is None or row.planned_with != _plan(row):
        _advance(row, now, None, using)
    elif row.next_run_at <= now:
        if row.enabled:
            _fire(row, declaration, schedule, now, result, using)
        else:
            # A pause is not made up for.
            _advance(row, now, None, using)


def _schedule_of(row: JobSchedule, declaration: Declaration[Any, Any] | None) -> Schedule | None:
    if declaration is None or row.number is None or row.number >= len(declaration.schedule):
        return None
    return declaration.schedule[row.number]


def _zone(row: JobSchedule) -> str:
    return row.timezone or django_settings.TIME_ZONE


def _plan(row: JobSchedule) -> str:
    return f"{row.cron}|{_zone(row)}"


def _advance(row: JobSchedule, now: datetime, last: datetime | None, using: str) -> bool:
    """Set the next time after `now`; return False where another process has done so."""
    values: dict[str, Any] = {
        "next_run_at": _next(row, now), "planned_with": _plan(row),
    }  # fmt: skip
    if last is not None:
        values["last_run_at"] = last
    same = JobSchedule.objects.using(using).filter(pk=row.pk, next_run_at=row.next_run_at)
    return bool(same.update(**values))


def _next(row: JobSchedule, after: datetime) -> datetime:
    try:
        return next_time(after, cron=row.cron, zone=_zone(row))
    except Exception:
        logger.exception("The schedule %r of %s cannot be reckoned", row.cron, row.slug)
        return after + REST


def _fire(
    row: JobSchedule, declaration: Declaration[Any, Any], schedule: Schedule | None,
    now: datetime, result: ScheduleResult, using: str,
) -> None:  # fmt: skip
    """Enqueue for each time that is due; after an outage for the last one, or for all."""
    catch_up = schedule is not None and schedule.catch_up
    due = _due_times(row, now, catch_up)
    for time in due:
        _fire_once(row, declaration, schedule, time, result, using)
    # Reckoned from the last time seen to, or times beyond the bound would be left out.
    _advance(row, due[-1] if catch_up and len(due) > MOST_MADE_UP else now, due[-1], using)


def _due_times(row: JobSchedule, now: datetime, catch_up: bool) -> list[datetime]:
    first = row.next_run_at or now
    if not catch_up:
        last = latest_time(now, cron=row.cron, zone=_zone(row))
        return [max(first, last)]
    later = times_between(first, now, cron=row.cron, zone=_zone(row), limit=MOST_MADE_UP)
    return [first, *later]


def _fire_once(
    row: JobSchedule, declaration: Declaration[Any, Any], schedule: Schedule | None,
    due: datetime, result: ScheduleResult, using: str,
) -> None:  # fmt: skip
    context = _context(row, due, using)
    try:
        decision = _decide(context, schedule)
        with transaction.atomic(using=using):
            run = ScheduleRun.objects.using(using).create(schedule=row, due_at=due)
            if isinstance(decision, SkipSchedule):
                _note(run, None, decision.reason, using)
            else:
                job = _enqueue(row, declaration, due, decision)
                _note(run, job, "", using)
    except IntegrityError:
        # Another process sees to this due time.
        return
    except Exception as error:
        _fail(row, due, error, result, using)
        return
    if isinstance(decision, SkipSchedule):
        result.skipped.append((row.slug, decision.reason))
        return
    result.queued.append(job)
    _call_after(context, schedule, job)


def _context(row: JobSchedule, due: datetime, using: str) -> ScheduleContext:
    active = (
        Job.objects.using(using)
        .unfinished()
        .filter(Q(slug=row.slug, queue=row.queue, meta__scheduled=True))
    )
    return ScheduleContext(
        schedule=row, slug=row.slug, queue=row.queue, due=due, active_jobs=list(active)
    )


def _decide(context: ScheduleContext, schedule: Schedule | None) -> SkipSchedule | EnqueueSchedule:
    """Ask the schedule's own function; by default there is one job of it at a time."""
    decision = None
    if schedule is not None and schedule.before_schedule is not None:
        decision = schedule.before_schedule(context)
    if decision is not None:
        return decision
    if context.active_jobs and not (schedule is not None and schedule.catch_up):
        return SkipSchedule("The job before it is not finished.")
    return EnqueueSchedule()


def _enqueue(
    row: JobSchedule, declaration: Declaration[Any, Any], due: datetime,
    decision: EnqueueSchedule,
) -> Job:  # fmt: skip
    options = Options(
        queue=row.queue, meta={"scheduled": True}, wait_until=decision.wait_until or due
    )
    input = row.input if decision.input is None else decision.input
    return enqueue([(declaration, input, options)])[0]


def _note(run: ScheduleRun, job: Job | None, reason: str, using: str) -> None:
    ScheduleRun.objects.using(using).filter(pk=run.pk).update(job=job, reason=reason[:255])


def _fail(
    row: JobSchedule, due: datetime, error: Exception, result: ScheduleResult, using: str
) -> None:
    """Note that a due time came to nothing; it is not tried again."""
    if not isinstance(error, JobsError):
        logger.error("The schedule of %s raised", row.slug, exc_info=error)
    reason = _sentence(error)
    ScheduleRun.objects.using(using).get_or_create(
        schedule=row, due_at=due, defaults={"reason": reason}
    )
    result.errored.append((row.slug, reason))


def _call_after(context: ScheduleContext, schedule: Schedule | None, job: Job) -> None:
    if schedule is None or schedule.after_schedule is None:
        return
    after = ScheduleContext(
        schedule=context.schedule, slug=context.slug, queue=context.queue, due=context.due,
        active_jobs=context.active_jobs, job=job,
    )  # fmt: skip
    try:
        schedule.after_schedule(after)
    except Exception:
        logger.exception("The after_schedule of %s raised", context.slug)


def seconds_to_next(*, using: str) -> float:
    """Return how long no schedule is due; a minute at the most."""
    rows = JobSchedule.objects.using(using).filter(enabled=True, next_run_at__isnull=False)
    first = rows.order_by("next_run_at").values_list("next_run_at", flat=True).first()
    if first is None:
        return 60.0
    left: float = (first - timezone.now()).total_seconds()
    return min(max(left, 0.0), 60.0)
