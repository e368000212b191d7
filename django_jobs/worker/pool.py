"""Threads for handlers; in one of them a plain function runs, or a coroutine is waited for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from django.db import connections

Work = Callable[[], None]


class Pool:
    """At most `size` threads, started as they are needed.

    They are daemons: a handler that hangs must not keep the process from ending.

    To wake a thread costs more than a short job does. With `patience`, in seconds, work is
    therefore left to the threads that are awake for as long as it flows: until none of them
    has begun with another piece for that time, or the process was idle for half of it.
    """

    def __init__(self, size: int, *, name: str = "jobs", patience: float = 0.0) -> None:
        self.size = size
        self.name = name
        self.patience = patience
        self._work: deque[Work] = deque()
        # What threads that are asleep are called for; None to end.
        self._calls: SimpleQueue[Work | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._alive = self._asleep = self._awake = 0
        # Whether one of them watches whether the work flows.
        self._watched = False
        self._begun_at = 0.0
        self._closed = False

    def submit(self, *works: Work) -> None:
        """Run the works, which must not raise, in the threads, soon."""
        self._work.extend(works)
        with self._lock:
            if not self.patience:
                self._wake(len(works))
                return
            # Counted first, for who is woken takes some of it at once.
            waiting = len(self._work)
            woken = 0 if self._flows() else self._wake(1)
            if waiting > woken and not self._watched:
                self._watched = self._call(self._watch)

    def close(self) -> None:
        """Let the threads end when they have nothing to do."""
        with self._lock:
            self._closed = True
            for _ in range(self._asleep):
                self._calls.put(None)
            self._alive -= self._asleep
            self._asleep = 0

    def join(self, timeout: float | None = None) -> None:
        for thread in self._threads:
            thread.join(timeout)

    def _flows(self) -> bool:
        return self._awake > 0 and time.monotonic() - self._begun_at < self.patience

    def _wake(self, most: int) -> int:
        """Have up to so many more threads work; return how many do."""
        woken = 0
        while woken < most and self._call(self._work_off):
            woken += 1
        self._awake += woken
        return woken

    def _call(self, task: Work) -> bool:
        """Have a thread do this that is asleep, or a new one; return whether there is one."""
        if self._asleep:
            self._asleep -= 1
            self._calls.put(task)
            return True
        if self._alive >= self.size:
            return False
        self._alive += 1
        name = f"{self.name}-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._run, args=(task,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return True

    def _run(self, task: Work | None) -> None:
        try:
            while task is not None:
                task()
                task = self._calls.get() if self._falls_asleep() else None
        finally:
            connections.close_all()

    def _falls_asleep(self) -> bool:
        with self._lock:
            if self._closed:
                self._alive -= 1
            else:
                self._asleep += 1
            return not self._closed

    def _work_off(self) -> None:
        while True:
            try:
                work = self._work.popleft()
            except IndexError:
                if self._has_nothing_to_do():
                    return
            else:
                self._begun_at = time.monotonic()
                work()

    def _has_nothing_to_do(self) -> bool:
        with self._lock:
            # What was submitted a moment ago has been left to this thread.
            if self._work:
                return False
            self._awake -= 1
            return True

    def _watch(self) -> None:
        """Look after the work until there is none, or one thread more has to work."""
        while True:
            was_busy = self._rest()
            with self._lock:
                waiting, flows = len(self._work), self._flows()
                if waiting and flows and (was_busy or self._wake(1)):
                    continue
                self._watched = False
                if not waiting:
                    return
                self._awake += 1
                self._wake(waiting - 1)
            self._work_off()
            return

    def _rest(self) -> bool:
        """Return whether the process was busy in the meantime, for half of it at least."""
        since, used = time.monotonic(), time.process_time()
        time.sleep(self.patience)
        return time.process_time() - used >= (time.monotonic() - since) / 2
