"""Operate jobs: a thin front over the layers.

With `request=` the matching function of the setting ACCESS is asked first, and a refusal
raises PermissionDenied; without it the call is trusted server code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections
from django.db.models import Q
from django.http import HttpRequest

from django_jobs import access
from django_jobs.exceptions import InvalidInputError, UnknownTaskError
from django_jobs.models import FINISHED, Job, JobQuerySet, database_alias
from django_jobs.queue import operate, waits
from django_jobs.queue.json import normalise
from django_jobs.tasks import registry
from django_jobs.tasks.enqueue import Given
from django_jobs.tasks.enqueue import enqueue as enqueue_given
from django_jobs.tasks.task import Call, Declaration
from django_jobs.worker import runner, schedules
from django_jobs.worker.runner import RunResult
from django_jobs.worker.schedules import ScheduleResult

__all__ = [
    "RunResult",
    "ScheduleResult",
    "acancel",
    "acancel_by_id",
    "acount_runnable_or_active",
    "aenqueue",
    "aenqueue_many",
    "ahandle_schedules",
    "apause_queue",
    "aprune",
    "aresume_queue",
    "aretry",
    "aretry_by_id",
    "arun",
    "arun_by_id",
    "asend_event",
    "cancel",
    "cancel_by_id",
    "count_runnable_or_active",
    "enqueue",
    "enqueue_many",
    "handle_schedules",
    "pause_queue",
    "prune",
    "resume_queue",
    "retry",
    "retry_by_id",
    "run",
    "run_by_id",
    "send_event",
]

R = TypeVar("R")

Target = str | Declaration[Any, Any] | Call[Any, Any]


def enqueue(
    task: Target, input: Mapping[str, Any] | None = None, *, request: HttpRequest | None = None,
    **options: Any,
) -> Job:  # fmt: skip
    """Add a job by the slug of its task or workflow, or by the task itself.

    `options` are queue, priority, wait_until, meta, retries, and `log`: strings, or dicts with
    "message" and "data". Raises UnknownTaskError, InvalidInputError.
    """
    return enqueue_many([(task, input)], request=request, **options)[0]


def enqueue_many(
    given: Iterable[tuple[Target, Mapping[str, Any] | None]], *,
    request: HttpRequest | None = None, **options: Any,
) -> list[Job]:  # fmt: skip
    """Add many jobs with one bulk insert per batch; none where one of them is invalid."""
    access.require("queue", request)
    # None leaves it to the task, as the signature says.
    stated = {name: value for name, value in options.items() if value is not None}
    return enqueue_given(_resolved(given, stated))


def _resolved(
    given: Iterable[tuple[Target, Mapping[str, Any] | None]], options: dict[str, Any]
) -> Iterator[Given]:
    """Yield the declaration, the arguments and the options of each job."""
    latest: Target | None = None
    call: Call[Any, Any] | None = None
    for task, input in given:
        # Most calls are of one task, which is then looked up once.
        if call is None or task != latest:
            latest, call = task, _call(task, options)
        yield call.declaration, {} if input is None else input, call.options


def _call(task: Target, options: dict[str, Any]) -> Call[Any, Any]:
    call = task if isinstance(task, Call) else Call(_declaration(task))
    return replace(call, options=call.options.merged(**options))


def _declaration(task: str | Declaration[Any, Any]) -> Declaration[Any, Any]:
    if isinstance(task, Declaration):
        return task
    if isinstance(task, str):
        return registry.get(task)
    raise UnknownTaskError(f"{task!r} is neither a slug nor a task nor a workflow.")


def run(
    *, queue: str = "default", limit: int = 10, all_queues: bool = False,
    where: Q | None = None, sequential: bool = False, processing_order: str | None = None,
    deadline: float | None = None, request: HttpRequest | None = None,
) -> RunResult:  # fmt: skip
    """Claim up to `limit` due jobs once and run them, in parallel unless `sequential`.

    After `deadline` seconds nothing new is started, and what was not started is given back.
    """
    access.require("run", request)
    selection = replace(
        runner.default_selection(None if all_queues else queue), where=where,
        order=processing_order,
    )  # fmt: skip
    return _pass(selection, limit, sequential=sequential, deadline=deadline)


def run_by_id(job_id: int, *, request: HttpRequest | None = None) -> RunResult:
    """Claim and run one job, whatever its queue, if it is due."""
    access.require("run", request)
    return _pass(replace(runner.default_selection(None), where=Q(pk=job_id)), 1)


async def arun(**options: Any) -> RunResult:
    """See run()."""
    return await _in_thread(run, **options)


async def arun_by_id(job_id: int, *, request: HttpRequest | None = None) -> RunResult:
    """See run_by_id()."""
    return await _in_thread(run_by_id, job_id, request=request)


async def _in_thread(function: Callable[..., RunResult], *args: Any, **options: Any) -> RunResult:
    """Call `function` in a thread that handlers do not need for their own sync_to_async()."""
    inline = await sync_to_async(runner.must_run_inline)(database_alias())
    return await sync_to_async(_tidily, thread_sensitive=inline)(inline, function, *args, **options)


def _tidily(inline: bool, function: Callable[..., R], *args: Any, **options: Any) -> R:
    try:
        return function(*args, **options)
    finally:
        if not inline:
            connections.close_all()


def _pass(selection: Any, limit: int, **options: Any) -> RunResult:
    return runner.run_pass(selection, limit, using=database_alias(), **options)


def cancel(where: Q, *, queue: str | None = None, request: HttpRequest | None = None) -> int:
    """Cancel the jobs of the condition that are not finished; return how many that was."""
    access.require("cancel", request)
    return operate.cancel(_jobs(where, queue))


def cancel_by_id(job_id: int, *, request: HttpRequest | None = None) -> int:
    """See cancel()."""
    return cancel(Q(pk=job_id), request=request)


def retry(where: Q, *, request: HttpRequest | None = None) -> int:
    """Make failed and cancelled jobs ready again; return how many that was.

    Raises DuplicateJobError where the `unique` twin of one is unfinished.
    """
    access.require("retry", request)
    return operate.retry(_jobs(where))


def retry_by_id(job_id: int, *, request: HttpRequest | None = None) -> int:
    """See retry()."""
    return retry(Q(pk=job_id), request=request)


def send_event(name: str, payload: Any = None) -> None:
    """Keep an event, with a payload that JSON can hold, and wake the jobs that wait for it.

    Inside a transaction it is there, and wakes them, exactly if that commits.
    """
    waits.check_event_name(name)
    try:
        stored = normalise(payload)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"The payload of {name!r} cannot be stored: {error}") from error
    waits.send_event(name, stored, using=database_alias())


def prune(*, before: datetime | None = None, statuses: Sequence[str] = FINISHED) -> int:
    """Delete finished jobs in batches; return how many.

    `before` is compared with when they finished. Without it, each status keeps its jobs as
    long as the setting RETENTION says.
    """
    return operate.prune(_jobs(Q(status__in=list(statuses))), before=before)


def handle_schedules(*, queue: str | None = None, all_queues: bool = False) -> ScheduleResult:
    """Enqueue what the schedules of one queue say, or those of all when none is named."""
    return schedules.handle_schedules(queue=None if all_queues else queue, using=database_alias())


def count_runnable_or_active(
    *, queue: str | None = None, slug: str | None = None, only_scheduled: bool = False
) -> int:
    """Count the jobs that are due or delayed, running or waiting."""
    where = Q() if slug is None else Q(slug=slug)
    if only_scheduled:
        where &= Q(meta__scheduled=True)
    return _jobs(where, queue).unfinished().count()


def pause_queue(name: str) -> bool:
    """Let no worker claim from the queue; return False where it was paused already."""
    return operate.pause_queue(name, using=database_alias())


def resume_queue(name: str) -> bool:
    """Undo pause_queue(); return False where it was not paused."""
    return operate.resume_queue(name, using=database_alias())


def _jobs(where: Q, queue: str | None = None) -> JobQuerySet:
    condition = where if queue is None else where & Q(queue=queue)
    jobs: JobQuerySet = Job.objects.using(database_alias()).filter(condition)
    return jobs


aenqueue = sync_to_async(enqueue)
aenqueue_many = sync_to_async(enqueue_many)
acancel = sync_to_async(cancel)
acancel_by_id = sync_to_async(cancel_by_id)
aretry = sync_to_async(retry)
aretry_by_id = sync_to_async(retry_by_id)
aprune = sync_to_async(prune)
ahandle_schedules = sync_to_async(handle_schedules)
acount_runnable_or_active = sync_to_async(count_runnable_or_active)
apause_queue = sync_to_async(pause_queue)
asend_event = sync_to_async(send_event)
aresume_queue = sync_to_async(resume_queue)
