"""Call user code, which may raise anything, hang, and leave its connection in any state."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import transaction

from django_jobs.exceptions import InvalidInputError, TaskTimeoutError
from django_jobs.queue.json import normalise
from django_jobs.tasks.schema import OutputSchema
from django_jobs.worker.connections import NoTransactionLeft, Tidied, tidy_connections
from django_jobs.worker.decide import Left, Outcome, Raised, Returned
from django_jobs.worker.errors import ClaimLost, Suspended, TimeIsUp
from django_jobs.worker.watch import Watch, time_limit

if TYPE_CHECKING:
    from datetime import timedelta

    from django_jobs.tasks.task import Declaration
    from django_jobs.worker.runtime import Runtime


R = TypeVar("R")


class Invocation:
    """A function, what it is called with, and what is made of its output."""

    def __init__(
        self,
        function: Callable[[], Callable[..., Any]],
        args: tuple[Any, ...],
        kwargs: Callable[[], Mapping[str, Any]],
        *,
        name: str,
        timeout: timedelta | None = None,
        output_schema: OutputSchema | None = None,
    ) -> None:
        # Both are called late, since importing the one and converting the other can fail.
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.name = name
        self.timeout = timeout
        self.output_schema = output_schema
        # Called from another thread where the function does not leave when its time is up.
        self.on_stuck: Callable[[], None] = _nothing
        # Awaited after the function, where that is a coroutine function.
        self.steps_ended: Callable[[], Awaitable[None]] = _no_steps

    @property
    def is_async(self) -> bool:
        return is_async(self.function)

    @property
    def seconds(self) -> float | None:
        return None if self.timeout is None else self.timeout.total_seconds()

    def finish(self, value: Any) -> Any:
        """Return the output as it is stored; raise InvalidInputError where it cannot be."""
        return _stored(value, self.output_schema, self.name)

    def timed_out(self) -> TaskTimeoutError:
        limit = "" if self.seconds is None else f" of {self.seconds:g} s"
        return TaskTimeoutError(f"{self.name} ran longer than the timeout{limit}.")


def _stored(value: Any, schema: OutputSchema | None, name: str) -> Any:
    if schema is not None:
        return schema.validate(value)
    try:
        return normalise(value)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"The output of {name} cannot be stored as JSON: {error}"
        ) from error


def name_of(declaration: Declaration[Any, Any]) -> str:
    return f"the {declaration.kind} {declaration.slug!r}"


def is_async(function: Callable[[], Callable[..., Any]]) -> bool:
    """Whether what is returned is a coroutine function; False where it cannot be imported."""
    try:
        return inspect.iscoroutinefunction(function())
    except (Exception, SystemExit):
        # Calling it will raise this again, where it is recorded.
        return False


_UNCHANGEABLE = frozenset({str, int, float, bool, type(None)})


def fresh(input: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of stored input that a handler may change."""
    if all(type(value) in _UNCHANGEABLE for value in input.values()):
        return dict(input)
    return deepcopy(input)


def arguments(declaration: Declaration[Any, Any], input: dict[str, Any]) -> dict[str, Any]:
    """Return what the handler is called with, made of what is stored."""
    return declaration.input_schema.restore(fresh(input))


def _nothing() -> None:
    pass


async def _no_steps() -> None:
    pass


def call(invocation: Invocation, runtime: Runtime, *, alone: bool = False) -> Outcome:
    """Call the function from a thread, to its end, whatever kind it is.

    `alone` says that no connection of this thread is in a transaction.
    """
    try:
        with _surroundings(runtime, alone):
            if invocation.is_async:
                return runtime.wait_for(lambda: acall(invocation, runtime))
            with _limit(invocation) as watch:
                value = invocation.function()(*invocation.args, **invocation.kwargs())
        if watch is not None and watch.time_is_up:
            # The handler has caught even that, and returned.
            return Raised(invocation.timed_out())
        return Returned(invocation.finish(value))
    except TimeIsUp:
        return Raised(invocation.timed_out())
    except BaseException as error:
        return _raised(error, runtime)


def call_plainly(
    declaration: Declaration[Any, Any], input: dict[str, Any], runtime: Runtime
) -> Outcome:
    """Call a handler that is a plain function, see call(), with no limit of time."""
    try:
        try:
            value = declaration.function(**arguments(declaration, input))
        finally:
            tidy_connections()
        return Returned(_stored(value, declaration.output_schema, name_of(declaration)))
    except BaseException as error:
        return _raised(error, runtime)


def _surroundings(runtime: Runtime, alone: bool) -> AbstractContextManager[None]:
    if runtime.inline:
        return _Savepoint(runtime.using)
    return Tidied() if alone else NoTransactionLeft()


def _limit(invocation: Invocation) -> AbstractContextManager[Watch | None]:
    if invocation.seconds is None:
        return nullcontext()
    return time_limit(invocation.seconds, invocation.on_stuck)


async def acall(invocation: Invocation, runtime: Runtime) -> Outcome:
    """Call the function from an event loop."""
    if not invocation.is_async:
        return await in_thread(runtime, call, invocation, runtime)
    try:
        async with asyncio.timeout(invocation.seconds) as limit:
            value = await _await_with_steps(invocation)
        if limit.expired():
            return Raised(invocation.timed_out())
        return Returned(invocation.finish(value))
    except TimeoutError as error:
        return Raised(invocation.timed_out() if limit.expired() else error)
    except asyncio.CancelledError as error:
        if _is_being_cancelled():
            raise
        # The handler awaited something else that was cancelled.
        return Raised(error)
    except BaseException as error:
        return _raised(error, runtime)


async def _await_with_steps(invocation: Invocation) -> Any:
    """Await the function, and the steps that it began and then left alone.

    asyncio.gather() raises the first error while the others still run.
    """
    try:
        value = await invocation.function()(*invocation.args, **invocation.kwargs())
    except asyncio.CancelledError:
        raise
    except BaseException:
        await invocation.steps_ended()
        raise
    await invocation.steps_ended()
    return value


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _raised(error: BaseException, runtime: Runtime) -> Outcome:
    """Return the error as an outcome; raise on what is not the handler's."""
    if isinstance(error, ClaimLost):
        raise error
    in_main = threading.current_thread() is threading.main_thread()
    if isinstance(error, KeyboardInterrupt) and in_main:
        raise error
    return Left() if isinstance(error, Suspended) else Raised(error)


async def in_thread(runtime: Runtime, function: Callable[..., R], *args: Any) -> R:
    """Call what uses the database: in a thread, or in the caller's where all has to be."""
    call_tidily = sync_to_async(_tidily, thread_sensitive=runtime.inline)
    return await call_tidily(runtime, function, *args)


def _tidily(runtime: Runtime, function: Callable[..., R], *args: Any) -> R:
    try:
        return function(*args)
    finally:
        if not runtime.inline:
            tidy_connections()


class _Savepoint:
    """Keeps the caller's transaction usable when a handler's database error has broken it.

    What a handler wrote before it raised anything else stays, as it would in a worker.
    """

    def __init__(self, using: str) -> None:
        self.using = using

    def __enter__(self) -> None:
        self.connection = transaction.get_connection(self.using)
        self.atomic = (
            transaction.atomic(using=self.using) if self.connection.in_atomic_block else None
        )
        if self.atomic is not None:
            self.atomic.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self.atomic is None:
            return
        connection = self.connection
        broken = connection.needs_rollback or (error is not None and not connection.is_usable())
        self.atomic.__exit__(*((kind, error, trace) if broken else (None, None, None)))
