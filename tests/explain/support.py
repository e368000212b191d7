"""Workers that are rows only, and what is said of a job beside them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from django_jobs import task
from django_jobs.explain import Explanation, explain
from django_jobs.models import Job, Worker


def add_worker(*queues: str, silent_for: float = 0, **fields: Any) -> Worker:
    """Add a worker that listens to these queues, or to all."""
    beat = timezone.now() - timedelta(seconds=silent_for)
    return Worker.objects.create(
        **{"host": "web1", "pid": 4711, "queues": list(queues), **fields},
        started_at=beat, last_heartbeat_at=beat,
    )  # fmt: skip


def work_task(**options: Any) -> Any:
    @task(**{"slug": "work", **options})
    def work(fail: bool = False) -> None:
        if fail:
            raise ValueError("no answer\nfrom the other side")

    return work


def explained(job: Job) -> Explanation:
    return explain([Job.objects.get(pk=job.pk)], using="default")[job.pk]
