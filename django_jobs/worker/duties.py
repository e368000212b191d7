"""What every worker also does now and then. Nobody is elected: all may do it at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from django_jobs.models import Worker
from django_jobs.queue import rescue
from django_jobs.worker import identity

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
        self.action()


class Duties:
    """The duties of one worker process."""

    def __init__(self, using: str) -> None:
        self.using = using
        self._duties = [
            Duty(self.end_leases_of_dead_neighbours, timedelta(seconds=5)),
            Duty(self.take_over, timedelta(seconds=1)),
        ]

    def perform(self) -> None:
        """Do what is due."""
        for duty in self._duties:
            duty.perform_if_due()

    def take_over(self) -> None:
        taken_over = rescue.take_over(using=self.using)
        if taken_over:
            logger.warning("Took over %s jobs whose worker was lost", taken_over)

    def end_leases_of_dead_neighbours(self) -> None:
        """End the leases of workers of this machine whose process is gone."""
        own = identity.own()
        if not own.is_certain:
            return
        neighbours = Worker.objects.using(self.using).filter(
            boot_id=own.boot_id, pid_namespace=own.pid_namespace
        )
        for worker in neighbours:
            if identity.process_start(worker.pid) != worker.process_start:
                logger.warning("The worker %s is gone; its jobs run again", worker)
                rescue.end_leases(worker, using=self.using)
