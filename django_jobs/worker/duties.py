"""What every worker also does now and then. Nobody is elected: all may do it at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from django.utils import timezone

from django_jobs import conf
from django_jobs.fields import DatabaseNow
from django_jobs.models import Event, Job, ScheduleRun, Worker
from django_jobs.queue import concurrency, operate, rescue, throughput
from django_jobs.worker import identity, schedules
from django_jobs.worker.outage import DISCONNECTED

# Of finished jobs, so that a worker soon works again.
PRUNED_AT_ONCE = 2_000
# How long an event waits for a job to take it, and a due time that was seen to is remembered.
KEPT_FOR = timedelta(days=90)
# How soon a schedule that somebody changed is noticed, in seconds.
SCHEDULES_READ_EVERY = 15.0
# How soon every living worker has renewed its leases after an outage of the database.
LEASES_REGAINED_IN = 3.0

logger = logging.getLogger("django_jobs.duties")


@dataclass(slots=True)
class Duty:
    """Something to do every `interval`, first at once."""

    action: Callable[[], object]
    interval: timedelta
    due_at: float = field(default=0.0)

    def perform_if_due(self) -> None:
        if time.monotonic() < self.due_at:
            return
        self.due_at = time.monotonic() + self.interval.total_seconds()
        try:
            self.action()
        except DISCONNECTED:
            raise
        except Exception:
            # The others, and the jobs, must not suffer from it.
            logger.exception("A duty of the worker failed")


class Duties:
    """The duties of one worker process."""

    def __init__(self, using: str, *, scheduling: bool = True) -> None:
        self.using = using
        self._line: tuple[str, str] | None = None
        lease = conf.get().LEASE
        self._rescue = Duty(self.take_over, min(timedelta(seconds=10), lease / 6))
        self._scheduling = Duty(self.handle_schedules, timedelta(seconds=1))
        self._next_schedule_at = 0.0
        self._duties = [
            *([self._scheduling] if scheduling else []),
            Duty(self.end_leases_of_dead_neighbours, min(timedelta(seconds=5), lease / 3)),
            self._rescue,
            Duty(partial(throughput.flush, using=using), throughput.FLUSHED_EVERY),
            Duty(self.repair_lines, timedelta(seconds=30)),
            Duty(self.forget_silent_workers, timedelta(minutes=1)),
            Duty(self.prune, timedelta(minutes=1)),
            Duty(self.forget_what_is_old, timedelta(hours=1)),
        ]

    def perform(self) -> None:
        """Do what is due."""
        for duty in self._duties:
            duty.perform_if_due()

    def put_off_rescue(self) -> None:
        """Take no jobs over before their workers have had the time to renew their leases."""
        self._rescue.due_at = time.monotonic() + LEASES_REGAINED_IN

    def seconds_to_next_schedule(self) -> float:
        """Return how long the worker may rest without being late for a schedule."""
        if self._scheduling not in self._duties:
            return SCHEDULES_READ_EVERY
        # A duty that failed has its due time only.
        return max(max(self._next_schedule_at, self._scheduling.due_at) - time.monotonic(), 0.0)

    def handle_schedules(self) -> None:
        """Enqueue what is due, and rest until something is, or may have been changed.

        For the latter alone the worker does not get up.
        """
        result = schedules.handle_schedules(using=self.using)
        for job in result.queued:
            logger.info("Scheduled job %s %s", job.pk, job.slug)
        now, left = time.monotonic(), schedules.seconds_to_next(using=self.using)
        self._next_schedule_at = now + left
        self._scheduling.due_at = now + min(left, SCHEDULES_READ_EVERY)

    def take_over(self) -> None:
        taken_over = rescue.take_over(using=self.using)
        if taken_over:
            logger.warning("Took over %s jobs whose worker was lost", taken_over)

    def repair_lines(self) -> None:
        """Let jobs to the front that a crash left held back; some lines at a time."""
        self._line = concurrency.repair(using=self.using, after=self._line or ("", ""))

    def forget_silent_workers(self) -> None:
        """Delete the rows of workers whose leases are long over."""
        silent = DatabaseNow() - max(conf.get().LEASE * 5, timedelta(minutes=5))
        Worker.objects.using(self.using).filter(last_heartbeat_at__lt=silent).delete()

    def prune(self) -> None:
        """Delete a bounded number of the jobs that RETENTION lets go."""
        jobs = Job.objects.using(self.using).all()
        pruned = operate.prune(jobs, most=PRUNED_AT_ONCE)
        if pruned:
            logger.info("Pruned %s finished jobs", pruned)

    def forget_what_is_old(self) -> None:
        """Delete events, and notes on due times, that nobody can have a use for any more."""
        for model, moment in ((Event, "created_at"), (ScheduleRun, "due_at")):
            rows = model.objects.using(self.using)
            oldest = rows.order_by("pk").values_list("pk", flat=True)[:PRUNED_AT_ONCE]
            old = {f"{moment}__lt": timezone.now() - KEPT_FOR}
            rows.filter(pk__in=list(oldest), **old).delete()

    def end_leases_of_dead_neighbours(self) -> None:
        """End the leases of workers of this machine whose process is gone."""
        own = identity.own()
        if not own.is_certain:
            return
        neighbours = Worker.objects.using(self.using).filter(
            boot_id=own.boot_id, pid_namespace=own.pid_namespace
        )
        for worker in neighbours:
            if identity.is_gone(worker.pid, worker.process_start):
                logger.warning("The worker %s is gone; its jobs run again", worker)
                rescue.end_leases(worker, using=self.using)
                self._rescue.due_at = 0.0
