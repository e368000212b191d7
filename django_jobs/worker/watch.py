"""Stop plain functions that run longer than they may."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django_jobs.worker.errors import TimeIsUp

# How long a function may take to leave once its time is up.
GRACE = 5.0


@contextmanager
def time_limit(seconds: float, on_stuck: Callable[[], None]) -> Iterator[Watch]:
    """Raise TimeIsUp in this thread when the block has taken longer.

    Python raises it between two instructions: a call into C that does not come back is not
    interrupted by it. `on_stuck` is called from another thread if the block has not ended
    some seconds later.
    """
    watch = Watch(threading.get_ident(), seconds, on_stuck)
    watch.start()
    try:
        yield watch
    finally:
        watch.disarm()


class Watch(threading.Thread):
    def __init__(self, thread_id: int, seconds: float, on_stuck: Callable[[], None]) -> None:
        super().__init__(name="jobs-time-limit", daemon=True)
        self.thread_id = ctypes.c_ulong(thread_id)
        self.seconds = seconds
        self.on_stuck = on_stuck
        self.lock = threading.Lock()
        self.left = threading.Event()
        self.time_is_up = False

    def run(self) -> None:
        if self.left.wait(self.seconds):
            return
        with self.lock:
            if not self.left.is_set():
                self.time_is_up = True
                self._raise(ctypes.py_object(TimeIsUp))
        if not self.left.wait(GRACE):
            self.on_stuck()

    def disarm(self) -> None:
        """Let nothing be raised after the block, be it on its way already."""
        with self.lock:
            self.left.set()
            self._raise(None)

    def _raise(self, error: ctypes.py_object[type[TimeIsUp]] | None) -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(self.thread_id, error)
