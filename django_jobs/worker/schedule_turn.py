"""One look at one schedule: whether it is due, and what is to be done then."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.conf import settings as django_settings
from django.db import InterfaceError, OperationalError, transaction

from django_jobs.exceptions import JobsError
from django_jobs.models import Job, JobQuerySet, JobSchedule, ScheduleRun
from django_jobs.queue.json import printable
from django_jobs.queue.transient import retried
from django_jobs.tasks.enqueue import Options, enqueue
from django_jobs.tasks.schedule import (
    EnqueueSchedule,
    Schedule,
    SkipSchedule,
    cron_problems,
    latest_time,
    next_time,
    times_between,
    zone_problems,
)
from django_jobs.tasks.task import Declaration

logger = logging.getLogger("django_jobs.schedules")

# How many missed times are made up in one go; the rest follows with the next.
MOST_MADE_UP = 100
# Until when a schedule rests that cannot be reckoned, unless it is changed.
REST = timedelta(days=1)
# How many due times of a schedule stay on record.
REMEMBERED = 1000


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
    # The scheduled jobs of this slug and queue that were not finished before.
    active_jobs: list[Job]
    job: Job | None = None


def sentence(error: object) -> str:
    """Return text that fits the column of a reason."""
    return printable(str(error) or type(error).__name__)[:255]


@dataclass(slots=True)
class Turn:
    """One look at one schedule."""

    row: JobSchedule
    declaration: Declaration[Any, Any]
    # None for one that an admin made.
    schedule: Schedule | None
    now: datetime
    result: ScheduleResult
    using: str

    @property
    def zone(self) -> str:
        return self.row.timezone or django_settings.TIME_ZONE

    @property
    def plan(self) -> str:
        """What the next time is reckoned with."""
        return f"{self.row.cron}|{self.zone}"

    @property
    def catches_up(self) -> bool:
        return self.schedule is not None and self.schedule.catch_up

    def handle(self) -> None:
        due_at = self.row.next_run_at
        is_new = due_at is None or self.row.planned_with != self.plan
        if not is_new and due_at is not None and due_at > self.now:
            return
        if problems := [*cron_problems(self.row.cron), *zone_problems(self.zone)]:
            self._rest(problems)
        elif is_new or not self.row.enabled:
            # Neither a pause nor the time before a change is made up for.
            self.advance(self._next())
        else:
            self._fire()

    def _rest(self, problems: list[str]) -> None:
        if self.advance(self.now + REST):
            logger.error("The schedule of %s cannot be used: %s", self.row.slug, *problems[:1])
        self.result.errored.append((self.row.slug, sentence(" ".join(problems))))

    def _next(self) -> datetime:
        return next_time(self.now, cron=self.row.cron, zone=self.zone)

    def advance(self, following: datetime, **values: Any) -> bool:
        """Set the next time; return False where another process has done so."""
        same = JobSchedule.objects.using(self.using).filter(
            pk=self.row.pk, next_run_at=self.row.next_run_at
        )
        return bool(same.update(next_run_at=following, planned_with=self.plan, **values))

    def _fire(self) -> None:
        """Enqueue for each time that is due; after an outage for the last one, or for all."""
        for due, following in pairwise(self._due_times()):
            if not self._see_to(due, following):
                return
            self.row.next_run_at = following

    def _due_times(self) -> list[datetime]:
        """Return the times to see to, and the one after them."""
        first = self.row.next_run_at or self.now
        if not self.catches_up:
            last = latest_time(self.now, cron=self.row.cron, zone=self.zone)
            return [max(first, last), self._next()]
        later = times_between(
            first, self.now, cron=self.row.cron, zone=self.zone, limit=MOST_MADE_UP
        )
        return [first, *later] if len(later) == MOST_MADE_UP else [first, *later, self._next()]

    def _see_to(self, due: datetime, following: datetime) -> bool:
        """Do what is to be done at one due time; return False where another process does."""
        context = self._context(due)
        try:
            decision = _checked(self._decide(context))
            outcome = _take(self, due, following, decision, using=self.using)
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            return self._fail(due, following, error)
        if outcome is None:
            return False
        self._report(outcome, context)
        return True

    def _context(self, due: datetime) -> ScheduleContext:
        # The default policy asks for less.
        active = list(self._active()) if self._has_hooks else []
        return ScheduleContext(
            schedule=self.row, slug=self.row.slug, queue=self.row.queue, due=due,
            active_jobs=active,
        )  # fmt: skip

    @property
    def _has_hooks(self) -> bool:
        schedule = self.schedule
        return bool(schedule and (schedule.before_schedule or schedule.after_schedule))

    def _active(self) -> JobQuerySet:
        jobs: JobQuerySet = Job.objects.using(self.using).unfinished()
        return jobs.filter(slug=self.row.slug, queue=self.row.queue, meta__scheduled=True)

    def _decide(self, context: ScheduleContext) -> object:
        """Ask the schedule's own function; by default there is one job of it at a time."""
        if self.schedule is not None and self.schedule.before_schedule is not None:
            decision = self.schedule.before_schedule(context)
            if decision is not None:
                return decision
        if not self.catches_up and self._active().exists():
            return SkipSchedule("The job before it is not finished.")
        return EnqueueSchedule()

    def _fail(self, due: datetime, following: datetime, error: Exception) -> bool:
        """Note that a due time came to nothing; it is not tried again."""
        outcome = _take(self, due, following, SkipSchedule(sentence(error)), using=self.using)
        if outcome is None:
            return False
        unexpected = None if isinstance(error, JobsError) else error
        logger.error(
            "The schedule of %s failed: %s", self.row.slug, sentence(error), exc_info=unexpected
        )
        self.result.errored.append((self.row.slug, outcome.reason))
        return True

    def _report(self, outcome: _Outcome, context: ScheduleContext) -> None:
        if outcome.job is not None:
            self.result.queued.append(outcome.job)
            self._call_after(replace(context, job=outcome.job))
        elif outcome.reason:
            self.result.skipped.append((self.row.slug, outcome.reason))

    def _call_after(self, context: ScheduleContext) -> None:
        if self.schedule is None or self.schedule.after_schedule is None:
            return
        try:
            self.schedule.after_schedule(context)
        except Exception:
            logger.exception("The after_schedule of %s raised", context.slug)


