"""Children obey the options of their task as jobs enqueued by hand do."""

from __future__ import annotations

from typing import Any

import pytest

from django_jobs import Concurrency, jobs, signals, task, workflow
from django_jobs.models import Job, JobStatus, Wait

pytestmark = pytest.mark.django_db


def test_a_child_supersedes_the_one_before_it() -> None:
    @task(slug="render", concurrency=Concurrency(lambda input, queue: "page", supersedes=True))
    def render(version: int) -> int:
        return version

    @workflow(slug="publish")
    def publish(ctx: Any) -> None:
        for version in (1, 2):
            ctx.enqueue_child(str(version), render, version=version)

    publish.enqueue()
    jobs.run(where=None, limit=1)
    assert [job.input for job in Job.objects.filter(slug="render")] == [{"version": 2}]


def test_a_child_is_announced_once() -> None:
    announced: list[str] = []

    def listen(*, job: Job, **kwargs: Any) -> None:
        announced.append(job.slug)

    @task(slug="leaf")
    def leaf() -> None: ...

    @workflow(slug="tree")
    def tree(ctx: Any) -> None:
        ctx.wait_for([ctx.enqueue_child("leaf", leaf)])

    signals.job_enqueued.connect(listen)
    try:
        job = tree.enqueue()
        for _ in range(3):
            jobs.run()
    finally:
        signals.job_enqueued.disconnect(listen)
    job.refresh_from_db()
    assert job.status == JobStatus.SUCCESSFUL
    assert announced == ["tree", "leaf"]


def test_a_parent_wakes_when_a_unique_child_ends_that_somebody_else_enqueued() -> None:
    @task(slug="shared", unique=True, queue="slow")
    def shared() -> str:
        return "done"

    @workflow(slug="sharing")
    def sharing(ctx: Any) -> Any:
        return [child.output for child in ctx.wait_for([ctx.enqueue_child("it", shared)])]

    shared.enqueue()
    parent = sharing.enqueue()
    jobs.run()
    parent.refresh_from_db()
    assert parent.status == JobStatus.WAITING
    jobs.run(queue="slow")
    jobs.run()
    parent.refresh_from_db()
    assert parent.output == ["done"]
    assert not Wait.objects.exists()
