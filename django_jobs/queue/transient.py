"""Faults of a database that are over when the transaction is tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import OperationalError, transaction

P = ParamSpec("P")
R = TypeVar("R")

TRIES = 8
FIRST_PAUSE = 0.01

# Parts of what SQLite, MySQL and MariaDB, and PostgreSQL say to the loser of a deadlock.
_SIGNS = (
    "database is locked",
    "database table is locked",
    "deadlock",
    "lock wait timeout",
    "record has changed since last read",
    "could not serialize access",
)


def is_transient(error: BaseException) -> bool:
    return isinstance(error, OperationalError) and any(
        sign in str(error).lower() for sign in _SIGNS
    )


def retried(function: Callable[P, R]) -> Callable[P, R]:
    """Call a function again that lost a deadlock; it must be one transaction on `using`.

    Inside a transaction of the caller's, which the fault has broken, the error is raised on.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        connection = transaction.get_connection(str(kwargs["using"]))
        for tried in range(0 if connection.in_atomic_block else TRIES - 1):
            try:
                return function(*args, **kwargs)
            except OperationalError as error:
                if not is_transient(error):
                    raise
            time.sleep(random.uniform(0.5, 1) * FIRST_PAUSE * 2**tried)
        return function(*args, **kwargs)

    return call
