"""What to do while the database is away: wait, and try again."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connections

logger = logging.getLogger("django_jobs.outage")

R = TypeVar("R")

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0

DISCONNECTED = (OperationalError, InterfaceError)


class Outage:
    """Counts the failures in a row of one loop, and says how long to pause after each."""

    def __init__(self, using: str, what: str) -> None:
        self.using = using
        self.what = what
        self.failures = 0

    def note(self, error: BaseException) -> float:
        """Close what may be left of the connection; return how many seconds to wait."""
        longest: float = min(FIRST_PAUSE * 2**self.failures, LONGEST_PAUSE)
        pause = longest * random.uniform(0.7, 1.0)
        self.failures += 1
        logger.warning("The database does not answer, %s waits %.1f s: %s", self.what, pause, error)
        connections[self.using].close()
        return pause

    def end(self) -> None:
        if self.failures:
            logger.warning("The database answers again, %s goes on", self.what)
        self.failures = 0


def persist(function: Callable[[], R], *, using: str, what: str, give_up: threading.Event) -> R:
    """Call until the database answers; raise on when it has not and `give_up` is set."""
    outage = Outage(using, what)
    while True:
        try:
            result = function()
        except DISCONNECTED as error:
            if connections[using].in_atomic_block or give_up.is_set():
                raise
            give_up.wait(outage.note(error))
        else:
            outage.end()
            return result
