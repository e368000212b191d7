"""What the tests of schedules share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django_jobs import Schedule, Task, jobs, task
from django_jobs.models import Job, JobSchedule
from django_jobs.tasks import registry


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def declare(*schedules: str | Schedule, slug: str = "scheduled", **options: Any) -> Task:
    """Declare a task in place of an earlier one of the slug, as another version of the code."""
    registry._declarations.pop(slug, None)

    def handler(number: int = 0) -> int:
        return number

    return task(slug=slug, schedule=list(schedules), **options)(handler)


def declare_and_plan(*schedules: str | Schedule, **options: Any) -> Task:
    """Declare a task and have its schedules seen for the first time."""
    declared = declare(*schedules, **options)
    jobs.handle_schedules()
    return declared


def row(slug: str = "scheduled", **condition: Any) -> JobSchedule:
    return JobSchedule.objects.get(slug=slug, **condition)


def finish_jobs() -> None:
    Job.objects.filter(status=Job.Status.READY).update(status=Job.Status.SUCCESSFUL)


def due_times(slug: str = "scheduled") -> list[datetime]:
    """Return the due times that jobs were enqueued for."""
    jobs = Job.objects.filter(slug=slug).order_by("id")
    return [wait_until for wait_until in jobs.values_list("wait_until", flat=True) if wait_until]
