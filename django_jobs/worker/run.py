"""An attempt at a job that is under way, and what is written of it when it has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from typing import Any

from django_jobs import conf
from django_jobs.exceptions import JobCancelledError, RetryLater
from django_jobs.models import SINGLE_TASK_ID, Job, JobLog, JobStatus, TaskStatus
from django_jobs.queue import lifecycle
from django_jobs.queue.lifecycle import Change
from django_jobs.queue.record import Report, moment
from django_jobs.tasks.task import Declaration, Workflow
from django_jobs.worker.attempt import Attempt, Frame, StepKey
from django_jobs.worker.calling import Invocation, arguments, name_of
from django_jobs.worker.context import JobContext
from django_jobs.worker.decide import Left, Level, Outcome, Raised, Returned, decide
from django_jobs.worker.runtime import Runtime
from django_jobs.worker.steps import log_entry

# No time to wait at all would be none at which to wake the job.
SHORTEST_WAIT = timedelta(milliseconds=1)


class Run:
    """An attempt that is under way. What only some handlers need is made when it is asked for."""

    def __init__(
        self, job: Job, declaration: Declaration[Any, Any], runtime: Runtime,
        statuses: Mapping[StepKey, TaskStatus],
    ) -> None:  # fmt: skip
        self.job = job
        self.declaration = declaration
        self.runtime = runtime
        self.statuses = statuses
        # In seconds since the epoch.
        self.began = time.time()

    @property
    def is_plain(self) -> bool:
        """Whether its handler knows nothing of the attempt, and has all the time that it takes."""
        declaration = self.declaration
        return not (declaration.takes_context or declaration.timeout or declaration.atomic)

    @cached_property
    def attempt(self) -> Attempt:
        return Attempt(self.job, self.declaration, self.runtime, self.statuses)

    @cached_property
    def context(self) -> JobContext:
        is_task = not isinstance(self.declaration, Workflow)
        attempt = self.attempt
        frame = Frame(self.job.slug, SINGLE_TASK_ID, attempt.retry, is_step=is_task)
        return JobContext(attempt, frame, self.job.input)

    @cached_property
    def invocation(self) -> Invocation:
        declaration = self.declaration
        takes_context = declaration.takes_context
        invocation = Invocation(
            lambda: declaration.function,
            (self.context,) if takes_context else (),
            lambda: arguments(declaration, self.job.input),
            name=name_of(declaration),
            timeout=declaration.timeout,
            output_schema=declaration.output_schema,
        )
        if takes_context:
            invocation.steps_ended = self.context._steps_ended
        if not self.is_plain:
            # Not for all: what refers to itself in a circle is left to the garbage collector.
            invocation.on_stuck = self.attempt.on_stuck = self._report_stuck
        return invocation

    def _report_stuck(self) -> None:
        """Have a handler given up that its timeout could not stop."""
        _change, report = conclude(self, Raised(self.invocation.timed_out()))
        self.runtime.give_up(report)


def conclude(run: Run, outcome: Outcome) -> tuple[Change, Report]:
    """Decide what becomes of the job, and put together what is written of it."""
    if run.is_plain and isinstance(outcome, Returned):
        return _succeed(run, outcome)
    attempt = run.attempt
    outcome = _settled(attempt, outcome)
    change = decide(outcome, Level(attempt.retry, attempt.number))
    return change, Report(
        job=attempt.job,
        change=change,
        waits=attempt.waits if isinstance(outcome, Left) else (),
        taken_events=attempt.taken_events(),
        had_to_wait=attempt.had_to_wait,
        entries=[*attempt.put_off_entries(), *_entries(run, outcome, change)],
        values=attempt.unwritten_progress(),
        delete=_is_to_be_deleted(attempt.job, change),
    )


def _succeed(run: Run, outcome: Returned) -> tuple[Change, Report]:
    """See conclude(), for a handler without steps, messages or progress."""
    change = lifecycle.succeed(outcome.output)
    is_logged = not isinstance(run.declaration, Workflow)
    return change, Report(
        job=run.job,
        change=change,
        ran=(run.began, time.time()) if is_logged else None,
        delete=_is_to_be_deleted(run.job, change),
    )


def _is_to_be_deleted(job: Job, change: Change) -> bool:
    # A child stays for the parent that joins it.
    succeeded = change.status is JobStatus.SUCCESSFUL and job.parent_id is None
    return succeeded and conf.get().DELETE_JOB_ON_COMPLETE


def _settled(attempt: Attempt, outcome: Outcome) -> Outcome:
    """Return the outcome with what its steps know of it."""
    if attempt.cancellation is not None:
        return Raised(attempt.cancellation)
    if isinstance(outcome, Raised):
        return attempt.raised(outcome.error)
    if isinstance(outcome, Left) and attempt.wake_at is not None:
        return Left(max(attempt.wake_at - attempt.now(), SHORTEST_WAIT))
    return outcome


def _entries(run: Run, outcome: Outcome, change: Change) -> list[JobLog]:
    attempt = run.attempt
    if isinstance(outcome, Raised) and isinstance(outcome.error, RetryLater):
        frame = run.context._frame
        return [attempt.message(change.message, logging.INFO, None, frame)]
    is_workflow = isinstance(attempt.declaration, Workflow)
    if isinstance(outcome, Left):
        return []
    if is_workflow and (isinstance(outcome, Returned) or _logged_by_a_step(outcome)):
        return []
    entry = log_entry(
        attempt, outcome, slug=attempt.job.slug, task_id="" if is_workflow else SINGLE_TASK_ID,
        input=attempt.job.input, started_at=moment(run.began),
    )  # fmt: skip
    entry.data = attempt.notes
    return [entry]


def _logged_by_a_step(outcome: Raised) -> bool:
    return bool(outcome.levels) or isinstance(outcome.error, JobCancelledError)
