"""Who writes what the handlers of a worker report.

Handlers run in many threads, each with a connection of its own only where it uses the
database. What they report is written by one thread, on one connection, in batches: whatever
has come in while the batch before was being written.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

from django_jobs.queue import throughput
from django_jobs.queue.prepared import own_session
from django_jobs.queue.record import Report, Standing, follow_up, record, store
from django_jobs.worker.outage import DISCONNECTED, persist

logger = logging.getLogger("django_jobs.recorder")

R = TypeVar("R")

# Bounds how long the first of a batch waits for the statement to be built.
MOST_AT_ONCE = 500


Answer = Standing | Exception
"""How the worker stands to the job, or why the report could not be written."""


_Item = tuple[Report, Callable[[Answer], None]]


def nobody(answer: Answer) -> None:
    """Receive an answer that nobody waits for."""


class Recorder(Protocol):
    def submit(self, report: Report, then: Callable[[Answer], None] = nobody) -> None:
        """Have the report written; `then` gets the answer, maybe in the recorder's thread."""


def write(recorder: Recorder, report: Report) -> Standing:
    """Have the report written, and wait for it."""
    answer: Future[Standing] = Future()
    recorder.submit(report, partial(resolve, answer))
    return answer.result()


def resolve(future: Future[Standing], answer: Answer) -> None:
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


class DirectRecorder:
    """Writes at once, in the thread and on the connection of the caller.

    What comes from an event loop, which has no connection, is written with what comes next.
    """

    def __init__(self, using: str) -> None:
        self.using = using
        self._deferred: list[Report] = []

    def submit(self, report: Report, then: Callable[[Answer], None] = nobody) -> None:
        if _on_event_loop():
            self._deferred.append(report)
            then(Standing.HELD)
        else:
            deferred, self._deferred = self._deferred, []
            reports = [*deferred, report]
            standings = record(reports, using=self.using)
            throughput.note(reports, standings, using=self.using)
            then(standings[-1])


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class BatchRecorder:
    """Collects reports from all threads for the one that serves it."""

    def __init__(self, using: str) -> None:
        self.using = using
        # Whether the connection of the thread that serves stays with one session of PostgreSQL.
        self.owns_session = False
        self._inbox: SimpleQueue[_Item | None] = SimpleQueue()

    def submit(self, report: Report, then: Callable[[Answer], None] = nobody) -> None:
        self._inbox.put((report, then))

    def wake(self) -> None:
        """Let `serve` look at its condition again."""
        self._inbox.put(None)

    def serve(self, until: Callable[[], bool], *, give_up: threading.Event | None = None) -> None:
        """Write what comes in until the condition holds; call `wake` when it may.

        While the database is away it waits, unless `give_up` is set.
        """
        while not until() or not self._inbox.empty():
            batch = self._collect()
            if batch:
                self._write(batch, give_up or threading.Event())

    def _collect(self) -> list[_Item]:
        batch = []
        item = self._inbox.get()
        while True:
            if item is not None:
                batch.append(item)
            if len(batch) == MOST_AT_ONCE:
                return batch
            try:
                item = self._inbox.get_nowait()
            except Empty:
                return batch

    def _write(self, batch: list[_Item], give_up: threading.Event) -> None:
        reports = [report for report, _then in batch]
        try:
            standings = self._persist(partial(self._store, reports), give_up)
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, DISCONNECTED):
                # One report that cannot be stored must not take the others with it.
                for item in batch:
                    self._write([item], give_up)
                return
            self._answer(batch, [error] * len(batch))
            return
        throughput.note(reports, standings, using=self.using)
        self._follow_up(reports, standings, give_up)
        self._answer(batch, standings)

    def _store(self, reports: Sequence[Report]) -> list[Standing]:
        if self.owns_session:
            own_session(self.using)
        return store(reports, using=self.using)

    def _answer(self, batch: list[_Item], answers: Sequence[Answer]) -> None:
        for (_report, then), answer in zip(batch, answers, strict=True):
            try:
                then(answer)
            except Exception:
                logger.exception("What follows a record failed")

    def _follow_up(
        self, reports: list[Report], standings: list[Standing], give_up: threading.Event
    ) -> None:
        try:
            self._persist(partial(follow_up, reports, standings, using=self.using), give_up)
        except Exception:
            # The reports are stored all the same; the duties repair the rest.
            logger.exception("Who waited for jobs that have ended could not be woken")

    def _persist(self, function: Callable[[], R], give_up: threading.Event) -> R:
        return persist(function, using=self.using, what="the recorder", give_up=give_up)
