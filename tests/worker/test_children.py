"""ctx.enqueue_child() and ctx.wait_for(): fan out to jobs, and join them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.test import override_settings

from django_jobs import JobCancelledError, JobContext, jobs, task, workflow
from django_jobs.exceptions import InvalidInputError, UnknownTaskError
from django_jobs.models import Job, JobStatus, Wait
from tests.worker.support import entries, run

pytestmark = pytest.mark.django_db(transaction=True)


def run_all() -> None:
    """Run whatever is due, on any queue, until nothing is."""
    while not jobs.run(limit=100, all_queues=True).no_jobs_remaining:
        pass


def children_of(job: Job) -> list[Job]:
    return list(Job.objects.filter(parent=job).order_by("pk"))


def double_task(**options: Any) -> Any:
    @task(slug="double", **options)
    def double(number: int) -> int:
        return number * 2

    return double


def parent_of(numbers: list[int], child: Any) -> Any:
    @workflow(slug="parent")
    def parent(ctx: JobContext) -> list[Any]:
        children = [ctx.enqueue_child(f"n-{n}", child, number=n) for n in numbers]
        return [job.output for job in ctx.wait_for(children)]

    return parent


def test_children_run_while_the_parent_waits_and_come_back_in_order() -> None:
    job = parent_of([3, 1, 2], double_task()).enqueue()
    assert run(job) == "waiting"
    assert (job.status, job.processing_token) == (JobStatus.WAITING, None)
    assert [child.input for child in children_of(job)] == [{"number": n} for n in (3, 1, 2)]
    run_all()
    job.refresh_from_db()
    assert (job.status, job.output, job.total_tried) == (JobStatus.SUCCESSFUL, [6, 2, 4], 1)
    assert not Wait.objects.exists()


def test_the_parent_is_woken_by_the_last_of_its_children_only() -> None:
    job = parent_of([1, 2], double_task()).enqueue()
    run(job)
    first, second = children_of(job)
    run(first)
    job.refresh_from_db()
    assert job.status == JobStatus.WAITING
    run(second)
    job.refresh_from_db()
    assert job.status == JobStatus.READY


def test_each_child_is_enqueued_once_however_often_the_parent_runs_again() -> None:
    double = double_task()

    @workflow(retries=2)
    def parent(ctx: JobContext) -> int:
        child = ctx.enqueue_child("child", double, number=ctx.attempt)
        if ctx.attempt < 3:
            raise ValueError
        return child.pk

    job = parent.enqueue()
    for _ in range(3):
        run(job)
    assert job.status == JobStatus.SUCCESSFUL
    (child,) = children_of(job)
    assert (child.pk, child.input) == (job.output, {"number": 1})


def test_failed_and_cancelled_children_come_back_in_order_too() -> None:
    @task
    def child(kind: str) -> str:
        if kind == "fails":
            raise ValueError("on purpose")
        if kind == "cancels":
            raise JobCancelledError("on purpose")
        return kind

    @workflow
    def parent(ctx: JobContext) -> list[Any]:
        kinds = ["fails", "good", "cancels"]
        joined = ctx.wait_for([ctx.enqueue_child(kind, child, kind=kind) for kind in kinds])
        return [[job.status, job.has_error, job.output] for job in joined]

    job = parent.enqueue()
    run(job)
    run_all()
    job.refresh_from_db()
    assert job.output == [
        ["failed", True, None],
        ["successful", False, "good"],
        ["cancelled", True, None],
    ]


def test_a_child_that_an_operator_cancels_wakes_its_parent() -> None:
    job = parent_of([1], double_task()).enqueue()
    run(job)
    children_of(job)[0].cancel()
    run_all()
    job.refresh_from_db()
    assert (job.status, job.output) == (JobStatus.SUCCESSFUL, [None])


def test_a_child_that_is_retried_is_waited_for_until_its_last_attempt() -> None:
    attempts = []

    @task(retries=1)
    def flaky() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError
        return "in the end"

    @workflow
    def parent(ctx: JobContext) -> Any:
        return ctx.wait_for([ctx.enqueue_child("child", flaky)])[0].output

    job = parent.enqueue()
    run(job)
    child = children_of(job)[0]
    assert run(child) == "error"
    job.refresh_from_db()
    assert job.status == JobStatus.WAITING
    run_all()
    job.refresh_from_db()
    assert job.output == "in the end"


def test_some_of_the_children_can_be_waited_for_first() -> None:
    double = double_task()

    @workflow
    def parent(ctx: JobContext) -> list[Any]:
        one = ctx.enqueue_child("one", double, number=1)
        two = ctx.enqueue_child("two", double, number=2)
        (first,) = ctx.wait_for([two])
        ctx.inline("note", lambda: first.output)
        return [job.output for job in ctx.wait_for([one, two])]

    job = parent.enqueue()
    run(job)
    one, two = children_of(job)
    run(two)
    assert run(job) == "waiting"
    assert "note" in entries(job, "task_id")
    run(one)
    assert run(job) == "success"
    assert job.output == [2, 4]


def test_children_that_have_ended_are_not_waited_for() -> None:
    double = double_task()

    @workflow
    def parent(ctx: JobContext) -> list[Any]:
        children = [ctx.enqueue_child("one", double, number=1)]
        ctx.inline("run", lambda: run(Job.objects.get(pk=children[0].pk)))
        return [job.output for job in ctx.wait_for(children)]

    job = parent.enqueue()
    assert run(job) == "success"
    assert job.output == [2]


def test_no_children_at_all_are_not_waited_for() -> None:
    @workflow
    def parent(ctx: JobContext) -> list[Any]:
        return list(ctx.wait_for([]))

    job = parent.enqueue()
    assert run(job) == "success"


def test_children_run_on_the_queue_they_are_given() -> None:
    double = double_task(queue="media")
    job = parent_of([1], double.using(queue="gpu", priority=7)).enqueue()
    run(job)
    (child,) = children_of(job)
    assert (child.queue, child.priority) == ("gpu", 7)
    jobs.run(queue="gpu")
    job.refresh_from_db()
    assert job.status == JobStatus.READY


def test_a_workflow_can_be_a_child_and_have_children() -> None:
    double = double_task()

    @workflow
    def middle(ctx: JobContext, number: int) -> int:
        return int(ctx.wait_for([ctx.enqueue_child("leaf", double, number=number)])[0].output or 0)

    @workflow
    def top(ctx: JobContext) -> list[Any]:
        children = [ctx.enqueue_child(f"m-{n}", middle, number=n) for n in (1, 2)]
        return [job.output for job in ctx.wait_for(children)]

    job = top.enqueue()
    run(job)
    run_all()
    job.refresh_from_db()
    assert job.output == [2, 4]


def test_a_child_is_named_by_its_slug_as_well() -> None:
    double_task()

    @workflow
    def parent(ctx: JobContext) -> Any:
        return ctx.wait_for([ctx.enqueue_child("child", "double", number=4)])[0].output

    job = parent.enqueue()
    run(job)
    run_all()
    job.refresh_from_db()
    assert job.output == 8


@pytest.mark.parametrize(
    ("slug", "input", "error"),
    [("no-such-slug", {}, UnknownTaskError), ("double", {"nmber": 1}, InvalidInputError)],
)
def test_a_child_that_cannot_be_enqueued_fails_the_parent(
    slug: str, input: dict[str, Any], error: type[Exception]
) -> None:
    double_task()

    @workflow
    def parent(ctx: JobContext) -> None:
        ctx.enqueue_child("child", slug, **input)

    job = parent.enqueue()
    run(job)
    assert job.error is not None
    assert job.error["name"] == error.__name__
    assert children_of(job) == []


def test_cancelling_the_parent_cancels_the_children_that_wait() -> None:
    job = parent_of([1, 2, 3], double_task()).enqueue()
    run(job)
    first = children_of(job)[0]
    run(first)
    assert jobs.cancel_by_id(job.pk) == 1
    assert [child.status for child in children_of(job)] == ["successful", "cancelled", "cancelled"]


def test_a_parent_that_cancels_itself_cancels_the_children_that_wait() -> None:
    double = double_task()

    @workflow
    def parent(ctx: JobContext) -> None:
        ctx.enqueue_child("child", double, number=1)
        raise JobCancelledError("on purpose")

    job = parent.enqueue()
    run(job)
    assert [child.status for child in children_of(job)] == ["cancelled"]


def test_cancelling_the_top_of_a_tree_cancels_what_waits_below() -> None:
    double = double_task()

    @workflow
    def middle(ctx: JobContext) -> None:
        ctx.wait_for([ctx.enqueue_child("leaf", double, number=1)])

    @workflow
    def top(ctx: JobContext) -> None:
        ctx.wait_for([ctx.enqueue_child("middle", middle)])

    job = top.enqueue()
    run(job)
    (below,) = children_of(job)
    run(below)
    job.cancel()
    assert set(Job.objects.values_list("status", flat=True)) == {"cancelled"}


def test_a_child_that_is_deleted_while_it_is_waited_for_fails_the_parent() -> None:
    job = parent_of([1, 2], double_task()).enqueue()
    run(job)
    first, second = children_of(job)
    Job.objects.filter(pk=first.pk).delete()
    run(second)
    job.refresh_from_db()
    assert run(job) == "error-reached-max-retries"
    assert job.error is not None
    assert f"{first.pk} was deleted" in job.error["message"]


def test_children_stay_for_their_parent_where_jobs_are_deleted_on_completion() -> None:
    with override_settings(DJANGO_JOBS={"DELETE_JOB_ON_COMPLETE": True}):
        outputs: list[Any] = []
        double = double_task()

        @workflow
        def parent(ctx: JobContext) -> None:
            children = [ctx.enqueue_child(f"n-{n}", double, number=n) for n in (1, 2)]
            outputs.extend(job.output for job in ctx.wait_for(children))

        job = parent.enqueue()
        run(job)
        run_all()
        assert outputs == [2, 4]
        assert not Job.objects.filter(pk=job.pk).exists()


def test_async_parents_fan_out_and_join() -> None:
    double = double_task()

    @workflow
    async def parent(ctx: JobContext) -> list[Any]:
        numbers = (1, 2, 3)
        children = await asyncio.gather(
            *(ctx.aenqueue_child(f"n-{n}", double, number=n) for n in numbers)
        )
        return [job.output for job in await ctx.await_for(children)]

    job = parent.enqueue()
    assert run(job) == "waiting"
    run_all()
    job.refresh_from_db()
    assert job.output == [2, 4, 6]


@pytest.mark.django_db(transaction=False)
@pytest.mark.parametrize("is_async", [False, True])
def test_children_are_joined_inside_of_a_transaction_too(is_async: bool) -> None:
    double = double_task()

    @workflow
    def parent(ctx: JobContext) -> list[Any]:
        children = [ctx.enqueue_child(f"n-{n}", double, number=n) for n in (1, 2)]
        return [job.output for job in ctx.wait_for(children)]

    @workflow
    async def aparent(ctx: JobContext) -> list[Any]:
        children = [await ctx.aenqueue_child(f"n-{n}", double, number=n) for n in (1, 2)]
        return [job.output for job in await ctx.await_for(children)]

    job = (aparent if is_async else parent).enqueue()
    run_all()
    job.refresh_from_db()
    assert job.output == [2, 4]
