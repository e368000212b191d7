"""Background jobs for Django, kept in the project's own database.

Public names are resolved on first use, so that importing the package never
imports a model and tasks can be declared before the app registry is ready.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_jobs import jobs as jobs
    from django_jobs.exceptions import (
        DuplicateJobError as DuplicateJobError,
    )
    from django_jobs.exceptions import (
        EventTimeoutError as EventTimeoutError,
    )
    from django_jobs.exceptions import (
        InvalidInputError as InvalidInputError,
    )
    from django_jobs.exceptions import (
        JobCancelledError as JobCancelledError,
    )
    from django_jobs.exceptions import (
        JobsError as JobsError,
    )
    from django_jobs.exceptions import (
        RetryLater as RetryLater,
    )
    from django_jobs.exceptions import (
        TaskTimeoutError as TaskTimeoutError,
    )
    from django_jobs.exceptions import (
        UnknownTaskError as UnknownTaskError,
    )
    from django_jobs.exceptions import (
        WorkerLostError as WorkerLostError,
    )
    from django_jobs.tasks.declare import (
        register_task as register_task,
    )
    from django_jobs.tasks.declare import (
        register_workflow as register_workflow,
    )
    from django_jobs.tasks.declare import task as task
    from django_jobs.tasks.declare import workflow as workflow
    from django_jobs.tasks.options import Concurrency as Concurrency
    from django_jobs.tasks.retry import Retry as Retry
    from django_jobs.tasks.schedule import EnqueueSchedule as EnqueueSchedule
    from django_jobs.tasks.schedule import Schedule as Schedule
    from django_jobs.tasks.schedule import SkipSchedule as SkipSchedule
    from django_jobs.tasks.task import Task as Task
    from django_jobs.tasks.task import Workflow as Workflow
    from django_jobs.worker.context import JobContext as JobContext
    from django_jobs.worker.pipeline import Step as Step
    from django_jobs.worker.pipeline import workflow_from_steps as workflow_from_steps

__version__ = "0.1.0"

_HOMES = {
    "jobs": "django_jobs.jobs",
    "task": "django_jobs.tasks.declare",
    "workflow": "django_jobs.tasks.declare",
    "register_task": "django_jobs.tasks.declare",
    "register_workflow": "django_jobs.tasks.declare",
    "workflow_from_steps": "django_jobs.worker.pipeline",
    "Step": "django_jobs.worker.pipeline",
    "Task": "django_jobs.tasks.task",
    "Workflow": "django_jobs.tasks.task",
    "Retry": "django_jobs.tasks.retry",
    "Concurrency": "django_jobs.tasks.options",
    "Schedule": "django_jobs.tasks.schedule",
    "SkipSchedule": "django_jobs.tasks.schedule",
    "EnqueueSchedule": "django_jobs.tasks.schedule",
    "JobContext": "django_jobs.worker.context",
    "JobsError": "django_jobs.exceptions",
    "InvalidInputError": "django_jobs.exceptions",
    "UnknownTaskError": "django_jobs.exceptions",
    "JobCancelledError": "django_jobs.exceptions",
    "RetryLater": "django_jobs.exceptions",
    "DuplicateJobError": "django_jobs.exceptions",
    "TaskTimeoutError": "django_jobs.exceptions",
    "WorkerLostError": "django_jobs.exceptions",
    "EventTimeoutError": "django_jobs.exceptions",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(_HOMES[name])
    value = home if name == "jobs" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
