"""A job as Django's TaskResult.

Imported late, for it needs the models, and tasks are declared before there are any.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django_jobs import exceptions
from django_jobs.models import Job, JobLog, JobStatus, LogState, Worker
from django_jobs.tasks_backend.compat import (
    InvalidTask,
    InvalidTaskBackend,
    TaskError,
    TaskResult,
    TaskResultStatus,
)
from django_jobs.tasks_backend.stored import StoredTask, arguments_of, meta_of

STATUSES = {
    JobStatus.READY: TaskResultStatus.READY,
    JobStatus.WAITING: TaskResultStatus.READY,
    JobStatus.RUNNING: TaskResultStatus.RUNNING,
    JobStatus.SUCCESSFUL: TaskResultStatus.SUCCESSFUL,
    JobStatus.FAILED: TaskResultStatus.FAILED,
    JobStatus.CANCELLED: TaskResultStatus.FAILED,
}


def result_of(job: Job, declaration: StoredTask, *, worker: str | None = None) -> Any:
    """Return the job as a TaskResult; `worker` is who asks, where that is who runs it."""
    task = _task_of(job, declaration)
    args, kwargs = arguments_of(job, declaration)
    attempts = _Attempts(job, worker)
    result: Any = TaskResult(
        task=task,
        id=str(job.pk),
        status=STATUSES[JobStatus(job.status)],
        enqueued_at=job.created_at,
        started_at=attempts.started_at,
        last_attempted_at=job.started_at,
        finished_at=job.completed_at,
        args=args,
        kwargs=kwargs,
        backend=task.backend,
        errors=attempts.errors,
        worker_ids=attempts.worker_ids,
    )
    object.__setattr__(result, "_return_value", job.output)
    return result


def _task_of(job: Job, declaration: StoredTask) -> Any:
    """Return the task as it was enqueued, or as it is declared where that is valid no more."""
    try:
        return declaration.task.using(
            priority=job.priority, queue_name=job.queue, run_after=job.wait_until,
            backend=meta_of(job).get("backend"),
        )  # fmt: skip
    except (InvalidTask, InvalidTaskBackend):
        return declaration.task


class _Attempts:
    """What is known of the attempts at a job."""

    def __init__(self, job: Job, worker: str | None) -> None:
        self.job = job
        self.worker = worker
        self.entries = self._entries()

    @property
    def started_at(self) -> datetime | None:
        # Of a first attempt both are known, by two clocks.
        moments = [entry.executed_at for entry in self.entries[:1]] + [self.job.started_at]
        return min((moment for moment in moments if moment is not None), default=None)

    @property
    def worker_ids(self) -> list[str]:
        ended = [str((entry.data or {}).get("worker", "")) for entry in self.entries]
        return [*ended, self._running_worker()] if self.job.status == JobStatus.RUNNING else ended

    @property
    def errors(self) -> list[Any]:
        failed = [entry for entry in self.entries if entry.error is not None]
        found = [_task_error(entry.error, entry.data) for entry in failed]
        if self.job.has_error and (not failed or failed[-1].error != self.job.error):
            # It was cancelled from outside, or lost with its worker.
            found.append(_task_error(self.job.error, None))
        return found

    def _entries(self) -> list[JobLog]:
        """Return the log entries of the attempts that have ended.

        A worker spares itself the query, and with it a connection, where it knows them.
        """
        job, first = self.job, self.job.total_tried == 0
        if first and not job.is_finished:
            return []
        if self.worker and job.status == JobStatus.SUCCESSFUL and job.total_tried == 1:
            started_at = job.started_at or job.created_at
            return [JobLog(executed_at=started_at, data={"worker": self.worker})]
        entries = job.log.filter(task_slug=job.slug, parent_task_slug="")
        return list(entries.exclude(state=LogState.MESSAGE))

    def _running_worker(self) -> str:
        """Return who runs the job now; without a Worker row, its claim stands for it."""
        if self.worker is not None:
            return self.worker
        worker = Worker.objects.using(self.job._state.db).filter(pk=self.job.worker_id).first()
        return str(self.job.processing_token if worker is None else worker)


def _task_error(error: Mapping[str, Any] | None, notes: Mapping[str, Any] | None) -> Any:
    error = error or {}
    name = error.get("name", "Exception")
    return TaskError(
        exception_class_path=_path(name, (notes or {}).get("exception", "")),
        traceback=error.get("traceback") or f"{name}: {error.get('message', '')}",
    )


def _path(name: str, noted: str) -> str:
    """Return the dotted path of an exception class of which the record has the name only.

    What was noted is another one where the worker ended the handler, for a timeout.
    """
    if noted.rpartition(".")[2] == name:
        return noted
    if hasattr(exceptions, name):
        return f"{exceptions.__name__}.{name}"
    return f"builtins.{name if hasattr(builtins, name) else 'Exception'}"
