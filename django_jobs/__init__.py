"""Background jobs for Django, kept in the project's own database.

Public names are resolved on first use, so that importing the package never
imports a model and tasks can be declared before the app registry is ready.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import django_jobs.jobs as jobs
    from django_jobs.autorun import run_after_response
    from django_jobs.exceptions import (
        DuplicateJobError,
        EventTimeoutError,
        InvalidInputError,
        JobCancelledError,
        JobsError,
        RetryLater,
        TaskTimeoutError,
        UnknownTaskError,
        WorkerLostError,
    )
    from django_jobs.tasks.declare import (
        register_task,
        register_workflow,
        task,
        workflow,
    )
    from django_jobs.tasks.options import (
        Concurrency,
    )
    from django_jobs.tasks.retry import (
        Retry,
    )
    from django_jobs.tasks.schedule import (
        EnqueueSchedule,
        Schedule,
        SkipSchedule,
    )
    from django_jobs.tasks.task import (
        Task,
        Workflow,
    )
    from django_jobs.worker.context import (
        JobContext,
    )
    from django_jobs.worker.pipeline import (
        Step,
        workflow_from_steps,
    )

__version__ = "0.1.0"

__all__ = [
    "Concurrency",
    "DuplicateJobError",
    "EnqueueSchedule",
    "EventTimeoutError",
    "InvalidInputError",
    "JobCancelledError",
    "JobContext",
    "JobsError",
    "Retry",
    "RetryLater",
    "Schedule",
    "SkipSchedule",
    "Step",
    "Task",
    "TaskTimeoutError",
    "UnknownTaskError",
    "WorkerLostError",
    "Workflow",
    "__version__",
    "jobs",
    "register_task",
    "register_workflow",
    "run_after_response",
    "task",
    "workflow",
    "workflow_from_steps",
]

_HOMES = {
    "django_jobs.autorun": ("run_after_response",),
    "django_jobs.exceptions": (
        "DuplicateJobError",
        "EventTimeoutError",
        "InvalidInputError",
        "JobCancelledError",
        "JobsError",
        "RetryLater",
        "TaskTimeoutError",
        "UnknownTaskError",
        "WorkerLostError",
    ),
    "django_jobs.tasks.declare": (
        "register_task",
        "register_workflow",
        "task",
        "workflow",
    ),
    "django_jobs.tasks.options": ("Concurrency",),
    "django_jobs.tasks.retry": ("Retry",),
    "django_jobs.tasks.schedule": (
        "EnqueueSchedule",
        "Schedule",
        "SkipSchedule",
    ),
    "django_jobs.tasks.task": (
        "Task",
        "Workflow",
    ),
    "django_jobs.worker.context": ("JobContext",),
    "django_jobs.worker.pipeline": (
        "Step",
        "workflow_from_steps",
    ),
}


def __getattr__(name: str) -> Any:
    if name == "jobs":
        return import_module("django_jobs.jobs")
    for module, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(module), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
