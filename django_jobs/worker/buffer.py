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
        self._running = 0
        self._size = 0
        self._forget()

    def begin(self) -> float:
        """Note that a thread begins with a job; return the time, for `end`."""
        now = time.monotonic()
        with self._lock:
            if not self._running:
                self._active_since = now
            self._running += 1
        return now

    def end(self, begun: float) -> None:
        """Note that a thread has run a job since then."""
        now = time.monotonic()
        with self._lock:
            self._running -= 1
            self._ended += 1
            self._busy += now - begun
            if not self._running:
                self._active += now - self._active_since

    def shrink(self) -> None:
        """Begin anew, as jobs have waited here too long."""
        with self._lock:
            self._size = 0
            self._forget()

    def size(self) -> int:
        """Return how many jobs may be claimed ahead now."""
        now = time.monotonic()
        with self._lock:
            if self._ended:
                self._size = min(int(MOMENT * self._per_second(now)), self.most)
            if now - self._since >= WINDOW:
                self._forget()
            return self._size

    def _per_second(self, now: float) -> float:
        """Return how many jobs end in a second in which there are some.

        If all threads run jobs as long as those that ended, and no more than have ended: short
        jobs are not run by all threads at once, and long ones began before the window.
        """
        active = self._active + (now - self._active_since if self._running else 0.0)
        by_duration = self.threads * self._ended / max(self._busy, 1e-6)
        return min(by_duration, self._ended / max(active, 1e-6))

    def _forget(self) -> None:
        self._since = self._active_since = time.monotonic()
        self._ended, self._busy, self._active = 0, 0.0, 0.0
