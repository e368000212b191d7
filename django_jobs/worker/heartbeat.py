"""Keep the leases of running jobs from running out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from datetime import timedelta

from django.db import DatabaseError, InterfaceError, connections

from django_jobs.fields import DatabaseNow
from django_jobs.models import Job
from django_jobs.worker.membership import Membership

logger = logging.getLogger("django_jobs.heartbeat")


class Heartbeat:
    """Renews the leases of its jobs from a thread of its own, one statement for all of them."""

    def __init__(self, using: str, lease: timedelta, membership: Membership | None = None) -> None:
        self.using = using
        self.lease = lease
        self.membership = membership
        self._jobs: dict[int, Job] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs-heartbeat", daemon=True)

    def add(self, jobs: Iterable[Job]) -> None:
        with self._lock:
            self._jobs.update((job.pk, job) for job in jobs)

    def remove(self, job: Job) -> None:
        with self._lock:
            self._jobs.pop(job.pk, None)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        try:
            while not self._stopped.wait(self.lease.total_seconds() / 3):
                self._beat()
        finally:
            connections[self.using].close()

    def _beat(self) -> None:
        try:
            renewed = self.renew()
            if self.membership is not None:
                self.membership.beat(renewed)
        except (DatabaseError, InterfaceError):
            logger.exception("The leases could not be renewed; it will be tried again")
            connections[self.using].close()

    def renew(self) -> int:
        """Renew the leases of the jobs that are still this worker's; return how many."""
        with self._lock:
            jobs = list(self._jobs.values())
        if not jobs:
            return 0
        rows = Job.objects.using(self.using).filter(
            pk__in=[job.pk for job in jobs],
            processing_token__in={job.processing_token for job in jobs},
        )
        return rows.update(processing_until=DatabaseNow() + self.lease)
