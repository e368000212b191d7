"""The state machine: every change of a job's status.

    READY ──claim──▶ RUNNING ──▶ SUCCESSFUL
      ▲                 ├──────▶ FAILED ─────┐
      │                 ├──────▶ CANCELLED ──┤
      ├─────────────────┤                    │
      │                 └──────▶ WAITING     │
      ├────────── wake ────────────┘         │
      └───────── retry by an operator ───────┘

Delayed, retrying, held back and stuck are not statuses: they follow from the other columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet
from django.dispatch import Signal

from django_jobs import signals
from django_jobs.models import Gate, Job, JobStatus
from django_jobs.queue.failures import group_of

READY, RUNNING, WAITING = JobStatus.READY, JobStatus.RUNNING, JobStatus.WAITING
SUCCESSFUL, FAILED, CANCELLED = JobStatus.SUCCESSFUL, JobStatus.FAILED, JobStatus.CANCELLED

MOVES: dict[JobStatus, frozenset[JobStatus]] = {
    READY: frozenset({RUNNING, CANCELLED}),
    RUNNING: frozenset({SUCCESSFUL, FAILED, CANCELLED, READY, WAITING}),
    WAITING: frozenset({READY, CANCELLED}),
    SUCCESSFUL: frozenset(),
    FAILED: frozenset({READY}),
    CANCELLED: frozenset({READY}),
}

# How `jobs.run` reports what will not be tried again.
FINAL = "error-reached-max-retries"

# What every row has that no worker holds.
UNCLAIMED: dict[str, Any] = {"processing_token": None, "processing_until": None}


def sources(target: JobStatus) -> list[JobStatus]:
    """Return the statuses from which a job may move to `target`."""
    return [status for status, targets in MOVES.items() if target in targets]


def move(jobs: QuerySet[Job], target: JobStatus, **values: Any) -> int:
    """Move those of `jobs` that may move to `target`; return how many did.

    `values` are further columns. The condition and the change are one statement.
    """
    return jobs.filter(status__in=sources(target)).update(status=target, **values)


def claimed(
    *, token: UUID, worker_id: int | None, now: datetime, lease: timedelta, slot: int = 0
) -> dict[str, Any]:
    """Return the columns of a job that a worker has claimed, at the database's time `now`."""
    return {
        "status": RUNNING,
        "processing_token": token,
        "processing_until": now + lease,
        "worker_id": worker_id,
        "started_at": now,
        "updated_at": now,
        "gate": Gate.OPEN,
        "slot": slot,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of a running job when its attempt has ended."""

    status: JobStatus
    # How `jobs.run` reports it; None where it is not reported.
    result: str | None
    signal: Signal | None = None
    output: Any = None
    error: dict[str, Any] | None = None
    # From the database's now; None is at once.
    delay: timedelta | None = None
    counts_attempt: bool = True
    counts_crash: bool = False
    message: str = field(default="", compare=False)

    def values(self, now: datetime) -> dict[str, Any]:
        """Return the columns to write, at the database's time `now`."""
        values: dict[str, Any] = {
            **UNCLAIMED,
            "status": self.status,
            "output": self.output,
            "error": self.error,
            "gate": Gate.OPEN,
            "updated_at": now,
            "wait_until": now + self.delay if self.delay else None,
        }
        if self.status in (SUCCESSFUL, FAILED, CANCELLED):
            del values["wait_until"]
            values["completed_at"] = now
        if self.status == FAILED:
            values["error_group"] = group_of(self.error or {})
        if self.counts_attempt:
            values["total_tried"] = F("total_tried") + 1
        if self.counts_crash:
            values["crashes"] = F("crashes") + 1
        return values


def succeed(output: Any) -> Change:
    return _SUCCESS if output is None else replace(_SUCCESS, output=output)


_SUCCESS = Change(status=SUCCESSFUL, result="success", signal=signals.job_succeeded)


def fail(error: dict[str, Any]) -> Change:
    """The last attempt failed."""
    return Change(
        status=FAILED,
        result=FINAL,
        signal=signals.job_failed,
        error=error,
    )


def retry(error: dict[str, Any], delay: timedelta) -> Change:
    """An attempt failed, and another is due after `delay`."""
    return Change(
        status=READY, result="error", signal=signals.job_retried, error=error, delay=delay
    )


def postpone(delay: timedelta, message: str) -> Change:
    """Run the job again after `delay`; this was no attempt."""
    return Change(
        status=READY,
        result="error",
        signal=signals.job_retried,
        delay=delay,
        counts_attempt=False,
        message=message,
    )


def cancel(error: dict[str, Any]) -> Change:
    """The handler itself cancelled the job."""
    return Change(
        status=CANCELLED,
        result=FINAL,
        signal=signals.job_cancelled,
        error=error,
    )


def suspend(delay: timedelta) -> Change:
    """Let the job leave the worker, for `delay` or until something wakes it."""
    return Change(status=WAITING, result="waiting", delay=delay, counts_attempt=False)


def give_back() -> Change:
    """Make a job that was claimed ready again, as if it had not been."""
    return Change(status=READY, result=None, counts_attempt=False)
