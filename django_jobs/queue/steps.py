"""Which steps a job has to forget to be run again from one of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from django_jobs.models import CHILD_SLUG, Job, JobLog, TaskStatus

Key = tuple[str, str]
"""A slug and a task id."""


def steps_from(job_id: int, step_id: int, *, using: str) -> list[TaskStatus]:
    """Return the step and all that were recorded after it, oldest first.

    With a step go those within it and those around it: a step around it that succeeded
    would not run again, nor would this one then. What ran before it within the same step
    stays. Nothing is returned where the job has no such step.
    """
    steps = list(TaskStatus.objects.using(using).filter(job=job_id).order_by("pk"))
    chosen = next((step for step in steps if step.pk == step_id), None)
    if chosen is None:
        return []
    later = [key_of(step) for step in steps if step.pk >= step_id]
    forgotten = _with_relatives(key_of(chosen), later, parents_of(job_id, using=using))
    return [step for step in steps if key_of(step) in forgotten]


def key_of(step: TaskStatus) -> Key:
    return step.task_slug, step.task_id


def parents_of(job_id: int, *, using: str) -> dict[Key, Key]:
    """Return for each step that ran within another which one that was."""
    nested = JobLog.objects.using(using).filter(job=job_id).exclude(parent_task_id="")
    columns = ("task_slug", "task_id", "parent_task_slug", "parent_task_id")
    rows = nested.order_by().values_list(*columns).distinct()
    return {(slug, id): (parent, parent_id) for slug, id, parent, parent_id in rows}


def _with_relatives(
    chosen: Key, later: Collection[Key], parents: Mapping[Key, Key]
) -> set[Key]:  # fmt: skip
    around = set(_around(chosen, parents))
    again = set(later) - around
    within = {key for key in parents if not again.isdisjoint(_around(key, parents))}
    return again | within | {outer for key in again for outer in _around(key, parents)}


def _around(key: Key, parents: Mapping[Key, Key]) -> Iterator[Key]:
    """Yield the steps that a step ran within, from the innermost."""
    seen = {key}
    while (outer := parents.get(key)) is not None and outer not in seen:
        yield outer
        seen.add(outer)
        key = outer


def enqueued_by(steps: Sequence[TaskStatus]) -> list[int]:
    """Return the jobs that these steps enqueued as children of their own job."""
    if not steps:
        return []
    ids = [int(step.output or 0) for step in steps if step.task_slug == CHILD_SLUG]
    # One found by its unique key is somebody else's.
    children = Job.objects.using(steps[0]._state.db).filter(pk__in=ids, parent=steps[0].job_id)
    return list(children.order_by("pk").values_list("pk", flat=True))
