"""One pass: claim once, run what was claimed, return what became of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from django.db import connections

from django_jobs import conf
from django_jobs.models import Job, TaskStatus
from django_jobs.queue import throughput
from django_jobs.queue.claim import Selection, claim
from django_jobs.queue.lifecycle import give_back
from django_jobs.queue.record import Report, record
from django_jobs.queue.rescue import take_over
from django_jobs.tasks import registry
from django_jobs.worker.attempt import StepKey
from django_jobs.worker.connections import tidy_connections
from django_jobs.worker.executor import aexecute, execute, runs_on_event_loop
from django_jobs.worker.heartbeat import Heartbeat
from django_jobs.worker.pool import Pool
from django_jobs.worker.recorder import BatchRecorder, DirectRecorder
from django_jobs.worker.runtime import Runtime

logger = logging.getLogger("django_jobs.runner")

# How many plain handlers of one pass run at once, at the most.
MOST_THREADS = 32

Statuses = Mapping[int, Mapping[StepKey, TaskStatus]]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What one pass did."""

    # "success", "error", "error-reached-max-retries" or "waiting", by the job's id.
    job_status: dict[int, str] = field(default_factory=dict)
    # How many of the claimed jobs will run again.
    remaining_jobs_from_queried: int = 0
    # Nothing was due.
    no_jobs_remaining: bool = False


def run_pass(
    selection: Selection, limit: int, *, sequential: bool = False,
    deadline: float | None = None, inline: bool = False, using: str,
) -> RunResult:  # fmt: skip
    """Claim up to `limit` due jobs and run them, `inline` in this thread, else in parallel.

    After `deadline` seconds nothing new is started, and what was not started is given back.
    """
    ends_at = None if deadline is None else time.monotonic() + deadline
    take_over(using=using)
    jobs = claim(selection, limit, using=using)
    if not jobs:
        return RunResult(no_jobs_remaining=True)
    run = _run_inline if inline or must_run_inline(using) else _run_in_threads
    try:
        results = run(jobs, selection, sequential, ends_at, using)
    finally:
        throughput.flush_after_pass(using=using)
    return RunResult(
        job_status={pk: result for pk, result in results.items() if result is not None},
        remaining_jobs_from_queried=len(jobs)
        - len(results)
        + sum(result == "error" for result in results.values()),
    )


def must_run_inline(using: str) -> bool:
    """Whether other threads could not see what this one's connection sees."""
    connection = connections[using]
    in_memory = connection.vendor == "sqlite" and connection.is_in_memory_db()  # type: ignore[attr-defined]
    return connection.in_atomic_block or in_memory


def load_statuses(jobs: Sequence[Job], using: str) -> Statuses:
    """Return the steps of earlier attempts, by job; one query for all that can have some."""
    with_steps = {slug for slug in {job.slug for job in jobs} if has_steps(slug)}
    table: dict[int, dict[StepKey, TaskStatus]] = {
        job.pk: {} for job in jobs if job.slug in with_steps
    }
    if table:
        for status in TaskStatus.objects.using(using).filter(job__in=list(table)):
            table[status.job_id][status.task_slug, status.task_id] = status
    return table


def has_steps(slug: str) -> bool:
    declaration = registry.find(slug)
    return declaration is not None and declaration.takes_context


def _is_over(ends_at: float | None) -> bool:
    return ends_at is not None and time.monotonic() >= ends_at


def _run_inline(
    jobs: Sequence[Job], selection: Selection, sequential: bool, ends_at: float | None, using: str
) -> dict[int, str | None]:
    """Run the jobs in this thread, one after the other."""
    runtime = Runtime(using, DirectRecorder(using), inline=True)
    statuses = load_statuses(jobs, using)
    results: dict[int, str | None] = {}
    rest = list(jobs)
    try:
        while rest and not _is_over(ends_at):
            job = rest[0]
            results[job.pk] = execute(job, runtime, statuses.get(job.pk))
            del rest[0]
    finally:
        if rest:
            record([Report(job=job, change=give_back()) for job in rest], using=using)
    return results


