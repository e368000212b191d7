"""Keep the leases of running jobs, and notice which of them are not ours to run any more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import timedelta

from django.db import connections, transaction

from django_jobs.fields import DatabaseNow
from django_jobs.models import Job, JobStatus
from django_jobs.queue.rows import skip_locked
from django_jobs.worker.membership import Membership

logger = logging.getLogger("django_jobs.heartbeat")

RETRY_PAUSE = 1.0


class Heartbeat:
    """Renews the leases of its jobs from a thread of its own, one statement for all of them.

    `on_revoked` is called with each job that was cancelled or lost.
    """

    def __init__(
        self, using: str, lease: timedelta, membership: Membership | None = None,
        on_revoked: Callable[[Job], None] = lambda job: None,
    ) -> None:  # fmt: skip
        self.using = using
        self.interval = lease.total_seconds() / 3
        self.lease = lease
        self.membership = membership
        self.on_revoked = on_revoked
        self._jobs: dict[int, Job] = {}
        # Those of them of which that has been said.
        self._revoked: set[int] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs-heartbeat", daemon=True)

    def add(self, jobs: Iterable[Job]) -> None:
        with self._lock:
            self._jobs.update((job.id, job) for job in jobs)

    def remove(self, job: Job) -> None:
        with self._lock:
            if self._jobs.get(job.id) is job:
                del self._jobs[job.id]
                self._revoked.discard(job.id)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        pause = self.interval
        try:
            while not self._stopped.wait(pause):
                pause = self.interval if self._beat() else min(RETRY_PAUSE, self.interval)
        finally:
            connections[self.using].close()

    def _beat(self) -> bool:
        try:
            running = self.renew()
            if self.membership is not None:
                self.membership.beat(running)
        except Exception as error:
            # Whatever it is, leases that nobody renews would let living jobs run twice.
            logger.error("The leases could not be renewed, trying again: %s", error)
            connections[self.using].close()
            return False
        return True

    def renew(self) -> int:
        """Renew the leases of the jobs that are still this worker's; return how many it runs."""
        with self._lock:
            jobs = list(self._jobs.values())
        if not jobs:
            return 0
        rows = Job.objects.using(self.using).filter(
            pk__in=[job.pk for job in jobs],
            processing_token__in={job.processing_token for job in jobs},
        )
        with transaction.atomic(using=self.using):
            # An atomic handler may have locked its row, and nobody can take that over either.
            free = list(skip_locked(rows).values_list("pk", flat=True))
            held = Job.objects.using(self.using).filter(pk__in=free)
            held.update(processing_until=DatabaseNow() + self.lease)
        self._notice_revoked(jobs)
        return len(jobs)

    def _notice_revoked(self, jobs: list[Job]) -> None:
        rows = Job.objects.using(self.using).filter(
            pk__in=[job.pk for job in jobs], status=JobStatus.RUNNING
        )
        held = set(rows.values_list("pk", "processing_token"))
        for job in jobs:
            if (job.pk, job.processing_token) not in held and self._is_still_run(job):
                if job.pk not in self._revoked:
                    logger.warning(
                        "Job %s %s was cancelled, or lost to another worker", job.pk, job.slug
                    )
                self._revoked.add(job.pk)
                self.on_revoked(job)

    def _is_still_run(self, job: Job) -> bool:
        """Whether it is not simply done: its record clears the token, here too."""
        with self._lock:
            return self._jobs.get(job.pk) is job and job.processing_token is not None
