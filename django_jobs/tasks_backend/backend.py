"""The backend that TASKS names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_jobs.tasks import registry
from django_jobs.tasks.declare import build
from django_jobs.tasks.retry import Retry
from django_jobs.tasks.task import Task as JobTask
from django_jobs.tasks_backend.arguments import ArgumentsSchema
from django_jobs.tasks_backend.compat import (
    BaseTaskBackend,
    InvalidTask,
    TaskResultDoesNotExist,
    normalize_json,
)
from django_jobs.tasks_backend.stored import META, JobsTask, StoredTask, handler_of

# What OPTIONS may say for all tasks of the backend, and the decorator for one.
OPTIONS = ("retries", "timeout", "concurrency")

_lock = threading.Lock()


class JobsBackend(BaseTaskBackend):
    """Stores tasks as jobs, which the workers of django_jobs run."""

    task_class = JobsTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def validate_task(self, task: Any) -> None:
        """See BaseTaskBackend; what is valid is known to workers in this process, too."""
        super().validate_task(task)
        self.declaration(task)

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Add a job, on the caller's connection and in the caller's transaction.

        Raises TypeError for arguments that JSON cannot hold, InvalidInputError for those
        that the function does not take.
        """
        from django_jobs.tasks.enqueue import Options, enqueue
        from django_jobs.tasks_backend.results import result_of

        self.validate_task(task)
        given_args: Any = normalize_json(list(args))
        given_kwargs: Any = normalize_json(dict(kwargs))
        declaration = self.declaration(task)
        options = Options(
            queue=task.queue_name,
            priority=int(task.priority),
            wait_until=task.run_after,
            retries=self._own_retries(task, declaration),
            meta={META: {"backend": self.alias, "args": len(given_args)}},
        )
        given = declaration.input_schema.bind(tuple(given_args), given_kwargs)
        return result_of(enqueue([(declaration, given, options)])[0], declaration)

    def get_result(self, result_id: str) -> Any:
        """Return the result as it is now; see BaseTaskBackend."""
        from django_jobs.models import Job, database_alias
        from django_jobs.tasks_backend.results import result_of

        try:
            job = Job.objects.using(database_alias()).get(pk=int(result_id))
        except (Job.DoesNotExist, TypeError, ValueError) as error:
            raise TaskResultDoesNotExist(result_id) from error
        declaration = registry.find(job.slug)
        if not isinstance(declaration, StoredTask):
            raise TaskResultDoesNotExist(result_id)
        return result_of(job, declaration)

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        return [*super().check(**kwargs), *self._check_installed(), *self._check_options()]

    def declaration(self, task: Any) -> StoredTask:
        """Return how jobs know the task; register it when it is seen first."""
        with _lock:
            known = registry.find(task.module_path, look_elsewhere=False)
            if isinstance(known, StoredTask) and known.task.func is task.func:
                return known
            try:
                declaration = self._build(task)
                registry.add(declaration)
            except (ImproperlyConfigured, TypeError, ValueError) as error:
                raise InvalidTask(str(error)) from error
        return declaration

    def _build(self, task: Any) -> StoredTask:
        options = {name: self._option(task, name) for name in OPTIONS}
        declaration = build(
            StoredTask, handler_of(task), slug=task.module_path, queue=task.queue_name,
            priority=int(task.priority), takes_context=True, **options,
        )  # fmt: skip
        assert isinstance(declaration, StoredTask)  # noqa: S101 - it is what was asked for
        declaration.task = task
        declaration.input_schema = ArgumentsSchema(
            task.func, takes_context=task.takes_context, where=f"The task {task.module_path!r}"
        )
        return declaration

    def _option(self, task: Any, name: str) -> Any:
        value = getattr(task, name, None)
        return _usable(name, self.options.get(name) if value is None else value)

    def _own_retries(self, task: Any, declaration: StoredTask) -> Retry | None:
        """Return the retries, where they are not those that the task was declared with."""
        retries = Retry.of(self._option(task, "retries"))
        return None if retries == declaration.retries else retries

    def _check_installed(self) -> Iterator[checks.CheckMessage]:
        if not apps.is_installed("django_jobs"):
            yield checks.Error(
                f"TASKS[{self.alias!r}] stores its tasks in models that are not installed.",
                hint="Add 'django_jobs' to INSTALLED_APPS.",
                id="django_jobs.E010",
            )

    def _check_options(self) -> Iterator[checks.CheckMessage]:
        for problem in _problems(self.options):
            yield checks.Error(
                f"TASKS[{self.alias!r}]['OPTIONS'] {problem}",
                hint=f"It takes {', '.join(OPTIONS)}.",
                id="django_jobs.E011",
            )


def _usable(name: str, value: Any) -> Any:
    """Return an option as `build` takes it; a concurrency key may be named by its path."""
    if name == "concurrency" and isinstance(value, str):
        return _imported_late(value)
    return value


def _imported_late(path: str) -> Callable[..., Any]:
    return lambda input, queue: import_string(path)(input, queue)


def _problems(options: Any) -> Iterator[str]:
    if not isinstance(options, Mapping):
        yield "must be a dict."
        return
    for name, value in options.items():
        if name not in OPTIONS:
            yield f"has the unknown key {name!r}."
            continue
        try:
            build(JobTask, _nothing, slug="tasks", **{name: _usable(name, value)})
        except (TypeError, ValueError) as error:
            yield f"has a {name!r} that cannot be used: {str(error).partition(': ')[2]}"


def _nothing() -> None: ...
