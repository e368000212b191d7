"""From what a handler did to what becomes of its job: pure, a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django_jobs.exceptions import JobCancelledError, RetryLater
from django_jobs.queue import lifecycle
from django_jobs.queue.lifecycle import Change
from django_jobs.tasks.retry import LONGEST_DELAY, Retry
from django_jobs.worker.errors import describe


@dataclass(frozen=True, slots=True)
class Returned:
    output: Any


@dataclass(frozen=True, slots=True)
class Level:
    """One of the tasks that an error went through, the workflow itself being the last.

    `retry` is None where it has none of its own, `failures` counts this one.
    """

    retry: Retry | None
    failures: int


@dataclass(frozen=True, slots=True)
class Raised:
    error: BaseException
    # From the step that failed outwards; without the job itself.
    levels: Sequence[Level] = ()
    # What the other steps of a parallel block raised, of which only the first error leaves it.
    others: Sequence[Raised] = ()


@dataclass(frozen=True, slots=True)
class Left:
    """The job has to wait; `delay` is how long at the most."""

    delay: timedelta = timedelta(0)


Outcome = Returned | Raised | Left


def decide(outcome: Outcome, job: Level) -> Change:
    """Return what becomes of a job whose attempt ended so."""
    if isinstance(outcome, Returned):
        return lifecycle.succeed(outcome.output)
    if isinstance(outcome, Left):
        return lifecycle.suspend(outcome.delay)
    error = outcome.error
    is_later = isinstance(error, RetryLater)
    for other in outcome.others:
        # A step that may not be tried again must not be, because another one may.
        if retry_delay(other.error, [*other.levels, job]) is None:
            return lifecycle.fail(describe(other.error if is_later else error))
    if isinstance(error, RetryLater):
        return lifecycle.postpone(min(error.delay, LONGEST_DELAY), describe(error)["message"])
    if isinstance(error, JobCancelledError):
        return lifecycle.cancel(describe(error))
    delay = retry_delay(error, [*outcome.levels, job])
    if delay is None:
        return lifecycle.fail(describe(error))
    return lifecycle.retry(describe(error), delay)


def retry_delay(error: BaseException, levels: Sequence[Level]) -> timedelta | None:
    """Return how long to wait before the next attempt; None where there is none.

    Every level that says something about retries must allow one more, so a workflow caps its
    tasks. One that says nothing inherits what is said further out; where nobody says
    anything there is no retry. Of several delays the longest counts.
    """
    deciding = [(level.retry, level.failures) for level in levels if level.retry is not None]
    if not deciding or not all(retry.allows(error, failures) for retry, failures in deciding):
        return None
    return max(retry.wait(failures) for retry, failures in deciding)