def _checked(decision: object) -> SkipSchedule | EnqueueSchedule:
    """Return what `before_schedule` decided; the bare classes will do, too."""
    if decision is SkipSchedule or decision is EnqueueSchedule:
        decision = decision()
    if not isinstance(decision, SkipSchedule | EnqueueSchedule):
        raise TypeError(
            "before_schedule must return SkipSchedule(), EnqueueSchedule() or None, "
            f"not {type(decision).__name__}."
        )
    return decision


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The job, or why there is none; neither where the due time was seen to before."""

    job: Job | None = None
    reason: str = ""


@retried
def _take(
    turn: Turn, due: datetime, following: datetime, decision: SkipSchedule | EnqueueSchedule, *,
    using: str,
) -> _Outcome | None:  # fmt: skip
    """Take a due time and do what was decided; return None where another process has.

    The update lets one of those that come at the same moment through, and the constraint on
    the runs keeps a time from being seen to twice for whatever other reason.
    """
    values = {"last_run_at": due} if isinstance(decision, EnqueueSchedule) else {}
    runs = ScheduleRun.objects.using(using)
    with transaction.atomic(using=using):
        if not turn.advance(following, **values):
            return None
        run, is_new = runs.get_or_create(schedule=turn.row, due_at=due)
        if not is_new:
            return _Outcome()
        outcome = _carry_out(turn, due, decision)
        runs.filter(pk=run.pk).update(job=outcome.job, reason=outcome.reason)
        _forget_old_runs(run, using)
    return outcome


def _carry_out(turn: Turn, due: datetime, decision: SkipSchedule | EnqueueSchedule) -> _Outcome:
    if isinstance(decision, SkipSchedule):
        return _Outcome(reason=sentence(decision.reason))
    options = Options().merged(
        queue=turn.row.queue, meta={"scheduled": True}, wait_until=decision.wait_until or due
    )
    input = turn.row.input if decision.input is None else decision.input
    job = enqueue([(turn.declaration, input, options)])[0]
    if job.was_duplicate:
        return _Outcome(reason="A job with the same unique key is not finished.")
    return _Outcome(job=job)


def _forget_old_runs(run: ScheduleRun, using: str) -> None:
    """Keep the record short; now and then is often enough."""
    if run.pk % 100:
        return
    runs = ScheduleRun.objects.using(using).filter(schedule=run.schedule_id)
    newest_first = runs.order_by("-due_at").values_list("due_at", flat=True)
    for due_at in newest_first[REMEMBERED : REMEMBERED + 1]:
        runs.filter(due_at__lte=due_at).delete()
