"""Errors of handlers as they are stored, and what unwinds a handler from inside."""

from __future__ import annotations

import traceback
from typing import Any

from django_jobs.exceptions import JobCancelledError
from django_jobs.queue.json import printable

MESSAGE_LIMIT = 2_000
TRACEBACK_LIMIT = 20_000


class ClaimLost(BaseException):
    """The claim is somebody else's now: what the handler still does cannot be recorded.

    No Exception, so that `except Exception` in a handler does not swallow it.
    """


class Suspended(BaseException):
    """Leaves a handler whose job has to wait; it begins from its top when it is woken.

    No Exception, so that `except Exception` in a handler does not swallow it.
    """


class TimeIsUp(BaseException):
    """Raised inside a handler that has run longer than its timeout.

    No Exception, so that `except Exception` in a handler does not swallow it.
    """


class RollBackError(Exception):
    """Leaves the transaction of an atomic handler or step whose work must not stay."""


def describe(error: BaseException) -> dict[str, Any]:
    """Return the error as it is stored; hostile text is made printable and bounded."""
    return {
        "name": printable(type(error).__name__, 255),
        "message": printable(_message(error), MESSAGE_LIMIT),
        "traceback": printable(_traceback(error), TRACEBACK_LIMIT),
        "cancelled": isinstance(error, JobCancelledError),
    }


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as problem:
        return f"(its __str__ raised {type(problem).__name__})"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except BaseException as problem:
        return f"(formatting it raised {type(problem).__name__})"
