"""Django's signals for what happens to the jobs of its tasks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.dispatch import Signal

from django_jobs import signals
from django_jobs.tasks import registry
from django_jobs.tasks_backend.backend import JobsBackend
from django_jobs.tasks_backend.compat import (
    Task,
    task_backends,
    task_enqueued,
    task_finished,
    task_started,
)
from django_jobs.tasks_backend.stored import StoredTask, own_name

if TYPE_CHECKING:
    from django_jobs.models import Job


def connect() -> None:
    registry.look_elsewhere_with(_declared_elsewhere)
    for signal, passed_on in (
        (signals.job_enqueued, task_enqueued),
        (signals.job_started, task_started),
        (signals.job_succeeded, task_finished),
        (signals.job_failed, task_finished),
        (signals.job_cancelled, task_finished),
    ):
        signal.connect(_passing_on(passed_on), weak=False, dispatch_uid=__name__)


def _passing_on(signal: Signal) -> Callable[..., None]:
    """Return a receiver that sends Django's signal for the job of a task."""

    def receive(*, job: Job, **kwargs: Any) -> None:
        declaration = registry.find(job.slug, look_elsewhere=False)
        if not isinstance(declaration, StoredTask):
            return
        from django_jobs.tasks_backend.results import result_of

        if job.is_finished and job.completed_at is None:
            job.refresh_from_db()
        result = result_of(job, declaration, worker=own_name())
        signal.send_robust(sender=type(result.task.get_backend()), task_result=result)

    return receive


def _declared_elsewhere(slug: str) -> StoredTask | None:
    """Find a task that is declared for another backend and enqueued with `using(backend=)`.

    Only what has been imported already is looked at.
    """
    module, _, name = slug.rpartition(".")
    task = getattr(sys.modules.get(module), name, None)
    backends = [backend for backend in task_backends.all() if isinstance(backend, JobsBackend)]
    if not isinstance(task, Task) or task.module_path != slug or not backends:
        return None
    return backends[0].declaration(task)
