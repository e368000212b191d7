"""What is stored. What happens to a row is in `django_jobs.queue`."""

from __future__ import annotations

from django_jobs.models.job import Job
from django_jobs.models.querysets import JobQuerySet, JobsManager, database_alias
from django_jobs.models.records import JobLog, TaskStatus
from django_jobs.models.schedules import JobSchedule, ScheduleRun
from django_jobs.models.throughput import Throughput
from django_jobs.models.vocabulary import (
    ALL_QUEUES,
    CHILD_SLUG,
    EVENT_SLUG,
    FINISHED,
    INLINE_SLUG,
    SINGLE_TASK_ID,
    SLEEP_SLUG,
    UNFINISHED,
    USUAL_ORDER,
    Gate,
    JobKind,
    JobStatus,
    LogState,
)
from django_jobs.models.waits import Event, Wait
from django_jobs.models.workers import Overview, Queue, Worker

__all__ = [
    "ALL_QUEUES",
    "CHILD_SLUG",
    "EVENT_SLUG",
    "FINISHED",
    "INLINE_SLUG",
    "SINGLE_TASK_ID",
    "SLEEP_SLUG",
    "UNFINISHED",
    "USUAL_ORDER",
    "Event",
    "Gate",
    "Job",
    "JobKind",
    "JobLog",
    "JobQuerySet",
    "JobSchedule",
    "JobStatus",
    "JobsManager",
    "LogState",
    "Overview",
    "Queue",
    "ScheduleRun",
    "TaskStatus",
    "Throughput",
    "Wait",
    "Worker",
    "database_alias",
]
