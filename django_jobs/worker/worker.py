"""The worker: claim, hand to the threads, renew, stop."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import MappingProxyType

from django.db import connections
from django.db.models import Q

from django_jobs import conf
from django_jobs.models import Job, JobStatus, Queue, TaskStatus
from django_jobs.queue import throughput
from django_jobs.queue.claim import Outlook, Selection, claim, look
from django_jobs.queue.lifecycle import give_back
from django_jobs.queue.notify import LONGEST_REST, is_supported
from django_jobs.queue.prepared import own_session
from django_jobs.queue.record import Report, record
from django_jobs.worker.attempt import StepKey
from django_jobs.worker.buffer import LONGEST_IN_BUFFER, Buffer
from django_jobs.worker.connections import tidy_connections
from django_jobs.worker.duties import Duties
from django_jobs.worker.executor import aexecute_ahead, execute_ahead, runs_on_event_loop
from django_jobs.worker.heartbeat import Heartbeat
from django_jobs.worker.held import HeldJobs
from django_jobs.worker.listener import Listener
from django_jobs.worker.membership import Membership
from django_jobs.worker.outage import DISCONNECTED, Outage, persist
from django_jobs.worker.pace import Pace
from django_jobs.worker.pool import Pool
from django_jobs.worker.recorder import BatchRecorder
from django_jobs.worker.runner import load_statuses
from django_jobs.worker.runtime import Runtime

NO_STEPS: Mapping[StepKey, TaskStatus] = MappingProxyType({})

logger = logging.getLogger("django_jobs.worker")

# How much less often is polled where notifications arrive: for what nobody notifies of.
POLLS_LEFT_OUT = 5
# How many claims may wait for threads, at the most.
CLAIMS_AHEAD = 5
# How long to leave alone what is due, and cannot be taken.
SHORTEST_REST = 0.1
# How long a job may wait for the thread before it while there are others; see Pool.
PATIENCE = 0.001
# How long the threads are left alone that begin with the last of what is due.
FIRST_STEPS = 0.01


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
    # Make one pass, of `limit` jobs at the most, at each tick of this cron expression.
    cron: str | None = None
    # Whether schedules are handled, too.
    schedules: bool = True
    poll_interval: timedelta | None = None
    shutdown_timeout: timedelta = timedelta(seconds=30)
    max_jobs: int | None = None
    # In bytes of resident memory.
    max_memory: int | None = None
    # The process to stop with, where one supervises this.
    supervisor_pid: int | None = None


class Worker:
    """A process that runs jobs until it is stopped or has nothing left to do."""

    def __init__(self, options: Options, *, using: str) -> None:
        settings = conf.get()
        self.options = options
        self.using = using
        self.poll_interval = options.poll_interval or settings.POLL_INTERVAL
        self.membership = Membership(options.queues, using)
        self.recorder = BatchRecorder(using)
        self.runtime = Runtime(using, self.recorder, inline=False)
        self.runtime.give_up = self._give_up
        self.heartbeat = Heartbeat(
            using, settings.LEASE, self.membership,
            on_revoked=lambda job: self.runtime.cancel_job(job.pk),
        )  # fmt: skip
        self.duties = Duties(using, scheduling=options.schedules)
        self.listener = Listener(using, options.queues, self._notified)
        self.pool = Pool(options.concurrency, patience=PATIENCE)
        self.runtime.defer = self.pool.submit
        self.buffer = Buffer(options.concurrency, options.limit * CLAIMS_AHEAD)
        self.pace = Pace(options.cron, options.limit)
        self.held = HeldJobs(self.heartbeat, self.recorder)
        # Set where the process should be replaced by a new one.
        self.wants_replacement = False
        # Set where handlers still run whose jobs may by now run elsewhere.
        self.leaves_handlers = False
        # Another claim is worth its transaction when no more than these are held.
        self._few = 0
        self._rest_after_claim = 0.0
        # What is to be recorded of handlers that cannot be stopped.
        self._stuck: dict[int, Report] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._at_once = threading.Event()
        self._closed = threading.Event()

    def stop(self, *, at_once: bool = False) -> None:
        """Claim nothing more; let the running jobs end, or give them back `at_once`."""
        if at_once:
            self._at_once.set()
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        recording = threading.Thread(target=self._record, name="jobs-recorder", daemon=True)
        persist(self.membership.join, using=self.using, what="the worker", give_up=self._stopping)
        self.heartbeat.start()
        recording.start()
        if is_supported(self.using) and self.pace.is_continuous:
            self.listener.start()
        try:
            self._work()
            self._drain()
        finally:
            self._close(recording)

    def _record(self) -> None:
        try:
            self.recorder.serve(until=self._closed.is_set, give_up=self._at_once)
        finally:
            connections[self.using].close()

    def _work(self) -> None:
        outage = Outage(self.using, "the worker")
        called = False
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                if outage.failures:
                    self._regain()
                pause = self._turn(called)
            except DISCONNECTED as error:
                pause = outage.note(error)
            else:
                outage.end()
            if pause is None:
                return
            called = self._wake.wait(min(pause, LONGEST_REST)) or not pause

    def _regain(self) -> None:
        """After an outage, let every worker renew its leases before any job is taken over."""
        self.heartbeat.renew()
        self.duties.put_off_rescue()

    def _turn(self, called: bool) -> float | None:
        """Do what is to be done now; return how long to pause, None to end.

        Who is `called` claims without looking first.
        """
        self._look_after_oneself()
        if self.listener.hears.is_set():
            # No pooler gives each transaction another session, or they would not arrive.
            own_session(self.using)
            self.recorder.owns_session = True
        self.duties.perform()
        self._give_back_unstarted(older_than=LONGEST_IN_BUFFER)
        if not self.pace.is_time() and not self.held:
            return self.pace.seconds_to_next_tick()
        if called and self._claim(wakes=bool(self.held)):
            return self._rest_after_claim
        outlook = self._look()
        if outlook.is_due:
            if self._claim():
                return self._rest_after_claim
            outlook = self._look()
        if self._is_done():
            return None
        if not self.held:
            self.pace.end_of_pass()
        return self._poll_seconds(outlook)

    def _look(self) -> Outlook:
        if self._room() < 1 or not self._runs_low():
            return Outlook()
        return look(self._selection(), using=self.using)

    def _poll_seconds(self, outlook: Outlook) -> float:
        """Return how long to wait for something to happen; not in step with other workers."""
        often = 1 if not self.listener.hears.is_set() else POLLS_LEFT_OUT
        poll = self.poll_interval.total_seconds() * often * random.uniform(0.8, 1.2)
        poll = min(poll, max(outlook.seconds_to_wake, SHORTEST_REST))
        return min(poll, self.duties.seconds_to_next_schedule())

    def _look_after_oneself(self) -> None:
        """Stop where the supervisor is gone, or the memory has grown too much."""
        supervisor = self.options.supervisor_pid
        if supervisor is not None and os.getppid() != supervisor:
            logger.warning("The supervisor is gone; stopping")
            self.stop()
        if self.options.max_memory is not None and resident_bytes() > self.options.max_memory:
            logger.warning("Over the limit of memory; stopping")
            self.wants_replacement = True
            self.stop()

    def _claim(self, *, wakes: bool = True) -> bool:
        """Claim as many jobs as there is room for, and start them; return whether any."""
        room = min(self._room(), self.options.limit)
        if room < 1 or self._stopping.is_set() or not self._runs_low():
            return False
        jobs = claim(self._selection(), room, wakes=wakes, using=self.using)
        if not jobs:
            return False
        self._rest_after_claim = 0.0 if len(jobs) == room else FIRST_STEPS
        self.pace.note_claimed(len(jobs))
        self.held.add(jobs)
        self._start(jobs)
        return True

    def _room(self) -> int:
        most = self.options.concurrency + self.buffer.size()
        self._few = most - min(self.options.limit, most // 2)
        room = self.pace.left_in_pass(most - len(self.held))
        if self.options.max_jobs is None:
            return room
        return min(room, self.options.max_jobs - self.held.run - len(self.held))

    def _runs_low(self) -> bool:
        """Whether threads may soon have nothing to do."""
        return not self.held.is_waiting or len(self.held) <= self._few

    def _selection(self) -> Selection:
        return Selection(
            queues=self.options.queues, lease=conf.get().LEASE, worker_id=self.membership.id
        )

    def _start(self, jobs: Sequence[Job]) -> None:
        try:
            statuses = load_statuses(jobs, self.using)
        except DISCONNECTED:
            self.held.give_back(jobs)
            raise
        self.held.await_threads(jobs)
        on_loop = {slug for slug in {job.slug for job in jobs} if runs_on_event_loop(slug)}
        self.pool.submit(*[
            partial(
                self._run_in_pool, job, statuses.get(job.id, NO_STEPS),
                self._run_on_loop if job.slug in on_loop else self._run_here,
            )
            for job in jobs
        ])  # fmt: skip

    def _run_in_pool(
        self, job: Job, statuses: Mapping[StepKey, TaskStatus],
        run: Callable[[Job, Mapping[StepKey, TaskStatus]], None],
    ) -> None:  # fmt: skip
        if not self.held.may_start(job):
            return
        begun = self.buffer.begin()
        try:
            run(job, statuses)
        except BaseException:
            logger.exception("Job %s could not be run to its end", job.pk)
            tidy_connections()
            self._finish(job)
        self.buffer.end(begun)

    def _run_here(self, job: Job, statuses: Mapping[StepKey, TaskStatus]) -> None:
        execute_ahead(job, self.runtime, statuses, partial(self._finish, job))

    def _run_on_loop(self, job: Job, statuses: Mapping[StepKey, TaskStatus]) -> None:
        """Have the event loop run the job while this thread waits, as one of those at once."""
        done = partial(self._finish, job)
        self.runtime.spawn_job(job.id, aexecute_ahead(job, self.runtime, statuses, done)).result()

    def _give_back_unstarted(self, older_than: float = 0.0) -> None:
        """Give back what was claimed ahead and has found no thread."""
        if self.held.give_back_unstarted(older_than):
            self.buffer.shrink()

    def _finish(self, job: Job) -> None:
        self._stuck.pop(job.id, None)
        self.held.finish(job)
        if not self._wake.is_set() and self._runs_low():
            self._wake.set()

    def _give_up(self, report: Report) -> None:
        """Stop the process for a handler that cannot be stopped; it is recorded at the end.

        Not before, or the job could run elsewhere while its handler still runs here.
        """
        job = report.job
        logger.error(
            "Job %s %s does not stop at its timeout; stopping the worker", job.pk, job.slug
        )
        self._stuck[job.pk] = report
        self.wants_replacement = True
        self.stop()

    def _notified(self) -> None:
        self._wake.set()

    def _is_done(self) -> bool:
        options = self.options
        if options.max_jobs is not None and self.held.run >= options.max_jobs:
            self.wants_replacement = True
            return True
        if self.held or not (options.once or options.until_empty):
            return False
        return options.once or not self._something_is_left()

    def _something_is_left(self) -> bool:
        """Whether a job is due, runs somewhere, or will be retried."""
        unfinished = Job.objects.using(self.using).unfinished()
        if self.options.queues is not None:
            unfinished = unfinished.filter(queue__in=self.options.queues)
        begun = Q(status=JobStatus.READY) & (Q(total_tried__gt=0) | Q(crashes__gt=0))
        due = Q(claim_rank__isnull=False) | Q(line_rank__isnull=False)
        paused = Queue.objects.using(self.using).filter(paused=True).values("name")
        will_run = (begun | due) & ~Q(queue__in=paused)
        return unfinished.filter(Q(status=JobStatus.RUNNING) | will_run).exists()

    def _drain(self) -> None:
        """Wait for what runs, until the shutdown timeout."""
        ends_at = time.monotonic() + self.options.shutdown_timeout.total_seconds()
        self._give_back_unstarted()
        if self.held:
            logger.info("Stopping; %s jobs are still running", len(self.held))
        while not self._at_once.is_set() and self.held.without(self._stuck.copy()):
            self._wake.clear()
            left = ends_at - time.monotonic()
            if left <= 0:
                break
            self._wake.wait(min(left, 0.2))

    def _close(self, recording: threading.Thread) -> None:
        self.listener.stop()
        self.pool.close()
        self._closed.set()
        self.recorder.wake()
        recording.join(self.options.shutdown_timeout.total_seconds())
        self._let_go()
        self.heartbeat.stop()
        throughput.flush_if_possible(using=self.using)
        try:
            self.membership.leave()
        except DISCONNECTED:
            logger.warning(
                "The database does not answer; the worker's row stays until it is pruned"
            )

    def _let_go(self) -> None:
        """Record the handlers that cannot be stopped, and give back what still runs."""
        stuck = self._stuck.copy()
        reports = list(stuck.values())
        rest = self.held.without(stuck)
        if rest:
            logger.warning("Giving %s running jobs back", len(rest))
        reports += [Report(job=job, change=give_back()) for job in rest]
        if not reports:
            return
        self.leaves_handlers = True
        try:
            record(reports, using=self.using)
        except DISCONNECTED:
            logger.warning("The database does not answer; %s jobs run again later", len(reports))


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
