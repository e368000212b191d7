"""The worker: claim, hand to the threads, renew, stop."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from django.db import connections
from django.db.models import Q

from django_jobs import conf
from django_jobs.models import Job, JobStatus
from django_jobs.queue.claim import Selection, claim
from django_jobs.queue.lifecycle import give_back
from django_jobs.queue.record import Report, record
from django_jobs.worker.calling import tidy_connections
from django_jobs.worker.duties import Duties
from django_jobs.worker.executor import aexecute, execute, runs_on_event_loop
from django_jobs.worker.heartbeat import Heartbeat
from django_jobs.worker.membership import Membership
from django_jobs.worker.pool import Pool
from django_jobs.worker.recorder import BatchRecorder
from django_jobs.worker.runner import load_statuses
from django_jobs.worker.runtime import Runtime

logger = logging.getLogger("django_jobs.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a worker works. No queues means all of them."""

    queues: tuple[str, ...] | None = ("default",)
    concurrency: int = 10
    # How many jobs are claimed at once, at the most.
    limit: int = 100
    # Exit when nothing is due.
    once: bool = False
    # Exit when no job is left that is due, running or to be retried.
    until_empty: bool = False
    poll_interval: timedelta | None = None
    shutdown_timeout: timedelta = timedelta(seconds=30)
    max_jobs: int | None = None


class Worker:
    """A process that runs jobs until it is stopped or has nothing left to do."""

    def __init__(self, options: Options, *, using: str) -> None:
        settings = conf.get()
        self.options = options
        self.using = using
        self.poll_interval = options.poll_interval or settings.POLL_INTERVAL
        self.membership = Membership(options.queues, using)
        self.heartbeat = Heartbeat(using, settings.LEASE, self.membership)
        self.duties = Duties(using)
        self.recorder = BatchRecorder(using)
        self.runtime = Runtime(using, self.recorder, inline=False)
        self.pool = Pool(options.concurrency)
        self.jobs_run = 0
        self._running: dict[int, Job] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._at_once = False
        self._closed = False

    def stop(self, *, at_once: bool = False) -> None:
        """Claim nothing more; let the running jobs end, or give them back `at_once`."""
        self._at_once = self._at_once or at_once
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        recording = threading.Thread(target=self._record, name="jobs-recorder", daemon=True)
        self.membership.join()
        self.heartbeat.start()
        recording.start()
        try:
            self._work()
            self._drain()
        finally:
            self._close(recording)

    def _record(self) -> None:
        try:
            self.recorder.serve(until=lambda: self._closed)
        finally:
            connections[self.using].close()

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            self.duties.perform()
            claimed = self._claim()
            if not claimed and self._is_done():
                break
            if not claimed:
                self._pause()

    def _pause(self) -> None:
        """Wait for something to happen; not in step with other workers."""
        self._wake.wait(self.poll_interval.total_seconds() * random.uniform(0.8, 1.2))

    def _claim(self) -> bool:
        """Claim as many jobs as there is room for, and start them; return whether any."""
        room = self._room()
        if room < 1:
            return False
        jobs = claim(self._selection(), min(room, self.options.limit), using=self.using)
        if not jobs:
            return False
        with self._lock:
            self._running.update((job.pk, job) for job in jobs)
        self.heartbeat.add(jobs)
        self._start(jobs)
        return True

    def _room(self) -> int:
        room = self.options.concurrency - len(self._running)
        if self.options.max_jobs is None:
            return room
        return min(room, self.options.max_jobs - self.jobs_run - len(self._running))

    def _selection(self) -> Selection:
        return Selection(
            queues=self.options.queues, lease=conf.get().LEASE, worker_id=self.membership.id
        )

    def _start(self, jobs: Sequence[Job]) -> None:
        statuses = load_statuses(jobs, self.using)
        for job in jobs:
            steps = statuses.get(job.pk, {})
            if runs_on_event_loop(job):
                done = self.runtime.spawn(aexecute(job, self.runtime, steps))
                done.add_done_callback(partial(self._finish_on_loop, job))
            else:
                self.pool.submit(partial(self._run_in_pool, job, steps))

    def _run_in_pool(self, job: Job, statuses: object) -> None:
        try:
            execute(job, self.runtime, statuses)  # type: ignore[arg-type]
        except BaseException:
            logger.exception("Job %s could not be run to its end", job.pk)
        finally:
            tidy_connections()
            self._finish(job)

    def _finish_on_loop(self, job: Job, done: object) -> None:
        try:
            done.result()  # type: ignore[attr-defined]
        except BaseException:
            logger.exception("Job %s could not be run to its end", job.pk)
        finally:
            self._finish(job)

    def _finish(self, job: Job) -> None:
        self.heartbeat.remove(job)
        with self._lock:
            if self._running.pop(job.pk, None) is not None:
                self.jobs_run += 1
        self._wake.set()

    def _is_done(self) -> bool:
        options = self.options
        if options.max_jobs is not None and self.jobs_run >= options.max_jobs:
            return True
        if self._running or not (options.once or options.until_empty):
            return False
        return options.once or not self._something_is_left()

    def _something_is_left(self) -> bool:
        """Whether a job is due, runs somewhere, or will be retried."""
        unfinished = Job.objects.using(self.using).unfinished()
        if self.options.queues is not None:
            unfinished = unfinished.filter(queue__in=self.options.queues)
        begun = Q(status=JobStatus.RUNNING) | Q(total_tried__gt=0) | Q(crashes__gt=0)
        due = Q(claim_rank__isnull=False) | Q(line_rank__isnull=False)
        return unfinished.filter(begun | due).exists()

    def _drain(self) -> None:
        """Wait for what runs, until the shutdown timeout; then give it back."""
        ends_at = time.monotonic() + self.options.shutdown_timeout.total_seconds()
        if self._running:
            logger.info("Stopping; %s jobs are still running", len(self._running))
        while self._running and not self._at_once:
            self._wake.clear()
            left = ends_at - time.monotonic()
            if left <= 0:
                break
            self._wake.wait(min(left, 0.5))

    def _close(self, recording: threading.Thread) -> None:
        with self._lock:
            unfinished = list(self._running.values())
        if unfinished:
            logger.warning("Giving %s running jobs back", len(unfinished))
            record([Report(job=job, change=give_back()) for job in unfinished], using=self.using)
        self.pool.close()
        self._closed = True
        self.recorder.wake()
        recording.join()
        self.heartbeat.stop()
        self.membership.leave()
