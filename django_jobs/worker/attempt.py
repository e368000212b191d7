"""One attempt at a job: what its context, its steps and its executor share."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from django.db import close_old_connections, connections
from django.db.transaction import TransactionManagementError
from django.utils import timezone

from django_jobs.exceptions import JobCancelledError
from django_jobs.models import EVENT_SLUG, Job, JobLog, LogState, TaskStatus, Wait
from django_jobs.queue import operate
from django_jobs.queue.record import Report, Standing
from django_jobs.tasks.retry import Retry
from django_jobs.tasks.task import Declaration
from django_jobs.worker.decide import Level, Raised
from django_jobs.worker.errors import ClaimLost
from django_jobs.worker.recorder import write
from django_jobs.worker.runtime import Runtime

# How long a step may rely on what the record of the one before said of the claim, in seconds.
FRESH_FOR = 0.01
PROGRESS_INTERVAL = 1.0

StepKey = tuple[str, str]
"""A slug and a task id."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The task that a context was given to: what nested steps name as their parent."""

    slug: str
    task_id: str
    # The retries of this task or of the next further out that has some.
    retry: Retry | None
    # False for a workflow, which is no task of its own.
    is_step: bool = True

    def inner(self, slug: str, task_id: str, retry: Retry | None) -> Frame:
        """Return the frame of a step within this one, which inherits its retries."""
        return Frame(slug, task_id, self.retry if retry is None else retry)


