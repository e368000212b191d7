"""How many jobs a worker claims ahead of its threads.

Claiming costs a transaction, however many jobs it brings. Where jobs are short, threads would
wait for it again and again; where they are long, a job claimed ahead would wait for a thread
here while another worker could run it. So what is claimed ahead is what the threads can run
within a moment, going by how long jobs have lately taken.
"""

from __future__ import annotations

import threading
import time

# For how many seconds the jobs that are claimed ahead should last.
MOMENT = 0.1
# How long a job may wait in the buffer, where its threads have become busy with long jobs.
LONGEST_IN_BUFFER = 1.0
# Over how many seconds it is reckoned how long a job takes.
WINDOW = 0.25


class Buffer:
    """Reckons how long jobs take; it may be told of that from any thread."""

    def __init__(self, threads: int, most: int) -> None:
        self.threads = threads
        self.most = most
        self._lock = threading.Lock()
        self._ended = 0
        self._busy = 0.0
        self._since = time.monotonic()
        self._size = 0

    def note(self, seconds: float) -> None:
        """Note that a thread has run a job for so long."""
        with self._lock:
            self._ended += 1
            self._busy += seconds

    def shrink(self) -> None:
        """Begin anew, as jobs have waited here too long."""
        with self._lock:
            self._size = 0
            self._forget()

    def size(self) -> int:
        """Return how many jobs may be claimed ahead now."""
        with self._lock:
            if self._ended:
                at_once = self.threads * MOMENT * self._ended / max(self._busy, 1e-6)
                self._size = min(int(at_once), self.most)
            if time.monotonic() - self._since >= WINDOW:
                self._forget()
            return self._size

    def _forget(self) -> None:
        self._ended, self._busy, self._since = 0, 0.0, time.monotonic()
