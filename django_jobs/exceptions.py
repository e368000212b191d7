"""Every error of the package, one sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta


class JobsError(Exception):
    """Base of every error that django_jobs raises."""


class InvalidInputError(JobsError):
    """The input or the output of a job is not what its task accepts.

    `errors` maps each offending field to its messages, "__all__" to those of the whole.
    """

    def __init__(self, message: str, errors: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__(message)
        self.errors = {field: list(messages) for field, messages in (errors or {}).items()}


class UnknownTaskError(JobsError):
    """No task or workflow is registered under this slug."""


class JobCancelledError(JobsError):
    """The job was cancelled; raise it in a handler to cancel the job at once."""


class RetryLater(JobsError):  # noqa: N818 - control flow, not an error
    """Raise it in a handler to run the job again after `delay`, counting no attempt."""

    def __init__(self, delay: float | timedelta = 0, message: str = "") -> None:
        self.delay = delay if isinstance(delay, timedelta) else timedelta(seconds=delay)
        if self.delay < timedelta(0):
            raise ValueError("The delay of RetryLater must not be negative.")
        super().__init__(message or f"Retry in {self.delay.total_seconds():g} seconds.")


class DuplicateJobError(JobsError):
    """Another unfinished job has the same unique key."""


class TaskTimeoutError(JobsError):
    """An attempt ran longer than the timeout of its task."""


class WorkerLostError(JobsError):
    """The workers that ran this job died too many times."""


class EventTimeoutError(JobsError):
    """The event that a job waited for did not come in time."""
