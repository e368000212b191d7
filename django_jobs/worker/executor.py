"""Run one claimed job: begin → call → decide → record → announce."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial

from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from django_jobs import conf, signals
from django_jobs.exceptions import JobCancelledError, UnknownTaskError
from django_jobs.models import Job, JobStatus, TaskStatus
from django_jobs.queue import lifecycle
from django_jobs.queue.lifecycle import Change
from django_jobs.queue.record import Report, Standing
from django_jobs.tasks import registry
from django_jobs.worker import callbacks
from django_jobs.worker.attempt import StepKey
from django_jobs.worker.calling import (
    acall,
    call,
    call_plainly,
    in_thread,
    is_async,
)
from django_jobs.worker.connections import tidy_connections
from django_jobs.worker.decide import Outcome, Raised, Returned
from django_jobs.worker.errors import ClaimLost, RollBackError, describe
from django_jobs.worker.recorder import Answer, write
from django_jobs.worker.run import Run, conclude
from django_jobs.worker.runtime import Runtime

logger = logging.getLogger("django_jobs.executor")

# Raised by a database where what a handler returned or raised is more than it can store.
UNSTORABLE = (DataError, IntegrityError, OverflowError, TypeError, ValueError)

NOT_RECORDED = "A job could not be recorded; it runs again when its lease is over"

# How long a job whose slug is unknown waits before it is looked at again.
UNKNOWN_TASK_PAUSE = timedelta(seconds=5)


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
    change, report = conclude(run, outcome)
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
        change, report = conclude(run, outcome)
    else:
        # The text of an error may ask the database.
        change, report = await in_thread(runtime, conclude, run, outcome)
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
    change, report = conclude(run, outcome)
    try:
        standing = write(run.runtime.recorder, report)
    except UNSTORABLE as error:
        # What the handler returned or raised is more than this database can store.
        change, report = conclude(run, Raised(error))
        standing = write(run.runtime.recorder, report)
    return _announce(run, change, standing)


def runs_on_event_loop(slug: str) -> bool:
    declaration = registry.find(slug)
    return declaration is not None and is_async(lambda: declaration.function)


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
            change, report = conclude(run, outcome)
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
