"""The decorators, and their twins for handlers that are imported later."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from functools import update_wrapper
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise

from django_jobs.tasks import registry
from django_jobs.tasks.bounds import check_priority, check_queue
from django_jobs.tasks.options import Concurrency
from django_jobs.tasks.retry import LONGEST_WAIT, Retry
from django_jobs.tasks.schedule import Schedule
from django_jobs.tasks.schema import input_schema as make_input_schema
from django_jobs.tasks.schema import output_schema as make_output_schema
from django_jobs.tasks.task import Declaration, Task, Workflow

P = ParamSpec("P")
R = TypeVar("R")

# Under which contexts remember what is no task of the application's.
RESERVED_SLUGS = ("inline", "ctx.sleep", "ctx.wait_for_event", "ctx.enqueue_child")


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    *, takes_context: Literal[True], **options: Any
) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...
@overload
def task(**options: Any) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Declare a function that jobs can run; bare, or with the options of `build`."""
    return _decorate(Task, function, options)


@overload
def workflow(function: Callable[Concatenate[Any, P], R], /) -> Workflow[P, R]: ...
@overload
def workflow(
    **options: Any,
) -> Callable[[Callable[Concatenate[Any, P], R]], Workflow[P, R]]: ...
def workflow(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Declare a function of durable steps; it takes the JobContext as its first argument."""
    return _decorate(Workflow, function, options)


def register_task(slug: str, *, handler: str, **options: Any) -> Task[..., Any]:
    """Declare a task by the dotted path of its handler, which is imported when a job runs."""
    return register(Task, handler, slug=slug, **options)  # type: ignore[return-value]


def register_workflow(slug: str, *, handler: str, **options: Any) -> Workflow[..., Any]:
    """Declare a workflow by the dotted path of its handler; see register_task()."""
    return register(Workflow, handler, slug=slug, **options)  # type: ignore[return-value]


def _decorate(
    kind: type[Declaration[Any, Any]],
    function: Callable[..., Any] | None,
    options: dict[str, Any],
) -> Any:
    if function is None:
        return lambda function: _decorate(kind, function, options)
    if isinstance(function, str):
        raise TypeError(
            f"@{kind.kind} takes keyword arguments only. Write @{kind.kind}(slug={function!r})."
        )
    return register(kind, function, **options)


def register(
    kind: type[Declaration[Any, Any]], handler: Callable[..., Any] | str, **options: Any
) -> Declaration[Any, Any]:
    _check_options(kind, handler, options)
    declaration = build(kind, handler, **options)
    registry.add(declaration)
    return declaration


def build(
    kind: type[Declaration[Any, Any]],
    handler: Callable[..., Any] | str,
    *,
    slug: str | None = None,
    label: str | Promise | None = None,
    queue: str = "default",
    priority: int = 0,
    retries: int | Retry | None = None,
    concurrency: Callable[..., Any] | Concurrency | None = None,
    schedule: Any = (),
    input_schema: Any = None,
    output_schema: Any = None,
    takes_context: bool = False,
    unique: Callable[..., Any] | bool | None = None,
    timeout: float | timedelta | None = None,
    atomic: bool = False,
    on_success: Callable[[Any], Any] | None = None,
    on_fail: Callable[[Any], Any] | None = None,
) -> Declaration[Any, Any]:
    """Return a declaration whose options are all valid, without registering it.

    Raises ValueError, TypeError or ImproperlyConfigured with a sentence that names the task.
    """
    place = _place(handler)
    slug = _slug(slug, handler, place)
    where = f"The {kind.kind} {slug!r}"
    if kind is Workflow:
        if atomic:
            raise ValueError(f"{where} cannot be atomic: only its steps can, one by one.")
        takes_context = True
    _check_handler(handler, where)
    _check_hooks(where, unique=unique, on_success=on_success, on_fail=on_fail)
    _check_flags(where, takes_context=takes_context, atomic=atomic)
    if takes_context and not isinstance(handler, str):
        _check_takes_context(handler, where)
    if atomic and inspect.iscoroutinefunction(handler):
        raise ValueError(
            f"{where} cannot be atomic: Django's transactions do not work in async functions. "
            "Use a plain function."
        )
    try:
        check_queue(queue)
        check_priority(priority)
        settled = {
            "retries": Retry.of(retries),
            "concurrency": Concurrency.of(concurrency),
            "schedule": Schedule.many(schedule),
            "timeout": _timeout(timeout),
        }
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {error}") from error
    declaration = kind(
        slug=slug,
        handler=handler,
        label=_label(label, slug),
        place=place,
        input_schema=make_input_schema(
            None if isinstance(handler, str) else handler,
            input_schema,
            takes_context=takes_context,
            where=where,
        ),
        output_schema=make_output_schema(output_schema, where=where),
        queue=queue,
        priority=priority,
        takes_context=takes_context,
        unique=unique,
        atomic=atomic,
        on_success=on_success,
        on_fail=on_fail,
        **settled,  # type: ignore[arg-type]
    )
    if not isinstance(handler, str):
        # Not the function's own attributes, which could be named as options are.
        update_wrapper(declaration, handler, updated=())
    return declaration


def _check_options(
    kind: type[Declaration[Any, Any]], handler: Any, options: dict[str, Any]
) -> None:
    known = list(inspect.signature(build).parameters)[2:]
    for name in options:
        if name not in known:
            raise TypeError(
                f"The {kind.kind} {options.get('slug') or _place(handler)!r} has no option "
                f"{name!r}. There are {', '.join(known)}."
            )


def _place(handler: Any) -> str:
    if isinstance(handler, str):
        return f"handler={handler!r}"
    name = getattr(handler, "__qualname__", None) or repr(handler)
    return f"{getattr(handler, '__module__', type(handler).__module__)}.{name}"


def _slug(slug: Any, handler: Callable[..., Any] | str, place: str) -> str:
    if slug is None:
        if not isinstance(handler, str | Declaration) and not hasattr(handler, "__qualname__"):
            raise ImproperlyConfigured(
                f"{place} has no name that another process could know it by. Give it a slug=."
            )
        slug = place
    if not isinstance(slug, str):
        raise TypeError(f"slug must be a string, not {type(slug).__name__} ({place}).")
    if not slug or len(slug) > 255 or "\x00" in slug:
        raise ValueError(f"slug must have 1 to 255 characters ({place}).")
    if slug in RESERVED_SLUGS:
        raise ImproperlyConfigured(
            f"The slug {slug!r} is reserved for steps of the package. Rename that of {place}."
        )
    return slug


def _check_handler(handler: Callable[..., Any] | str, where: str) -> None:
    if isinstance(handler, str):
        if "." not in handler:
            raise ImproperlyConfigured(
                f"{where}: handler={handler!r} is no dotted path such as 'reports.pdf.render'."
            )
        return
    if not callable(handler):
        raise TypeError(f"{where}: its handler is a {type(handler).__name__}, no function.")
    if isinstance(handler, Declaration):
        raise ImproperlyConfigured(f"{where}: its handler is a {handler.kind} already.")
    if getattr(handler, "__name__", "") == "<lambda>":
        raise ImproperlyConfigured(
            f"{where}: its handler is a lambda, which has no name that another process could "
            "know it by. Use def."
        )


def _check_takes_context(handler: Callable[..., Any], where: str) -> None:
    parameters = list(inspect.signature(handler).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in positional:
        raise ImproperlyConfigured(
            f"{where}: its handler must take the JobContext as its first argument, "
            f"as in def {getattr(handler, '__name__', 'handler')}(ctx, …)."
        )


def _check_hooks(where: str, *, unique: Any, **callbacks: Any) -> None:
    if unique is not None and not isinstance(unique, bool) and not callable(unique):
        raise TypeError(f"{where}: unique must be a callable, True or None.")
    for name, callback in callbacks.items():
        if callback is not None and not callable(callback):
            raise TypeError(f"{where}: {name} must be a callable or None.")


def _check_flags(where: str, **flags: Any) -> None:
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise TypeError(f"{where}: {name} must be True or False.")


def _timeout(timeout: Any) -> timedelta | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float | timedelta):
        raise TypeError("timeout must be a number of seconds or a timedelta.")
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if not 0 < seconds <= LONGEST_WAIT.total_seconds():  # as NaN is not
        raise ValueError(f"timeout must be more than 0 and at most {LONGEST_WAIT.days} days.")
    return timedelta(seconds=seconds)


def _label(label: Any, slug: str) -> str | Promise:
    if label is None:
        words = slug.rpartition(".")[2].replace("-", " ").replace("_", " ").strip()
        return words[:1].upper() + words[1:] or slug
    if not isinstance(label, str | Promise):
        raise TypeError(f"label must be a string ({slug}).")
    return label
