"""What the page of a job shows besides the job: bounded windows on its log and its relatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from django_jobs.explain import Explanation, explain
from django_jobs.explain.words import capped
from django_jobs.models import Job, JobLog, JobSchedule, TaskStatus, Wait, Worker

# How many rows of each kind a page has at most.
MOST_ENTRIES = 200
MOST_STEPS = 100
MOST_CHILDREN = 20
# How far children are counted.
MOST_COUNTED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The rows that a page has, and where those begin that it has no room for."""

    rows: list[Any]
    # The key before or behind which the others are; None where there are none.
    others: int | None = None
    # Whether it is the first window, which has the newest entries or the oldest steps.
    is_first: bool = True


def entries_of(job: Job, before: int | None) -> Window:
    """Return the newest entries of the log, oldest first; those before an older one."""
    entries: QuerySet[JobLog] = job.log_entries.order_by("-id")
    if before is not None:
        entries = entries.filter(pk__lt=before)
    found = list(entries[: MOST_ENTRIES + 1])
    rows = found[:MOST_ENTRIES][::-1]
    others = rows[0].pk if len(found) > MOST_ENTRIES else None
    return Window(rows=rows, others=others, is_first=before is None)


def steps_of(job: Job, after: int | None) -> Window:
    steps: QuerySet[TaskStatus] = job.task_statuses.order_by("id")
    if after is not None:
        steps = steps.filter(pk__gt=after)
    found = list(steps[: MOST_STEPS + 1])
    rows = found[:MOST_STEPS]
    others = rows[-1].pk if len(found) > MOST_STEPS else None
    return Window(rows=rows, others=others, is_first=after is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relatives:
    """The jobs that have to do with one, each with what it does."""

    parent: tuple[Job, Explanation] | None
    children: list[tuple[Job, Explanation]]
    # How many children there are, in words; empty where all of them are listed.
    count: str
    explanation: Explanation


def relatives_of(job: Job, *, using: str) -> Relatives:
    newest = list(job.children.order_by("-id")[: MOST_CHILDREN + 1])
    children = newest[:MOST_CHILDREN]
    count = ""
    if len(newest) > len(children):
        count = capped(job.children.order_by()[: MOST_COUNTED + 1].count(), MOST_COUNTED)
    family = [job, *children, *([job.parent] if job.parent else [])]
    told = explain(family, using=using)
    return Relatives(
        parent=(job.parent, told[job.parent.pk]) if job.parent else None,
        children=[(child, told[child.pk]) for child in reversed(children)],
        count=count,
        explanation=told[job.pk],
    )


def schedule_of(job: Job, *, using: str) -> JobSchedule | None:
    """Return the schedule that enqueued the job, while its run is remembered."""
    if not job.meta.get("scheduled"):
        return None
    schedules: QuerySet[JobSchedule] = JobSchedule.objects.using(using).filter(slug=job.slug)
    return schedules.filter(runs__job=job.pk).first()


def worker_of(job: Job, *, using: str) -> Worker | None:
    """Return the worker that ran the job last, if it is remembered."""
    workers: QuerySet[Worker] = Worker.objects.using(using).filter(pk=job.worker_id or 0)
    return workers.first()


def events_awaited(job: Job, *, using: str) -> list[str]:
    waits = Wait.objects.using(using).filter(job=job.pk, event__isnull=False).order_by("id")
    return list(waits.values_list("event", flat=True)[:MOST_CHILDREN])
