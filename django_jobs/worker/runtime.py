"""What a process, or one pass of `jobs.run`, runs handlers with."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, async_to_sync, sync_to_async
from django.db import connections

from django_jobs.worker.connections import opened_connections, tidy_connections
from django_jobs.worker.recorder import DirectRecorder, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django_jobs.queue.record import Report

R = TypeVar("R")

# For the plain steps and the records of async handlers, some of which wait for others.
MOST_THREADS = 128

logger = logging.getLogger("django_jobs.runtime")

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
        # What to do with the report of a handler that cannot be stopped.
        self.give_up: Callable[[Report], None] = lambda report: None
        # Runs the application's code elsewhere than in the thread that records.
        self.defer: Callable[[Callable[[], None]], None] = lambda function: function()
        # When a job of this process was last found to be cancelled or lost.
        self.latest_revocation = -math.inf
        self._loop: EventLoop | None = None
        self._tasks: dict[int, asyncio.Task[Any]] = {}
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

            async def run() -> R:
                return await start()

            return async_to_sync(run)()
        return self.spawn(start()).result()

    def spawn(self, coroutine: Coroutine[Any, Any, R]) -> Future[R]:
        """Run a coroutine on the event loop of the process."""
        return self._event_loop().spawn(coroutine)

    def _event_loop(self) -> EventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = EventLoop()
        return self._loop

    def spawn_job(self, job_id: int, coroutine: Coroutine[Any, Any, R]) -> Future[R]:
        """Run the coroutine of a job, which `cancel_job` can cancel."""

        loop = self._event_loop()

        async def tracked() -> R:
            task = asyncio.current_task()
            if task is not None:
                self._tasks[job_id] = task
            try:
                return await coroutine
            finally:
                self._tasks.pop(job_id, None)
                await loop.tidy()

        # Not in the caller's context, which may belong to a request.
        return Context().run(loop.spawn, tracked())

    def cancel_job(self, job_id: int) -> None:
        """Cancel the coroutine of a job, where it is one that runs; once, so it may clean up."""
        self.latest_revocation = time.monotonic()
        task = self._tasks.pop(job_id, None)
        if task is not None and self._loop is not None:
            self._loop.loop.call_soon_threadsafe(task.cancel)

    def close(self) -> None:
        if self._loop is not None:
            self._loop.close()


class EventLoop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(ThreadPoolExecutor(MOST_THREADS, "jobs-from-async"))
        self._closing = False
        # Has the thread in which sync_to_async(), and with it the ORM, runs for the handlers.
        # The one of the caller waits for them.
        self._orm = ThreadSensitiveContext()
        # Those of that thread; not known before it is asked.
        self._orm_connections: Sequence[object] | None = None
        self._thread = threading.Thread(target=self._run, name="jobs-event-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            while not self._closing:
                self._run_until_stopped()
        finally:
            self.loop.run_until_complete(self._leave())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    def spawn(self, coroutine: Coroutine[Any, Any, R]) -> Future[R]:
        context = copy_context()
        context.run(SyncToAsync.thread_sensitive_context.set, self._orm)
        return context.run(asyncio.run_coroutine_threadsafe, coroutine, self.loop)

    async def tidy(self) -> None:
        """Tidy the connections of the thread of the ORM; called from the loop, as handlers are."""
        if self._orm_connections is None:
            self._orm_connections = await sync_to_async(opened_connections)()
        if self._orm_connections:
            await sync_to_async(tidy_connections)()

    async def _leave(self) -> None:
        async with self._orm:
            await sync_to_async(connections.close_all)()

    def _run_until_stopped(self) -> None:
        try:
            self.loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            # A task has raised it. Whoever awaits that task gets it too; the others run on.
            logger.warning("A task of a handler wanted the process to end", exc_info=True)

    def close(self) -> None:
        self._closing = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
