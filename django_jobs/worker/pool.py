"""Threads for handlers; in one of them a plain function runs, or a coroutine is waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from django.db import connections

Work = Callable[[], None]


class Pool:
    """At most `size` threads, started as they are needed.

    They are daemons: a handler that hangs must not keep the process from ending.
    """

    def __init__(self, size: int, *, name: str = "jobs") -> None:
        self.size = size
        self.name = name
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle = 0

    def submit(self, work: Work) -> None:
        """Run `work`, which must not raise, in one of the threads, soon."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif len(self._threads) < self.size:
                self._start_thread()
        self._work.put(work)

    def _start_thread(self) -> None:
        name = f"{self.name}-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        try:
            while (work := self._work.get()) is not None:
                work()
                with self._lock:
                    self._idle += 1
        finally:
            connections.close_all()

    def close(self) -> None:
        """Let the threads end when they have nothing to do."""
        for _ in self._threads:
            self._work.put(None)

    def join(self, timeout: float | None = None) -> None:
        for thread in self._threads:
            thread.join(timeout)
