"""Write a past into the database, and what belongs to its jobs."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import DateTimeField, ExpressionWrapper, F
from django.utils import timezone

from django_jobs.models import Job, JobLog, Queue, TaskStatus, Throughput, Worker
from django_jobs.models.vocabulary import INLINE_SLUG, JobKind, JobStatus, LogState
from scale.past import TASKS, Past

SPAN = timedelta(days=14)
# So many are made one by one; the database copies them for every later part of the span.
MADE = 10_000
TIMES = ("created_at", "started_at", "completed_at", "updated_at")
# One in so many workflows has kept its steps and log, as if the others had been pruned of them.
WITH_STEPS = 20
STEPS = ("fetch", "transform", "write")
LONG_LOG = 10_000


def fill(total: int, *, report: Callable[[int], None]) -> None:
    """Add so many jobs, telling `report` how many have been added."""
    now = timezone.now()
    past = Past(total, now, add_workers(now))
    finished = total - len(past.kinds)
    span = SPAN * min(MADE, finished) / finished
    made = store(past.finished(min(MADE, finished), now - SPAN, span))
    for added in range(MADE, finished, MADE):
        report(added)
        copy(made[: finished - added], by=span * (added / MADE))
    store(past.unfinished(timedelta(hours=1)))
    report(total)
    add_long_log(
        Job.objects.filter(status=JobStatus.FAILED).order_by("-id")[0], min(LONG_LOG, total // 10)
    )
    add_throughput(now)
    Queue.objects.update_or_create(
        name="mail", defaults={"paused": True, "paused_at": now, "paused_by": "ada"}
    )
    if connection.vendor == "postgresql":
        # What autovacuum does within a minute.
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")


def store(jobs: Iterator[Job]) -> list[Job]:
    stored = Job.objects.bulk_create(jobs, batch_size=1_000)
    add_records(stored)
    return stored


def copy(jobs: list[Job], *, by: timedelta) -> None:
    """Add the same jobs once more, so much later."""
    fields = [
        field.name for field in Job._meta.concrete_fields
        if not field.primary_key and not field.generated
    ]  # fmt: skip
    later = {name: ExpressionWrapper(F(name) + by, DateTimeField()) for name in TIMES}
    rows = Job.objects.filter(pk__gte=jobs[0].pk, pk__lte=jobs[-1].pk).order_by("id")
    values = [later.get(name, F(name)) for name in fields]
    select, params = rows.values_list(*values).query.sql_with_params()
    quote = connection.ops.quote_name
    columns = ", ".join(quote(Job._meta.get_field(name).column) for name in fields)
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {quote(Job._meta.db_table)} ({columns}) {select}", params)


def add_workers(now: datetime) -> Worker:
    """Return a worker that is alive for as long as nobody looks at its heartbeat again."""
    gone = now - timedelta(minutes=10)
    for heartbeat in (gone, now):
        worker = Worker.objects.create(
            host=socket.gethostname(), pid=os.getpid(), queues=["default", "media"],
            started_at=gone, last_heartbeat_at=heartbeat, jobs_running=20,
        )  # fmt: skip
    return worker


def add_records(jobs: list[Job]) -> None:
    """Give the newest attempt of some workflows its steps and its log, and adopt some jobs."""
    workflows = [job for job in jobs if job.kind == JobKind.WORKFLOW and job.completed_at]
    chosen = workflows[::WITH_STEPS]
    TaskStatus.objects.bulk_create([status for job in chosen for status in steps_of(job)])
    JobLog.objects.bulk_create([entry for job in chosen for entry in log_of(job)])
    for parent in chosen[::10]:
        Job.objects.filter(pk__gt=parent.pk, pk__lte=parent.pk + 3).update(parent=parent)


def steps_of(job: Job) -> Iterator[TaskStatus]:
    for name in STEPS:
        yield TaskStatus(
            job=job, task_slug=INLINE_SLUG, task_id=name, input={"customer": 7},
            output={"lines": 12}, complete=job.status == JobStatus.SUCCESSFUL, total_tried=1,
        )  # fmt: skip


def log_of(job: Job) -> Iterator[JobLog]:
    for number, name in enumerate(STEPS):
        begun = job.started_at + timedelta(milliseconds=50 * number)
        yield JobLog(
            job=job, attempt=1, task_slug=INLINE_SLUG, task_id=name, state=LogState.SUCCEEDED,
            executed_at=begun, completed_at=begun + timedelta(milliseconds=45),
            input={"customer": 7}, output={"lines": 12},
        )  # fmt: skip
        yield JobLog(
            job=job, attempt=1, state=LogState.MESSAGE, level=20, message=f"{name}: 12 lines",
            executed_at=begun, completed_at=begun,
        )  # fmt: skip


def add_long_log(job: Job, lines: int) -> None:
    JobLog.objects.bulk_create(
        [
            JobLog(job=job, attempt=1, state=LogState.MESSAGE, level=20, message=f"Line {n}")
            for n in range(lines)
        ],
        batch_size=1_000,
    )


def add_throughput(now: datetime) -> None:
    """Count the last day, minute by minute, with more by day than by night."""
    start = now.replace(second=0, microsecond=0)
    Throughput.objects.bulk_create(
        [
            Throughput(
                queue=queue, minute=start - timedelta(minutes=ago), failed=ago % 7 == 0,
                succeeded=weight * (1 + abs(720 - ago) // 240) // 2, retried=ago % 5 == 0,
            )
            for _slug, _kind, queue, weight in TASKS[:2]
            for ago in range(24 * 60)
        ],
        batch_size=1_000, ignore_conflicts=True,
    )  # fmt: skip
