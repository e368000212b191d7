"""A task of Django's as workers know it."""

from __future__ import annotations

import inspect
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from django_jobs.tasks import registry
from django_jobs.tasks.options import Concurrency
from django_jobs.tasks.retry import Retry
from django_jobs.tasks.task import Task as JobTask
from django_jobs.tasks_backend.arguments import ArgumentsSchema
from django_jobs.tasks_backend.compat import Task, TaskContext, normalize_json

if TYPE_CHECKING:
    from django_jobs.models import Job
    from django_jobs.worker.context import JobContext

# The key of a job's meta that holds what its columns do not tell of the task.
META = "django_tasks"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsTask(Task):  # type: ignore[type-arg]
    """A task with options of its own in place of those of its backend."""

    retries: int | Retry | None = None
    timeout: float | timedelta | None = None
    concurrency: Callable[..., Any] | Concurrency | str | None = None


class StoredTask(JobTask[..., Any]):
    """The declaration of a job that runs a task of Django's."""

    task: Any
    input_schema: ArgumentsSchema

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.task.call(*args, **kwargs)


def meta_of(job: Job) -> Mapping[str, Any]:
    meta = job.meta.get(META)
    return meta if isinstance(meta, Mapping) else {}


def arguments_of(job: Job, declaration: StoredTask) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments as they were given to `enqueue`."""
    return declaration.input_schema.split(job.input, meta_of(job).get("args", 0))


def own_name() -> str:
    """Return the name of this process, which its Worker row has, too."""
    return f"{socket.gethostname()}:{os.getpid()}"


def handler_of(task: Any) -> Callable[..., Any]:
    """Return the function that a worker calls with its own context."""

    def handle(context: JobContext, **stored: Any) -> Any:
        with _noted(context):
            args, kwargs = _arguments(task, context)
            return normalize_json(task.func(*args, **kwargs))

    async def ahandle(context: JobContext, **stored: Any) -> Any:
        with _noted(context):
            inline = context._attempt.runtime.inline
            args, kwargs = await sync_to_async(_arguments, thread_sensitive=inline)(task, context)
            return normalize_json(await task.func(*args, **kwargs))

    handler = ahandle if inspect.iscoroutinefunction(task.func) else handle
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(handler, name, getattr(task.func, name))
    return handler


def _arguments(task: Any, context: JobContext) -> tuple[list[Any], dict[str, Any]]:
    declaration = registry.get(task.module_path)
    assert isinstance(declaration, StoredTask)  # noqa: S101 - it is what is being run
    args, kwargs = arguments_of(context.job, declaration)
    if task.takes_context:
        from django_jobs.tasks_backend.results import result_of

        with context._attempt.database():
            result = result_of(context.job, declaration, worker=own_name())
        args = [TaskContext(task_result=result), *args]
    return args, kwargs


@contextmanager
def _noted(context: JobContext) -> Iterator[None]:
    """Have the log entry of the attempt say who made it, and which class its error is of."""
    notes: dict[str, Any] = {"worker": own_name()}
    context._attempt.notes = notes
    try:
        yield
    except BaseException as error:
        notes["exception"] = f"{type(error).__module__}.{type(error).__qualname__}"
        raise
