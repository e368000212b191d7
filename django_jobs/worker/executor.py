"""Run one claimed job: begin → call → decide → record → announce."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property, partial
from typing import Any

from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from django_jobs import conf, signals
from django_jobs.exceptions import JobCancelledError, RetryLater, UnknownTaskError
from django_jobs.models import SINGLE_TASK_ID, Job, JobLog, JobStatus, TaskStatus
from django_jobs.queue import lifecycle
from django_jobs.queue.lifecycle import Change
from django_jobs.queue.record import Report, Standing, moment
from django_jobs.tasks import registry
from django_jobs.tasks.task import Declaration, Workflow
from django_jobs.worker import callbacks
from django_jobs.worker.attempt import Attempt, Frame, StepKey
from django_jobs.worker.calling import (
    Invocation,
    acall,
    arguments,
    call,
    call_plainly,
    in_thread,
    is_async,
    name_of,
)
from django_jobs.worker.connections import tidy_connections
from django_jobs.worker.context import JobContext
from django_jobs.worker.decide import Left, Level, Outcome, Raised, Returned, decide
from django_jobs.worker.errors import ClaimLost, RollBackError, describe
from django_jobs.worker.recorder import Answer, write
from django_jobs.worker.runtime import Runtime
from django_jobs.worker.steps import log_entry

logger = logging.getLogger("django_jobs.executor")

# Raised by a database where what a handler returned or raised is more than it can store.
UNSTORABLE = (DataError, IntegrityError, OverflowError, TypeError, ValueError)

NOT_RECORDED = "A job could not be recorded; it runs again when its lease is over"

# How long a job whose slug is unknown waits before it is looked at again.
UNKNOWN_TASK_PAUSE = timedelta(seconds=5)
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
        _change, report = _conclude(self, Raised(self.invocation.timed_out()))
        self.runtime.give_up(report)


def execute(
    job: Job, runtime: Runtime, statuses: Mapping[StepKey, TaskStatus] | None = None
) -> str | None:
    """Run a claimed job in this thread; return what `jobs.run` reports of it.

    Returns None where the claim was lost. `statuses` are the steps of earlier attempts.
    """
    declaration = registry.find(job.slug)
    if declaration is None:
        return _refuse_unknown(job, runtime)
    run = Run(job, declaration, runtime, statuses or {})
    signals.announce(signals.job_started, [job])
    if declaration.atomic:
        return _execute_atomically(run)
    try:
        return _end(run, call(run.invocation, runtime, alone=True))
    except ClaimLost:
        _abandon(run)
        return None


def execute_ahead(
    job: Job, runtime: Runtime, statuses: Mapping[StepKey, TaskStatus], done: Callable[[], None]
) -> None:
    """Run a claimed job in this thread, and leave it before what became of it is recorded.

    So the thread can go on with the next job, with its connections tidied. `done` is called
    when it is recorded and announced; an error is raised here, or logged, and `done` is called
    all the same.
    """
    declaration = registry.find(job.slug)
    if declaration is None or declaration.atomic:
        _finally(done, partial(execute, job, runtime, statuses))
        return
    run = Run(job, declaration, runtime, statuses)
    signals.announce(signals.job_started, [job])
    try:
        if run.is_plain:
            outcome = call_plainly(declaration, job.input, runtime)
        else:
            outcome = call(run.invocation, runtime, alone=True)
    except ClaimLost:
        _finally(done, partial(_abandon, run))
        return
    change, report = _conclude(run, outcome)
    runtime.recorder.submit(report, partial(_recorded_ahead, run, change, done))


def _recorded_ahead(run: Run, change: Change, done: Callable[[], None], answer: Answer) -> None:
    """Go on in the recorder's thread, which must not be held up by the application's code."""
    if isinstance(answer, UNSTORABLE):
        run.runtime.defer(partial(_finally, done, partial(_end, run, Raised(answer))))
    elif isinstance(answer, Exception):
        logger.error(NOT_RECORDED, exc_info=answer)
        done()
    elif _application_listens(run, change):
        announce = partial(_announce, run, change, answer)
        run.runtime.defer(partial(_finally, done, announce))
    else:
        try:
            _announce(run, change, answer)
        finally:
            done()


def _application_listens(run: Run, change: Change) -> bool:
    declaration = run.declaration
    if declaration.on_success is not None or declaration.on_fail is not None:
        return True
    return change.signal is not None and signals.has_listeners(change.signal)


def _finally(done: Callable[[], None], function: Callable[[], object]) -> None:
    try:
        function()
    except Exception:
        logger.exception(NOT_RECORDED)
    finally:
        tidy_connections()
        done()


async def aexecute(
    job: Job, runtime: Runtime, statuses: Mapping[StepKey, TaskStatus] | None = None
) -> str | None:
    """See execute(); for a handler that is a coroutine function, on its event loop."""
    run = Run(job, registry.get(job.slug), runtime, statuses or {})
    try:
        outcome = await _acall(run)
    except ClaimLost:
        _abandon(run)
        return None
    return await in_thread(runtime, _end, run, outcome)


async def aexecute_ahead(
    job: Job, runtime: Runtime, statuses: Mapping[StepKey, TaskStatus], done: Callable[[], None]
) -> None:
    """See execute_ahead() and aexecute()."""
    run = Run(job, registry.get(job.slug), runtime, statuses)
    try:
        outcome = await _acall(run)
    except ClaimLost:
        runtime.defer(partial(_finally, done, partial(_abandon, run)))
        return
    if isinstance(outcome, Returned):
        change, report = _conclude(run, outcome)
    else:
        # The text of an error may ask the database.
        change, report = await in_thread(runtime, _conclude, run, outcome)
    runtime.recorder.submit(report, partial(_recorded_ahead, run, change, done))


async def _acall(run: Run) -> Outcome:
    try:
        await _announce_start(run)
        return await acall(run.invocation, run.runtime)
    except asyncio.CancelledError:
        # The job was cancelled or lost: the record will tell which, and refuse the rest.
        return Raised(JobCancelledError(f"Job {run.job.pk} was cancelled."))


async def _announce_start(run: Run) -> None:
    """Announce from the event loop, but let the application listen where it may block."""
    if signals.has_listeners(signals.job_started):
        runtime, job = run.runtime, run.job
        await in_thread(runtime, signals.announce, signals.job_started, [job])
    else:
        signals.announce(signals.job_started, [run.job])


def _end(run: Run, outcome: Outcome) -> str | None:
    change, report = _conclude(run, outcome)
    try:
        standing = write(run.runtime.recorder, report)
    except UNSTORABLE as error:
        # What the handler returned or raised is more than this database can store.
        change, report = _conclude(run, Raised(error))
        standing = write(run.runtime.recorder, report)
    return _announce(run, change, standing)


def runs_on_event_loop(slug: str) -> bool:
    declaration = registry.find(slug)
    return declaration is not None and is_async(lambda: declaration.function)


def _conclude(run: Run, outcome: Outcome) -> tuple[Change, Report]:
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
    """See _conclude(), for a handler without steps, messages or progress."""
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


def _announce(run: Run, change: Change, standing: Standing) -> str | None:
    job, declaration = run.job, run.declaration
    if standing is Standing.LOST:
        _abandon(run)
        return None
    if standing is Standing.CANCELLED:
        return lifecycle.FINAL
    if change.signal is not None:
        signals.announce(change.signal, [job])
    if change.status is JobStatus.SUCCESSFUL:
        if declaration.on_success is not None:
            callbacks.on_success(declaration, run.context)
    elif change.counts_attempt and declaration.on_fail is not None:
        callbacks.on_fail(declaration, run.context)
    return change.result


def _abandon(run: Run) -> None:
    """Say that what the handler did was not recorded, since the job is somebody else's."""
    signals.announce(signals.claim_lost, [run.job])


