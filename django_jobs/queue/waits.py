"""Jobs that have left their worker to wait: for a time, an event, or their children.

Both sides look again after their commit: the job that begins to wait, whether what it waits
for has come; the event or the child that ended, who waits for it. So none is lost to a race,
whichever commits first. The time that every wait is limited to covers a crash in between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from django_jobs.fields import DatabaseNow
from django_jobs.models import UNFINISHED, Event, Gate, Job, JobStatus, Wait
from django_jobs.queue.lifecycle import READY, move
from django_jobs.queue.notify import notify


def check_event_name(name: Any) -> None:
    if not isinstance(name, str) or not name or len(name) > 255 or "\x00" in name:
        raise ValueError("The name of an event must be a string of 1 to 255 characters.")


def insert(waits: Sequence[Wait], *, using: str) -> None:
    """Write down what jobs wait for, in place of what they waited for before."""
    if waits:
        forget({wait.job_id for wait in waits}, using=using)
        Wait.objects.using(using).bulk_create(waits)


def forget(job_ids: Collection[int], *, using: str) -> None:
    Wait.objects.using(using).filter(job__in=job_ids).delete()


def send_event(name: str, payload: Any, *, using: str) -> None:
    """Keep the event, and wake every job that waits for it when the transaction commits."""
    Event.objects.using(using).create(name=name, payload=payload)
    wake = partial(_wake_waiters, name, using)
    wake()
    if transaction.get_connection(using).in_atomic_block:
        transaction.on_commit(wake, using=using, robust=True)


def oldest_event(name: str, *, since: datetime, taken: Collection[int], using: str) -> Event | None:
    """Return the oldest event of the name sent `since`, but for those that are `taken`."""
    events = Event.objects.using(using).filter(name=name, created_at__gte=since)
    event: Event | None = events.exclude(pk__in=taken).order_by("id").first()
    return event


def _wake_waiters(name: str, using: str) -> None:
    waiting = Wait.objects.using(using).filter(event=name).values_list("job", flat=True)
    wake(list(waiting), using=using)


def wake(job_ids: Sequence[int], *, using: str) -> None:
    """Make waiting jobs ready."""
    if job_ids:
        rows = Job.objects.using(using).filter(pk__in=job_ids, status=JobStatus.WAITING)
        now = DatabaseNow()
        if move(rows, READY, gate=Gate.DUE, wait_until=now, updated_at=now):
            notify(using=using)


def look_again(job: Job, taken: Collection[int], *, using: str) -> None:
    """Wake the job if what it waits for has come while it was about to wait.

    It takes each event once: those it has `taken` are no reason.
    """
    rows = Wait.objects.using(using).filter(job=job)
    sent = Event.objects.using(using).filter(name=OuterRef("event"), created_at__gte=job.created_at)
    if rows.filter(Exists(sent.exclude(pk__in=taken))).exists():
        wake([job.pk], using=using)
    else:
        _wake_if_children_ended([job.pk], using)


def wake_parents(jobs: Iterable[Job], *, using: str) -> None:
    """Wake the jobs all of whose awaited children have ended, now that these have."""
    # A job with a unique key may be awaited by one that found it there, and is not its parent.
    ended = [
        job.pk
        for job in jobs
        if (job.parent_id is not None or job.unique_key is not None) and job.is_finished
    ]
    if not ended:
        return
    awaited = Wait.objects.using(using).filter(child__in=ended)
    _wake_if_children_ended(list(awaited.values_list("job", flat=True)), using)
    if transaction.get_connection(using).in_atomic_block:
        again = partial(wake_parents, list(jobs), using=using)
        transaction.on_commit(again, using=using, robust=True)


def _wake_if_children_ended(job_ids: Sequence[int], using: str) -> None:
    if not job_ids:
        return
    children = Wait.objects.using(using).filter(job=OuterRef("pk"), child__isnull=False)
    left = children.filter(child__status__in=UNFINISHED)
    rows = Job.objects.using(using).filter(pk__in=set(job_ids))
    wake(
        list(rows.filter(Exists(children), ~Exists(left)).values_list("pk", flat=True)), using=using
    )


def children_to_cancel(jobs: Sequence[Job], *, using: str) -> QuerySet[Job]:
    """Return the children of these that wait to run, or to run on."""
    idle = Q(status__in=(JobStatus.READY, JobStatus.WAITING))
    children: QuerySet[Job] = Job.objects.using(using).filter(
        idle, parent__in=[job.pk for job in jobs]
    )
    return children
