"""What a process, or one pass of `jobs.run`, runs handlers with."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import async_to_sync

from django_jobs.worker.recorder import DirectRecorder, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

R = TypeVar("R")

# Set in a thread whose handler's own transaction must hold what it records, too.
_direct: ContextVar[DirectRecorder | None] = ContextVar("django_jobs_recorder", default=None)


class Runtime:
    """How handlers are called and how they report.

    `inline` means in the caller's thread and on its connection, one after the other: inside a
    transaction, and with a database in memory, no other thread could see the jobs.
    """

    def __init__(self, using: str, recorder: Recorder, *, inline: bool) -> None:
        self.using = using
        self.inline = inline
        self._recorder = recorder
        self._loop: EventLoop | None = None
        self._lock = threading.Lock()

    @property
    def recorder(self) -> Recorder:
        return _direct.get() or self._recorder

    @property
    def records_directly(self) -> bool:
        """Whether this thread is in the transaction of an atomic handler."""
        return _direct.get() is not None

    @contextmanager
    def recording_directly(self) -> Iterator[DirectRecorder]:
        """Record on the connection of this thread, in its transaction."""
        recorder = DirectRecorder(self.using)
        token = _direct.set(recorder)
        try:
            yield recorder
        finally:
            _direct.reset(token)

    def wait_for(self, start: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run a coroutine to its end, from a thread that has no event loop."""
        if self.inline:
            result: R = async_to_sync(start)()
            return result
        return self.spawn(start()).result()

    def spawn(self, coroutine: Coroutine[Any, Any, R]) -> Future[R]:
        """Run a coroutine on the event loop of the process."""
        with self._lock:
            if self._loop is None:
                self._loop = EventLoop()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop.loop)

    def close(self) -> None:
        if self._loop is not None:
            self._loop.close()


class EventLoop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="jobs-event-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