def _run_in_threads(
    jobs: Sequence[Job], selection: Selection, sequential: bool, ends_at: float | None, using: str
) -> dict[int, str | None]:
    """Run the jobs in threads, while this one writes down what they report."""
    in_threads = _Pass(jobs, selection, ends_at, using)
    return in_threads.run(1 if sequential else min(len(jobs), MOST_THREADS), sequential)


class _Pass:
    def __init__(
        self, jobs: Sequence[Job], selection: Selection, ends_at: float | None, using: str
    ) -> None:
        self.jobs = jobs
        self.using = using
        self.ends_at = ends_at
        self.recorder = BatchRecorder(using)
        self.runtime = Runtime(using, self.recorder, inline=False)
        self.runtime.give_up = self._give_up
        self.heartbeat = Heartbeat(
            using, selection.lease, on_revoked=lambda job: self.runtime.cancel_job(job.pk)
        )
        self.results: dict[int, str | None] = {}
        self.started: set[int] = set()
        self.finished: set[int] = set()
        self.interrupted = False
        self.stuck = False
        self._lock = threading.Lock()

    def run(self, threads: int, sequential: bool) -> dict[int, str | None]:
        statuses = load_statuses(self.jobs, self.using)
        self.heartbeat.add(self.jobs)
        self.heartbeat.start()
        pool = Pool(threads)
        try:
            for job in self.jobs:
                steps = statuses.get(job.pk, {})
                if runs_on_event_loop(job.slug) and not sequential:
                    self._start_on_loop(job, steps)
                else:
                    pool.submit(partial(self._run_in_pool, job, steps))
            self.recorder.serve(until=lambda: len(self.finished) == len(self.jobs))
        except BaseException:
            self.interrupted = True
            raise
        finally:
            pool.close()
            self.heartbeat.stop()
            self._give_back_unstarted()
        self.runtime.close()
        if not self.stuck:
            pool.join()
        return self.results

    def _run_in_pool(self, job: Job, statuses: Mapping[StepKey, TaskStatus]) -> None:
        if not self._may_start(job):
            self._finish(job)
            return
        result = None
        try:
            result = execute(job, self.runtime, statuses)
        except BaseException:
            logger.exception("Job %s could not be run to its end", job.pk)
        finally:
            tidy_connections()
            self._finish(job, result)

    def _start_on_loop(self, job: Job, statuses: Mapping[StepKey, TaskStatus]) -> None:
        if not self._may_start(job):
            self._finish(job)
            return
        future = self.runtime.spawn_job(job.pk, aexecute(job, self.runtime, statuses))
        future.add_done_callback(lambda done: self._finish_on_loop(job, done))

    def _finish_on_loop(self, job: Job, done: object) -> None:
        result = None
        try:
            result = done.result()  # type: ignore[attr-defined]
        except BaseException:
            logger.exception("Job %s could not be run to its end", job.pk)
        finally:
            self._finish(job, result)

    def _may_start(self, job: Job) -> bool:
        with self._lock:
            if self.interrupted or _is_over(self.ends_at):
                return False
            self.started.add(job.pk)
            return True

    def _finish(self, job: Job, result: str | None = None) -> None:
        self.heartbeat.remove(job)
        with self._lock:
            if job.pk in self.finished:
                return
            self.finished.add(job.pk)
            if job.pk in self.started:
                self.results[job.pk] = result
        self.recorder.wake()

    def _give_up(self, report: Report) -> None:
        """Record what a handler that cannot be stopped has come to, and leave its thread."""
        logger.error(
            "Job %s does not stop at its timeout; its thread is left behind", report.job.pk
        )
        self.stuck = True
        result = None if report.change is None else report.change.result
        self.recorder.submit(report, lambda answer: self._finish(report.job, result))

    def _give_back_unstarted(self) -> None:
        with self._lock:
            unstarted = [job for job in self.jobs if job.pk not in self.started]
        if unstarted:
            reports = [Report(job=job, change=give_back()) for job in unstarted]
            record(reports, using=self.using)


def default_selection(queue: str | None) -> Selection:
    """Return the selection of one queue, or of all for None."""
    queues = None if queue is None else (queue,)
    return Selection(queues=queues, lease=conf.get().LEASE)
