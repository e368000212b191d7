"""Durable steps: run once, remembered, not run again when the job is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from django_jobs import conf
from django_jobs.exceptions import JobCancelledError, RetryLater
from django_jobs.models import JobLog, LogState, TaskStatus
from django_jobs.queue.record import Report, Standing
from django_jobs.queue.rows import new
from django_jobs.tasks.retry import Retry
from django_jobs.worker import callbacks
from django_jobs.worker.attempt import Attempt, Frame, StepKey
from django_jobs.worker.calling import Invocation, acall, call, in_thread
from django_jobs.worker.decide import Left, Level, Outcome, Raised, Returned
from django_jobs.worker.errors import ClaimLost, RollBackError, Suspended, describe
from django_jobs.worker.recorder import write

if TYPE_CHECKING:
    from django_jobs.tasks.task import Declaration
    from django_jobs.worker.context import JobContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step as a handler asks for it."""

    slug: str
    task_id: str
    # As it is stored.
    input: Any
    invocation: Invocation
    # Its own retries; None where it has none.
    retry: Retry | None
    parent: Frame
    # The context of the step itself, which its callbacks and its own steps get.
    context: JobContext
    declaration: Declaration[Any, Any] | None = None

    @property
    def key(self) -> StepKey:
        return (self.slug, self.task_id)

    @property
    def atomic(self) -> bool:
        return self.declaration is not None and self.declaration.atomic


@dataclass(frozen=True, slots=True)
class _Stored:
    output: Any


def run(attempt: Attempt, step: Step) -> Any:
    """Run the step, or return at once what it returned before; raise what it raises."""
    stored = _recall(attempt, step)
    if stored is not None:
        return stored.output
    started_at = timezone.now()
    step.invocation.on_stuck = attempt.on_stuck
    if step.atomic:
        return _run_atomically(attempt, step, started_at)
    return _conclude(attempt, step, call(step.invocation, attempt.runtime), started_at)


async def arun(attempt: Attempt, step: Step) -> Any:
    """See run()."""
    if step.atomic:
        return await _in_thread(attempt, run, step)
    stored = await _in_thread(attempt, _recall, step)
    if stored is not None:
        return stored.output
    started_at = timezone.now()
    step.invocation.on_stuck = attempt.on_stuck
    outcome = await acall(step.invocation, attempt.runtime)
    return await _in_thread(attempt, _conclude, step, outcome, started_at)


async def _in_thread(attempt: Attempt, function: Callable[..., Any], *args: Any) -> Any:
    """Call what waits for the database, in the caller's thread where that is asked for."""
    return await in_thread(attempt.runtime, function, attempt, *args)


def _recall(attempt: Attempt, step: Step) -> _Stored | None:
    """Return the output of an earlier success, None where the step has to run."""
    attempt.check_before_step()
    status = attempt.statuses.get(step.key)
    if status is None or not status.complete or not _restores(attempt, step, status):
        return None
    return _Stored(status.output)


def _restores(attempt: Attempt, step: Step, status: TaskStatus) -> bool:
    retry = step.retry or step.parent.retry
    if retry is None or step.key in attempt.done:
        return True
    restore = retry.should_restore
    return bool(restore(step.context, status)) if callable(restore) else restore


def _run_atomically(attempt: Attempt, step: Step, started_at: datetime) -> Any:
    """Run the step so that its own writes and the record of its success commit together."""
    outcome: Outcome
    try:
        with attempt.runtime.recording_directly(), transaction.atomic(attempt.runtime.using):
            outcome = call(step.invocation, attempt.runtime)
            if not isinstance(outcome, Returned):
                raise RollBackError
            report, status = _report(attempt, step, outcome, started_at)
            attempt.insist(write(attempt.runtime.recorder, report))
    except RollBackError:
        pass
    except (ClaimLost, JobCancelledError):
        raise
    except Exception as error:
        # The commit itself failed, by a deferred constraint for example.
        outcome = Raised(error)
    attempt.log_put_off_entries()
    if isinstance(outcome, Returned):
        return _succeeded(attempt, step, outcome, status)
    return _conclude(attempt, step, outcome, started_at)


def _conclude(attempt: Attempt, step: Step, outcome: Outcome, started_at: datetime) -> Any:
    """Record the outcome; return the output or raise the error."""
    if isinstance(outcome, Left):
        raise Suspended
    if isinstance(outcome, Raised) and isinstance(outcome.error, RetryLater):
        raise outcome.error
    report, status = _report(attempt, step, outcome, started_at)
    standing = write(attempt.runtime.recorder, report)
    if isinstance(outcome, Returned):
        attempt.insist(standing)
        return _succeeded(attempt, step, outcome, status)
    return _failed(attempt, step, outcome, status, standing)


def _report(
    attempt: Attempt, step: Step, outcome: Outcome, started_at: datetime
) -> tuple[Report, TaskStatus]:
    status = _next_status(attempt, step, outcome)
    entry = log_entry(
        attempt, outcome, slug=step.slug, task_id=step.task_id, input=step.input,
        started_at=started_at,
    )  # fmt: skip
    if step.parent.is_step and conf.get().ADD_PARENT_TO_TASK_LOG:
        entry.parent_task_slug, entry.parent_task_id = step.parent.slug, step.parent.task_id
    return Report(job=attempt.job, entries=[entry], statuses=[status]), status


def _next_status(attempt: Attempt, step: Step, outcome: Outcome) -> TaskStatus:
    before = attempt.statuses.get(step.key)
    returned = isinstance(outcome, Returned)
    return TaskStatus(
        job=attempt.job,
        task_slug=step.slug,
        task_id=step.task_id,
        input=step.input,
        output=outcome.output if isinstance(outcome, Returned) else None,
        complete=returned,
        total_tried=(before.total_tried if before else 0) + 1,
        total_failed=(before.total_failed if before else 0) + (not returned),
    )


def log_entry(
    attempt: Attempt, outcome: Outcome, *, slug: str, task_id: str, input: Any,
    started_at: datetime,
) -> JobLog:  # fmt: skip
    """Return the entry for one attempt at a task."""
    returned = isinstance(outcome, Returned)
    values = {
        "job_id": attempt.job.id,
        "attempt": attempt.number,
        "task_slug": slug,
        "task_id": task_id,
        "executed_at": started_at,
        "completed_at": timezone.now(),
        "input": input,
        "state": LogState.SUCCEEDED if returned else LogState.FAILED,
        "output": outcome.output if isinstance(outcome, Returned) else None,
        "error": describe(outcome.error) if isinstance(outcome, Raised) else None,
    }
    return new(JobLog, values)


def _succeeded(attempt: Attempt, step: Step, outcome: Returned, status: TaskStatus) -> Any:
    with attempt.lock:
        attempt.statuses[step.key] = status
        attempt.done.add(step.key)
    if step.declaration is not None:
        callbacks.on_success(step.declaration, step.context)
    return outcome.output


def _failed(
    attempt: Attempt, step: Step, outcome: Raised, status: TaskStatus, standing: Standing
) -> Any:
    error = outcome.error
    if standing is Standing.LOST:
        attempt.insist(standing)
    with attempt.lock:
        attempt.statuses[step.key] = status
    if isinstance(error, JobCancelledError):
        attempt.cancellation = error
    attempt.note_failure(error, Level(step.retry, status.total_failed))
    if step.declaration is not None:
        callbacks.on_fail(step.declaration, step.context)
    raise error
