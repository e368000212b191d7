"""JobContext: what a handler can ask of the job that it runs for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import sync_to_async
from django.utils.asyncio import async_unsafe

from django_jobs.exceptions import InvalidInputError
from django_jobs.models import INLINE_SLUG, Job, TaskStatus
from django_jobs.queue.json import normalise
from django_jobs.queue.waits import check_event_name
from django_jobs.tasks import registry
from django_jobs.tasks.retry import Retry
from django_jobs.tasks.task import Call, Declaration, Task
from django_jobs.worker import durable, steps
from django_jobs.worker.calling import Invocation, fresh
from django_jobs.worker.parallel import ParallelGroup

if TYPE_CHECKING:
    from django_jobs.worker.attempt import Attempt, Frame

R = TypeVar("R")

Runnable = Task[..., Any] | Call[..., Any] | str
Enqueueable = Declaration[..., Any] | Call[..., Any] | str


class JobContext:
    """A handler's first argument, where it takes one. It may be used from several threads."""

    def __init__(self, attempt: Attempt, frame: Frame, input: Mapping[str, Any]) -> None:
        self._attempt = attempt
        self._frame = frame
        self.input = input
        self._under_way: set[asyncio.Future[None]] = set()

    @property
    def job(self) -> Job:
        return self._attempt.job

    @property
    def attempt(self) -> int:
        """The number of this attempt at the job, from 1."""
        return self._attempt.number

    @property
    def task_status(self) -> Mapping[str, Mapping[str, TaskStatus]]:
        """What became of the steps so far: task_status[slug][task_id]."""
        return self._attempt.task_status

    @async_unsafe("ctx.run() would block the event loop. Write await ctx.arun().")
    def run(self, task_id: str, task: Runnable, /, **input: Any) -> Any:
        """Run a task as a durable step and return its output.

        Returns at once the stored output of an earlier success with this slug and task_id.
        Raises what the task raised, InvalidInputError for a wrong input, UnknownTaskError
        for an unknown slug.
        """
        return steps.run(self._attempt, self._task_step(task_id, task, input))

    async def arun(self, task_id: str, task: Runnable, /, **input: Any) -> Any:
        """See run(); several may be awaited together with asyncio.gather()."""
        step = self._task_step(task_id, task, input)
        with self._step_under_way():
            return await steps.arun(self._attempt, step)

    @async_unsafe("ctx.inline() would block the event loop. Write await ctx.ainline().")
    def inline(
        self, task_id: str, function: Callable[..., Any], /, *,
        input: Mapping[str, Any] | None = None, retries: int | Retry | None = None,
    ) -> Any:  # fmt: skip
        """Run a plain function as a durable step, called with `input` as keyword arguments."""
        return steps.run(self._attempt, self._inline_step(task_id, function, input, retries))

    async def ainline(
        self, task_id: str, function: Callable[..., Any], /, *,
        input: Mapping[str, Any] | None = None, retries: int | Retry | None = None,
    ) -> Any:  # fmt: skip
        """See inline()."""
        step = self._inline_step(task_id, function, input, retries)
        with self._step_under_way():
            return await steps.arun(self._attempt, step)

    @async_unsafe("ctx.parallel() would block the event loop. Write asyncio.gather().")
    def parallel(self, max_workers: int | None = None) -> ParallelGroup:
        """Return a block whose steps run at the same time, in at most `max_workers` threads.

        At its end all have finished and been recorded, then the first error is raised.
        """
        return ParallelGroup(self, max_workers)

    def log(self, message: str, level: int = logging.INFO, **data: Any) -> None:
        """Add a message, and data that JSON can hold, to the log of the job."""
        try:
            stored = normalise(data) if data else None
            text = str(normalise(str(message)))
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"The log entry cannot be stored: {error}") from error
        self._attempt.log(self._attempt.message(text, level, stored, self._frame))

    def set_progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Show how far the job is; written at most once a second, and at its end."""
        progress = {"current": current, "total": total, "message": message}
        try:
            self._attempt.set_progress(normalise(progress))
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"The progress cannot be stored: {error}") from error

    def raise_if_cancelled(self) -> None:
        """Raise JobCancelledError if the job was cancelled; each step asks this by itself."""
        self._attempt.check()

    def sleep(self, task_id: str, duration: float | timedelta) -> None:
        """Let the job leave the worker, and go on from here after `duration` (seconds).

        The handler begins from its top then; finished steps are not run again.
        """
        durable.sleep(self._attempt, _checked_id(task_id), _duration("duration", duration))

    async def asleep(self, task_id: str, duration: float | timedelta) -> None:
        """See sleep()."""
        await self._in_thread(partial(self.sleep, task_id, duration))

    def wait_for_event(
        self, task_id: str, name: str, timeout: float | timedelta | None = None
    ) -> Any:
        """Let the job leave the worker until `jobs.send_event(name, payload)`; return the payload.

        Takes the oldest event of that name, sent since the job was enqueued, that this job
        has not taken yet. Raises EventTimeoutError after `timeout` (seconds).
        """
        check_event_name(name)
        limit = None if timeout is None else _duration("timeout", timeout)
        return durable.wait_for_event(self._attempt, _checked_id(task_id), name, limit)

    async def await_for_event(
        self, task_id: str, name: str, timeout: float | timedelta | None = None
    ) -> Any:
        """See wait_for_event()."""
        return await self._in_thread(partial(self.wait_for_event, task_id, name, timeout))

    def enqueue_child(self, task_id: str, task: Enqueueable, /, **input: Any) -> Job:
        """Add a job whose parent this one is, once, however often the handler runs again."""
        call = _call(task)
        return durable.enqueue_child(self._attempt, _checked_id(task_id), call, input)

    async def aenqueue_child(self, task_id: str, task: Enqueueable, /, **input: Any) -> Job:
        """See enqueue_child()."""
        call = _call(task)
        add = partial(durable.enqueue_child, self._attempt, _checked_id(task_id), call, input)
        return await self._in_thread(add)

    def wait_for(self, children: Iterable[Job]) -> list[Job]:
        """Let the job leave the worker until the children are finished; return them in order.

        Those that failed or were cancelled, too: look at their `status`.
        """
        return durable.wait_for(self._attempt, children)

    async def await_for(self, children: Iterable[Job]) -> list[Job]:
        """See wait_for()."""
        return await self._in_thread(partial(self.wait_for, children))

    async def _in_thread(self, function: Callable[[], R]) -> R:
        inline = self._attempt.runtime.inline
        with self._step_under_way():
            return await sync_to_async(function, thread_sensitive=inline)()

    @contextmanager
    def _step_under_way(self) -> Iterator[None]:
        ended = asyncio.get_running_loop().create_future()
        self._under_way.add(ended)
        try:
            yield
        finally:
            self._under_way.discard(ended)
            if not ended.done():
                ended.set_result(None)

    async def _steps_ended(self) -> None:
        """Wait for the steps that the handler began and did not wait for."""
        while self._under_way:
            await asyncio.wait(list(self._under_way))

    def _task_step(self, task_id: str, task: Runnable, input: dict[str, Any]) -> steps.Step:
        declaration, retry = _resolve(task)
        stored = declaration.input_schema.validate(input)
        context = self._nested(declaration.slug, task_id, retry, stored)
        invocation = Invocation(
            lambda: declaration.function,
            (context,) if declaration.takes_context else (),
            lambda: declaration.input_schema.restore(fresh(stored)),
            name=f"the task {declaration.slug!r}",
            timeout=declaration.timeout,
            output_schema=declaration.output_schema,
        )
        invocation.steps_ended = context._steps_ended
        return steps.Step(
            slug=declaration.slug, task_id=_checked_id(task_id), input=stored,
            invocation=invocation, retry=retry, parent=self._frame, context=context,
            declaration=declaration,
        )  # fmt: skip

    def _inline_step(
        self, task_id: str, function: Callable[..., Any], input: Mapping[str, Any] | None,
        retries: int | Retry | None,
    ) -> steps.Step:  # fmt: skip
        try:
            stored = normalise(dict(input or {}))
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"The input of the inline step {task_id!r} cannot be stored: {error}"
            ) from error
        retry = Retry.of(retries)
        invocation = Invocation(
            lambda: function, (), lambda: dict(input or {}), name=f"the inline step {task_id!r}"
        )
        return steps.Step(
            slug=INLINE_SLUG, task_id=_checked_id(task_id), input=stored, invocation=invocation,
            retry=retry, parent=self._frame,
            context=self._nested(INLINE_SLUG, task_id, retry, stored),
        )  # fmt: skip

    def _nested(
        self, slug: str, task_id: str, retry: Retry | None, input: dict[str, Any]
    ) -> JobContext:
        return JobContext(self._attempt, self._frame.inner(slug, task_id, retry), input)


def _resolve(task: Runnable) -> tuple[Declaration[..., Any], Retry | None]:
    """Return what to run and its own retries, those of the call before the task's."""
    if isinstance(task, str):
        task = registry.get(task)  # type: ignore[assignment]
    if isinstance(task, Call):
        call_retries = task.options.retries
        declaration = task.declaration
        retry = declaration.retries if call_retries is None else call_retries
    else:
        declaration, retry = task, getattr(task, "retries", None)  # type: ignore[assignment]
    if not isinstance(declaration, Task):
        raise TypeError(
            f"A step runs a task or its slug, not {declaration!r}. "
            "Run a plain function with ctx.inline(), a workflow with ctx.enqueue_child()."
        )
    return declaration, retry


def _call(task: Enqueueable) -> Call[..., Any]:
    if isinstance(task, Call):
        return task
    return Call(registry.get(task) if isinstance(task, str) else task)


def _duration(name: str, value: Any) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        raise TypeError(f"The {name} must be a number of seconds or a timedelta.")
    duration = value if isinstance(value, timedelta) else timedelta(seconds=value)
    if duration < timedelta(0):
        raise ValueError(f"The {name} must not be negative.")
    return duration


def _checked_id(task_id: Any) -> str:
    if not isinstance(task_id, str):
        raise TypeError(f"The task_id of a step must be a string, not {type(task_id).__name__}.")
    if not task_id or len(task_id) > 255 or "\x00" in task_id:
        raise ValueError("The task_id of a step must have 1 to 255 characters.")
    return task_id
