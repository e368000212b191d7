"""Stop plain functions that run longer than they may."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django_jobs.worker.errors import TimeIsUp


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeIsUp in this thread when the block has taken longer.

    Python raises it between two instructions: a call into C that does not come back is not
    interrupted by it.
    """
    watch = _Watch(threading.get_ident())
    timer = threading.Timer(seconds, watch.fire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        watch.disarm()


class _Watch:
    def __init__(self, thread_id: int) -> None:
        self.thread_id = ctypes.c_ulong(thread_id)
        self.lock = threading.Lock()
        self.armed = True

    def fire(self) -> None:
        with self.lock:
            if self.armed:
                self._raise(ctypes.py_object(TimeIsUp))

    def disarm(self) -> None:
        """Let nothing be raised after the block, be it on its way already."""
        with self.lock:
            self.armed = False
            self._raise(None)

    def _raise(self, error: ctypes.py_object[type[TimeIsUp]] | None) -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(self.thread_id, error)
