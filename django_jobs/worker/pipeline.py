"""Workflows declared as a list of steps, for pipelines that need no code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_jobs.models import Job
from django_jobs.tasks import registry
from django_jobs.tasks.declare import register
from django_jobs.tasks.retry import Retry
from django_jobs.tasks.task import Call, Task, Workflow
from django_jobs.worker.context import JobContext, Runnable


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a workflow: when it runs, and with what.

    `input` and `condition` are called with the job, whose `task_status` has what the steps
    before it returned.
    """

    task_id: str
    task: Runnable
    _: KW_ONLY
    input: Callable[[Job], Mapping[str, Any]] | Mapping[str, Any] | None = None
    condition: Callable[[Job], bool] | None = None
    retries: int | Retry | None = None
    completes_job: bool = False

    def __post_init__(self) -> None:
        _check(self)
        Retry.of(self.retries)

    @property
    def slug(self) -> str:
        return self.task if isinstance(self.task, str) else self.task.slug

    def holds(self, context: JobContext) -> bool:
        return self.condition is None or bool(self.condition(context.job))

    def runnable(self) -> Runnable:
        if self.retries is None:
            return self.task
        task = registry.get(self.task) if isinstance(self.task, str) else self.task
        return task.using(retries=self.retries)

    def input_for(self, job: Job) -> Mapping[str, Any]:
        given = self.input(job) if callable(self.input) else self.input
        return given or {}


def _check(step: Any) -> None:
    if not isinstance(step.task_id, str) or not step.task_id:
        raise TypeError("The task_id of a Step must be a string that is not empty.")
    where = f"the step {step.task_id!r}"
    if not isinstance(step.task, Task | Call | str):
        raise TypeError(f"The task of {where} must be a task or its slug.")
    if step.condition is not None and not callable(step.condition):
        raise TypeError(f"The condition of {where} must be callable.")
    if not callable(step.input) and not isinstance(step.input, Mapping | None):
        raise TypeError(f"The input of {where} must be callable or a dict.")


def workflow_from_steps(slug: str, steps: Sequence[Step], /, **options: Any) -> Workflow[..., Any]:
    """Declare a workflow of steps.

    In rounds, every step that is not complete and whose condition holds is run, those of a
    round in parallel. The job ends after a step that completes it, or when none is left to
    run. Its input is any object; its output maps the task ids to what they returned.
    """
    steps = _checked(slug, steps)

    def handler(ctx: JobContext, **input: Any) -> dict[str, Any]:
        return _run_in_rounds(ctx, steps)

    handler.__module__ = __name__
    handler.__qualname__ = f"workflow_from_steps({slug!r})"
    return register(Workflow, handler, slug=slug, **options)  # type: ignore[return-value]


def _checked(slug: str, steps: Sequence[Step]) -> tuple[Step, ...]:
    for step in steps:
        if not isinstance(step, Step):
            raise TypeError(f"The workflow {slug!r} is made of Step objects, not {step!r}.")
    keys = [(step.slug, step.task_id) for step in steps]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise ImproperlyConfigured(
            f"The workflow {slug!r} has the step {twice[1]!r} of {twice[0]!r} twice. "
            "Give one of them another task_id."
        )
    return tuple(steps)


def _run_in_rounds(context: JobContext, steps: Sequence[Step]) -> dict[str, Any]:
    left = list(steps)
    outputs: dict[str, Any] = {}
    while due := [step for step in left if step.holds(context)]:
        outputs.update(_run_round(context, due))
        if any(step.completes_job for step in due):
            break
        left = [step for step in left if step not in due]
    return outputs


def _run_round(context: JobContext, steps: Sequence[Step]) -> dict[str, Any]:
    """Run the steps at the same time; those that are complete return what they returned."""
    with context.parallel() as group:
        results = {
            step.task_id: group.run(step.task_id, step.runnable(), **step.input_for(context.job))
            for step in steps
        }
    return {task_id: result.output for task_id, result in results.items()}
