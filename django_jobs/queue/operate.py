"""What operators do to jobs: cancel, retry, run now, delete, pause."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from django_jobs import conf, signals
from django_jobs.exceptions import DuplicateJobError
from django_jobs.fields import DatabaseNow
from django_jobs.models import (
    FINISHED,
    Gate,
    Job,
    JobLog,
    JobStatus,
    LogState,
    Queue,
    TaskStatus,
    Wait,
)
from django_jobs.queue import concurrency, waits
from django_jobs.queue.lifecycle import CANCELLED, FAILED, READY, move, sources
from django_jobs.queue.notify import notify
from django_jobs.queue.steps import enqueued_by, steps_from
from django_jobs.queue.transient import retried

BATCH = 500
RETRIABLE = (FAILED, CANCELLED)
HIGHEST = 100

CANCELLED_ERROR = {
    "name": "JobCancelledError",
    "message": "The job was cancelled.",
    "traceback": "",
    "cancelled": True,
}


_latest_cancellation = -math.inf


def latest_cancellation() -> float:
    """Return when this process has last cancelled a job, by the monotonic clock."""
    return _latest_cancellation


def _note_cancellation() -> None:
    global _latest_cancellation
    _latest_cancellation = time.monotonic()


def cancel(jobs: QuerySet[Job]) -> int:
    """Cancel what is not finished, in batches; return how many jobs that was.

    A job that runs keeps its claim, and with it its concurrency key, until its handler has
    left: it is told before its next step, and nothing it does is recorded as success.
    """
    unfinished = jobs.filter(status__in=sources(CANCELLED))
    return sum(len(cancel_batch(batch, using=jobs.db)) for batch in _batches(unfinished))


def cancel_batch(pks: Sequence[int], *, using: str) -> list[int]:
    """Cancel those of the jobs that are not finished, and return which those were."""
    stopped = _cancel_batch(pks, using=using)
    _follow_up_cancel(stopped, using=using)
    return [job.pk for job in stopped]


def _follow_up_cancel(stopped: Sequence[Job], *, using: str) -> None:
    if not stopped:
        return
    _note_cancellation()
    if transaction.get_connection(using).in_atomic_block:
        transaction.on_commit(_note_cancellation, using=using, robust=True)
    concurrency.look_again(stopped, using=using)
    waits.wake_parents(stopped, using=using)
    signals.announce(signals.job_cancelled, stopped)
    cancel(waits.children_to_cancel(stopped, using=using))


@retried
def _cancel_batch(pks: Sequence[int], *, using: str) -> list[Job]:
    with transaction.atomic(using=using):
        rows = Job.objects.using(using).filter(pk__in=pks)
        locked = rows.filter(status__in=sources(CANCELLED)).select_for_update()
        jobs = list(locked.order_by("pk").annotate(now=DatabaseNow()))
        if not jobs:
            return []
        now = jobs[0].now  # type: ignore[attr-defined]
        values: dict[str, Any] = {
            "error": CANCELLED_ERROR, "completed_at": now, "updated_at": now,
        }  # fmt: skip
        move(rows.filter(pk__in=[job.pk for job in jobs]), CANCELLED, **values)
    for job in jobs:
        job.status = JobStatus.CANCELLED
        for name, value in values.items():
            setattr(job, name, value)
    return jobs


def retry(jobs: QuerySet[Job]) -> int:
    """Make failed and cancelled jobs ready again; return how many that was.

    Finished steps stay finished, counters start again at 0. A cancelled job whose handler
    has not left yet is left alone, or it would run twice at once. Raises DuplicateJobError,
    changing nothing in that batch, where the `unique` twin of a job is unfinished.
    """
    ended = jobs.filter(status__in=RETRIABLE)
    return sum(len(retry_batch(batch, using=jobs.db)) for batch in _batches(ended))


def retry_batch(pks: Sequence[int], *, using: str) -> list[int]:
    """Make those of the jobs ready that can be retried, and return which those were."""
    retried_jobs = _retry_batch(pks, using=using)
    _follow_up_retry(pks, using=using)
    if retried_jobs:
        notify(using=using)
    return retried_jobs


def _follow_up_retry(pks: Sequence[int], *, using: str) -> None:
    # One that was cancelled as it ran may have kept its key until now.
    keyed = Job.objects.using(using).filter(pk__in=pks, concurrency_limit__isnull=False)
    concurrency.look_again(keyed, using=using)


@retried
def _retry_batch(pks: Sequence[int], *, using: str) -> list[int]:
    with _refusing_twins(), transaction.atomic(using=using):
        ready_again = _lock_retriable(pks, using)
        _make_ready_again(ready_again, using)
    return ready_again


def retry_from(job_id: int, step_id: int, *, using: str) -> bool:
    """Make a failed or cancelled job ready again without a step and what came after it.

    `step_id` is that of the TaskStatus. Unfinished children that a forgotten step enqueued
    are cancelled, since it will enqueue others; the events that it took can be taken again.
    Returns False, with nothing changed, where the job cannot be retried any more or has no
    such step. Raises DuplicateJobError as retry() does.
    """
    stopped = _retry_from(job_id, step_id, using=using)
    if stopped is None:
        return False
    _follow_up_cancel(stopped, using=using)
    _follow_up_retry([job_id], using=using)
    notify(using=using)
    return True


@retried
def _retry_from(job_id: int, step_id: int, *, using: str) -> list[Job] | None:
    """Return the children that were cancelled, None where nothing was changed."""
    with _refusing_twins(), transaction.atomic(using=using):
        held = _lock_retriable([job_id], using)
        steps = steps_from(job_id, step_id, using=using) if held else []
        if not steps:
            return None
        stopped = _cancel_batch(enqueued_by(steps), using=using)
        TaskStatus.objects.using(using).filter(pk__in=[step.pk for step in steps]).delete()
        _make_ready_again([job_id], using)
        JobLog.objects.using(using).create(job_id=job_id, **_note_of_retry(steps))
    return stopped


def _note_of_retry(steps: Sequence[TaskStatus]) -> dict[str, Any]:
    return {
        "state": LogState.MESSAGE,
        "level": logging.INFO,
        "message": "Retried from a step.",
        "data": {"run_again": [str(step) for step in steps]},
    }


def _lock_retriable(pks: Sequence[int], using: str) -> list[int]:
    """Lock what failed or was cancelled, and whose handler has left."""
    rows = Job.objects.using(using).filter(pk__in=pks, status__in=RETRIABLE)
    left = rows.filter(Q(processing_until__isnull=True) | Q(processing_until__lte=DatabaseNow()))
    return list(left.select_for_update().order_by("pk").values_list("pk", flat=True))


def _make_ready_again(pks: Sequence[int], using: str) -> None:
    steps = TaskStatus.objects.using(using).filter(job__in=pks, complete=False)
    steps.update(total_tried=0, total_failed=0)
    move(Job.objects.using(using).filter(pk__in=pks), READY, **_anew())


@contextmanager
def _refusing_twins() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise DuplicateJobError(
            "A job with the same unique key as one of these is unfinished. "
            "Wait for it, or cancel it first."
        ) from error


def _anew() -> dict[str, Any]:
    return {
        "error": None,
        "error_group": None,
        "output": None,
        "completed_at": None,
        "wait_until": None,
        "gate": Gate.OPEN,
        "total_tried": 0,
        "crashes": 0,
        "processing_token": None,
        "processing_until": None,
        "updated_at": DatabaseNow(),
    }


def prune(jobs: QuerySet[Job], *, before: datetime | None = None, most: int | None = None) -> int:
    """Delete finished jobs, in batches; return how many.

    Without `before`, each status keeps its jobs as long as the setting RETENTION says. When
    `most` are deleted the rest is left for later.
    """
    deleted = 0
    finished = jobs.filter(status__in=FINISHED, processing_token__isnull=True)
    for condition in _expired(before):
        for batch in _batches(finished.filter(condition)):
            ended = condition & Q(status__in=FINISHED)
            deleted += len(_delete_batch(batch, ended, using=jobs.db))
            if most is not None and deleted >= most:
                return deleted
    return deleted


def _expired(before: datetime | None) -> list[Q]:
    if before is not None:
        return [Q(completed_at__lt=before)]
    retention = conf.get().RETENTION
    return [
        Q(status=status, completed_at__lt=DatabaseNow() - age) for status, age in retention.items()
    ]


def delete_batch(pks: Sequence[int], *, using: str) -> list[int]:
    """Delete those of the jobs that no worker holds, and return which those were.

    A job that waits for a child that is deleted is woken, to find out.
    """
    awaited = Wait.objects.using(using).filter(child__in=pks)
    parents = list(awaited.values_list("job", flat=True))
    deleted = _delete_batch(pks, Q(processing_token__isnull=True), using=using)
    concurrency.look_again(deleted, using=using)
    if deleted:
        waits.wake(parents, using=using)
    return [job.pk for job in deleted]


@retried
def _delete_batch(pks: Sequence[int], condition: Q, *, using: str) -> list[Job]:
    with transaction.atomic(using=using):
        rows = Job.objects.using(using).filter(condition, pk__in=pks).order_by("pk")
        needed = ("queue", "concurrency_key", "concurrency_limit")
        jobs = list(rows.only(*needed).select_for_update())
        Job.objects.using(using).filter(pk__in=[job.pk for job in jobs]).delete()
    return jobs


def run_now_batch(pks: Sequence[int], *, using: str) -> list[int]:
    """Let those of the jobs that are ready, delayed or to be retried be the next to run.

    A worker still has to run them, and their keys still hold. Return which those were.
    """
    hurried = _run_now_batch(pks, using=using)
    concurrency.look_again(hurried, using=using)
    if hurried:
        notify({job.queue for job in hurried}, using=using)
    return [job.pk for job in hurried]


@retried
def _run_now_batch(pks: Sequence[int], *, using: str) -> list[Job]:
    with transaction.atomic(using=using):
        rows = Job.objects.using(using).filter(pk__in=pks, status=READY).order_by("pk")
        jobs = list(rows.select_for_update())
        ready = Job.objects.using(using).filter(pk__in=[job.pk for job in jobs], status=READY)
        ready.update(priority=HIGHEST, wait_until=None, updated_at=DatabaseNow())
    return jobs


def _batches(jobs: QuerySet[Job]) -> Iterator[list[int]]:
    """Yield the primary keys in batches, each looked up when the one before is done."""
    last = 0
    while True:
        ids = list(jobs.order_by("pk").filter(pk__gt=last).values_list("pk", flat=True)[:BATCH])
        if ids:
            yield ids
        if len(ids) < BATCH:
            return
        last = ids[-1]


def pause_queue(name: str, *, by: str = "", using: str) -> bool:
    """Pause the queue; return False where it was paused already."""
    Queue.objects.using(using).get_or_create(name=name)
    queue = Queue.objects.using(using).filter(name=name, paused=False)
    return bool(queue.update(paused=True, paused_at=DatabaseNow(), paused_by=by))


def resume_queue(name: str, *, using: str) -> bool:
    """Resume the queue; return False where it was not paused."""
    queue = Queue.objects.using(using).filter(name=name, paused=True)
    resumed = bool(queue.update(paused=False, paused_at=None, paused_by=""))
    if resumed:
        notify([name], using=using)
    return resumed