def _refuse_unknown(job: Job, runtime: Runtime) -> str | None:
    """Give a job back that a newer deployment may know; fail it when that has not come."""
    message = (
        f"No task or workflow is registered as {job.slug!r} in this worker. Deploy the code "
        "that declares it, then retry the job."
    )
    if timezone.now() - job.created_at < conf.get().UNKNOWN_TASK_GRACE:
        change = lifecycle.postpone(UNKNOWN_TASK_PAUSE, message)
    else:
        change = lifecycle.fail(describe(UnknownTaskError(message)))
    standing = write(runtime.recorder, Report(job=job, change=change))
    if standing is not Standing.HELD:
        return None
    if change.signal is not None:
        signals.announce(change.signal, [job])
    return change.result


def _execute_atomically(run: Run) -> str | None:
    """Run the handler so that its own writes and the record of its success commit together."""
    runtime = run.runtime
    held = dict(vars(run.job))
    outcome: Outcome
    try:
        with runtime.recording_directly() as recorder, transaction.atomic(runtime.using):
            outcome = call(run.invocation, runtime)
            change, report = _conclude(run, outcome)
            if change.status is not JobStatus.SUCCESSFUL:
                raise RollBackError
            standing = write(recorder, report)
            if standing is not Standing.HELD:
                # Whoever took the job away will not see it succeed without its rows.
                outcome = Raised(JobCancelledError(f"Job {run.job.pk} was cancelled."))
                raise RollBackError
        return _announce(run, change, standing)
    except ClaimLost:
        _abandon(run)
        return None
    except RollBackError:
        pass
    except Exception as error:
        # The commit itself failed, by a deferred constraint for example.
        outcome = Raised(error)
    # What was brought up to date in memory was rolled back, too.
    vars(run.job).update(held)
    return _end(run, outcome)
