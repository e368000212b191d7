"""The log of the package on the console, for projects that have not said where it goes."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any

from django.core.management.base import BaseCommand

# In seconds: what is logged so soon after a line was written waits for the next write.
REST = 0.02

_LEVELS = [logging.WARNING, logging.INFO, logging.INFO, logging.DEBUG]


class ConsoleHandler(logging.StreamHandler[Any]):
    """Writes a line at once, and those that follow within `REST` together.

    A write for each line would have the threads of a worker wait for one another, which costs
    short jobs more than they do. What waits is lost with a process that is killed.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._waiting: deque[logging.LogRecord] = deque()
        self._written_at = float("-inf")
        self._late = threading.Event()
        threading.Thread(target=self._write_late, name="jobs-console", daemon=True).start()

    def handle(self, record: logging.LogRecord) -> Any:
        """Take the record without the lock, which is for those who write."""
        accepted: Any = self.filter(record)
        if accepted:
            # Since Python 3.12 a filter may return another record in its place.
            self.emit(accepted if isinstance(accepted, logging.LogRecord) else record)
        return accepted

    def emit(self, record: logging.LogRecord) -> None:
        self._waiting.append(record)
        if time.monotonic() - self._written_at >= REST:
            self.flush()
        elif not self._late.is_set():
            self._late.set()

    def flush(self) -> None:
        self.acquire()
        try:
            self._write()
        finally:
            self.release()

    def _write(self) -> None:
        records = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not records:
            return
        try:
            self.stream.write("\n".join(map(self.format, records)))
            self.stream.flush()
        except Exception:
            self.handleError(records[-1])
        self._written_at = time.monotonic()

    def _write_late(self) -> None:
        while self._late.wait():
            time.sleep(REST)
            self._late.clear()
            self.flush()


def log_to_console(command: BaseCommand, verbosity: int) -> None:
    """Show the log of the package, unless the project has said where it goes."""
    logger = logging.getLogger("django_jobs")
    if logger.handlers:
        return
    handler = ConsoleHandler(command.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(_LEVELS[min(verbosity, 3)])


def flush_log() -> None:
    """Have all that was logged written: before other words on the console, and before an exit."""
    for handler in logging.getLogger("django_jobs").handlers:
        handler.flush()