class Attempt:
    """The state of one attempt. Its steps may run in several threads at once."""

    def __init__(
        self, job: Job, declaration: Declaration[Any, Any], runtime: Runtime,
        statuses: Mapping[StepKey, TaskStatus],
    ) -> None:  # fmt: skip
        self.job = job
        self.declaration = declaration
        self.runtime = runtime
        self.number = job.total_tried + 1
        self.retry = Retry.from_json(job.retries) if job.retries else declaration.retries
        self.statuses = dict(statuses)
        self.lock = threading.Lock()
        # Held while a wait chooses its event, or two at once could take the same.
        self.choosing_event = threading.Lock()
        # What the log entry of the attempt says besides.
        self.notes: dict[str, Any] | None = None
        self.waits: list[Wait] = []
        self.wake_at: datetime | None = None
        self._begun = time.monotonic()
        # When the database has last said how the worker stands to the job.
        self._held_at = -math.inf
        # The steps that succeeded in this attempt.
        self.done: set[StepKey] = set()
        # Set where a step of the job asked for the job to be cancelled.
        self.cancellation: JobCancelledError | None = None
        # Called where a handler or a step does not leave when its time is up.
        self.on_stuck: Callable[[], None] = lambda: None
        self._levels: dict[int, tuple[BaseException, list[Level]]] = {}
        self._joined: dict[int, list[tuple[BaseException, list[Level], int]]] = {}
        self._progress = Progress()
        self._put_off: list[JobLog] = []

    @property
    def task_status(self) -> Mapping[str, Mapping[str, TaskStatus]]:
        table: dict[str, dict[str, TaskStatus]] = {}
        with self.lock:
            for (slug, task_id), status in self.statuses.items():
                table.setdefault(slug, {})[task_id] = status
        return MappingProxyType(table)

    def check(self) -> None:
        """Raise JobCancelledError where the job was cancelled, ClaimLost where it is not ours."""
        if self.cancellation is not None:
            raise self.cancellation
        self._refuse_inside_transaction()
        self.insist(write(self.runtime.recorder, Report(job=self.job)))

    def check_before_step(self) -> None:
        """See check(); the database is not asked where it has said so a moment ago.

        What this process knows of cancellations counts at once all the same.
        """
        known = max(operate.latest_cancellation(), self.runtime.latest_revocation)
        is_fresh = time.monotonic() - self._held_at < FRESH_FOR and self._held_at > known
        if self.cancellation is not None or not is_fresh:
            self.check()
        else:
            self._refuse_inside_transaction()

    def _refuse_inside_transaction(self) -> None:
        """Raise where a step would be remembered though its writes may yet be rolled back.

        On SQLite the record would even wait for the handler's transaction, and that for it.
        """
        runtime = self.runtime
        if runtime.inline or runtime.records_directly:
            return
        if connections[runtime.using].in_atomic_block:
            raise TransactionManagementError(
                "A durable step cannot be used inside of transaction.atomic(): it would be "
                "recorded although its writes could still be rolled back. Open the transaction "
                "inside of the step, or declare its task with atomic=True."
            )

    def insist(self, standing: Standing) -> None:
        """Raise unless the worker holds the job."""
        self._held_at = time.monotonic()
        if standing is Standing.CANCELLED:
            raise JobCancelledError(f"Job {self.job.pk} was cancelled.")
        if standing is Standing.LOST:
            raise ClaimLost(f"Job {self.job.pk} is run by another worker now, or was deleted.")

    def log(self, entry: JobLog) -> None:
        if self.runtime.records_directly:
            # The transaction of an atomic handler would take it along when it is rolled back.
            with self.lock:
                self._put_off.append(entry)
        else:
            self.runtime.recorder.submit(Report(job=self.job, entries=[entry]))

    def put_off_entries(self) -> list[JobLog]:
        """Return the messages of an atomic handler, for whichever record is not rolled back."""
        if not self._put_off:
            return []
        with self.lock:
            return [copy(entry) for entry in self._put_off]

    def log_put_off_entries(self) -> None:
        """Write the messages of an atomic step, unless it is within another."""
        if self.runtime.records_directly:
            return
        with self.lock:
            put_off, self._put_off = self._put_off, []
        if put_off:
            self.runtime.recorder.submit(Report(job=self.job, entries=put_off))

    def message(self, text: str, level: int, data: Any, frame: Frame) -> JobLog:
        now = timezone.now()
        return JobLog(
            job=self.job, attempt=self.number, state=LogState.MESSAGE,
            task_slug=frame.slug if frame.is_step else "",
            task_id=frame.task_id if frame.is_step else "",
            level=level, message=text, data=data, executed_at=now, completed_at=now,
        )  # fmt: skip

    def now(self) -> datetime:
        """Return the time by the database's clock, as told at the claim."""
        started_at = self.job.started_at or timezone.now()
        return started_at + timedelta(seconds=time.monotonic() - self._begun)

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the alias to read with from a handler's thread, and leave no connection."""
        try:
            yield self.runtime.using
        finally:
            if not self.runtime.inline:
                close_old_connections()

    def remember(self, status: TaskStatus) -> None:
        with self.lock:
            self.statuses[status.task_slug, status.task_id] = status

    def taken_events(self) -> set[int]:
        """Return the events that waits of this job have had."""
        if not self.statuses:
            return set()
        with self.lock:
            outputs = [
                status.output or {}
                for (slug, _id), status in self.statuses.items()
                if slug == EVENT_SLUG and status.complete
            ]
        return {output["event"] for output in outputs if output}

    @property
    def had_to_wait(self) -> bool:
        return any(slug.startswith("ctx.") for slug, _id in list(self.statuses))

    def suspend(self, waits: Sequence[Wait], wake_at: datetime) -> None:
        """Note that the job has to leave; of several reasons the first to come wakes it."""
        with self.lock:
            self.waits.extend(waits)
            self.wake_at = wake_at if self.wake_at is None else min(wake_at, self.wake_at)

    def note_failure(self, error: BaseException, level: Level) -> list[Level]:
        """Add the level that an error goes through on its way out; return all of them."""
        with self.lock:
            # The error is kept, or its id could come to stand for another one.
            _error, levels = self._levels.setdefault(id(error), (error, []))
            levels.append(level)
            return levels

    def levels_of(self, error: BaseException) -> list[Level]:
        with self.lock:
            return self._levels.get(id(error), (error, []))[1]

    def join_failures(self, first: BaseException, others: Sequence[BaseException]) -> None:
        """Note what else was raised in the parallel block that the first error leaves."""
        joined = [
            (other, list(levels), len(self.levels_of(first)))
            for other in others
            if other is not first and (levels := self.levels_of(other))
        ]
        with self.lock:
            self._joined.setdefault(id(first), []).extend(joined)

    def raised(self, error: BaseException) -> Raised:
        """Return the outcome of an attempt that this error ended."""
        levels = self.levels_of(error)
        others = [
            Raised(other, [*inner, *levels[begin:]])
            for other, inner, begin in self._joined.get(id(error), ())
        ]
        return Raised(error, levels, others)

    def set_progress(self, progress: dict[str, Any]) -> None:
        """Have the progress written, at most once a second."""
        if self._progress.is_due(progress):
            self.runtime.recorder.submit(Report(job=self.job, values={"progress": progress}))

    def unwritten_progress(self) -> dict[str, Any]:
        """Return the columns for a progress that came too soon after another."""
        return self._progress.take_unwritten()


@dataclass(slots=True)
class Progress:
    """Lets a value through at most once a second, and keeps the last for the end."""

    unwritten: dict[str, Any] | None = None
    written_at: float = field(default=-PROGRESS_INTERVAL)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_due(self, progress: dict[str, Any]) -> bool:
        with self.lock:
            now = time.monotonic()
            if now - self.written_at < PROGRESS_INTERVAL:
                self.unwritten = progress
                return False
            self.written_at, self.unwritten = now, None
            return True

    def take_unwritten(self) -> dict[str, Any]:
        return {} if self.unwritten is None else {"progress": self.unwritten}
