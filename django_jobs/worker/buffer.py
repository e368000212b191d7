"""How many jobs a worker claims ahead of its threads.

Claiming costs a transaction, however many jobs it brings. Where jobs are short, threads would
wait for it again and again; where they are long, a job claimed ahead would wait for a thread
here while another worker could run it. So what is claimed ahead is what the worker has lately
finished within a moment.
"""

from __future__ import annotations

import threading
import time

# For how many seconds the jobs that are claimed ahead should last.
MOMENT = 0.1
# How long a job may wait in the buffer, where its threads have become busy with long jobs.
LONGEST_IN_BUFFER = 1.0
# Over how many seconds the rate is reckoned.
WINDOW = 0.25


class Buffer:
    """Reckons the rate at which jobs end; it may be told of their ends from any thread."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._ends = 0
        self._since = time.monotonic()
        self._rate = 0.0

    def note_end(self) -> None:
        with self._lock:
            self._ends += 1

    def shrink(self) -> None:
        """Begin anew, as jobs have waited here too long."""
        with self._lock:
            self._rate, self._ends, self._since = 0.0, 0, time.monotonic()

    def size(self) -> int:
        """Return how many jobs may be claimed ahead now."""
        with self._lock:
            elapsed = time.monotonic() - self._since
            if elapsed >= WINDOW:
                self._rate = self._ends / elapsed
                self._ends, self._since = 0, time.monotonic()
            return min(int(self._rate * MOMENT), self.most)
