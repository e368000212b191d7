"""Handlers that are coroutine functions, and the event loop that they share."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.db import IntegrityError, connections

from django_jobs import jobs, task, workflow
from django_jobs.models import Job
from tests.testapp.models import Entry, Receipt
from tests.worker.support import entries, error_of, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(30)]
TOGETHER = 10.0


def statuses() -> set[str]:
    return set(Job.objects.values_list("status", flat=True))


def test_several_async_handlers_run_at_the_same_time() -> None:
    here = 0
    all_here = asyncio.Event()

    @task
    async def meet() -> None:
        nonlocal here
        here += 1
        if here == 20:
            all_here.set()
        await asyncio.wait_for(all_here.wait(), TOGETHER)

    meet.enqueue_many([{}] * 20)
    jobs.run(limit=20)
    assert statuses() == {"successful"}


def test_async_and_plain_handlers_run_at_the_same_time() -> None:
    both = threading.Barrier(2)

    @task
    async def one() -> None:
        await asyncio.to_thread(both.wait, TOGETHER)

    @task
    def other() -> None:
        both.wait(TOGETHER)

    one.enqueue()
    other.enqueue()
    jobs.run()
    assert statuses() == {"successful"}


def test_sequential_runs_async_handlers_one_after_the_other() -> None:
    running = 0
    order: list[int] = []

    @task
    async def alone(n: int) -> None:
        nonlocal running
        running += 1
        await asyncio.sleep(0)
        assert running == 1
        running -= 1
        order.append(n)

    alone.enqueue_many([{"n": n} for n in range(5)])
    jobs.run(sequential=True)
    assert statuses() == {"successful"}
    assert order == [0, 1, 2, 3, 4]


def test_an_async_handler_uses_the_orm() -> None:
    @task
    async def write(name: str) -> int:
        await Entry.objects.acreate(name=name)
        return await Entry.objects.filter(name=name).acount()

    job = write.enqueue(name="a")
    run(job)
    assert job.output == 1
    assert Entry.objects.count() == 1


def test_a_plain_workflow_runs_async_steps_and_an_async_one_plain_steps() -> None:
    @task
    async def async_step(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    @task
    def plain_step(n: int) -> int:
        Entry.objects.create(name="plain")
        return n * 10

    @workflow
    def plain(ctx: Any) -> Any:
        return ctx.run("a", async_step, n=1), ctx.inline("b", async_step.function, input={"n": 5})

    @workflow
    async def asynchronous(ctx: Any) -> Any:
        both = ctx.arun("a", plain_step, n=1), ctx.arun("b", async_step, n=1)
        return [*await asyncio.gather(*both), await ctx.ainline("c", lambda: 7)]

    first, second = plain.enqueue(), asynchronous.enqueue()
    jobs.run()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.output, first.error) == ([2, 6], None)
    assert (second.output, second.error) == ([10, 2, 7], None)


def test_an_async_step_that_is_complete_is_not_run_again() -> None:
    runs: list[str] = []

    @task(retries=1)
    async def step(name: str) -> str:
        runs.append(name)
        if runs == ["a", "b"]:
            raise ValueError
        return name

    @workflow
    async def two_steps(ctx: Any) -> Any:
        return [await ctx.arun("a", step, name="a"), await ctx.arun("b", step, name="b")]

    job = two_steps.enqueue()
    assert run(job) == "error"
    assert run(job) == "success"
    assert runs == ["a", "b", "b"]
    assert job.output == ["a", "b"]


def test_steps_that_gather_leaves_behind_are_waited_for_and_recorded() -> None:
    failed = threading.Event()

    @task
    def slow(n: int) -> int:
        assert failed.wait(TOGETHER)
        return n

    @workflow
    async def hasty(ctx: Any) -> None:
        async def fail() -> None:
            raise ValueError("first")

        try:
            await asyncio.gather(
                *[ctx.arun(str(n), slow, n=n) for n in range(3)], ctx.ainline("x", fail)
            )
        finally:
            failed.set()

    job = hasty.enqueue()
    run(job)
    assert error_of(job)["message"] == "first"
    assert sorted(entries(job, "task_id", "state")) == [
        ("0", "succeeded"),
        ("1", "succeeded"),
        ("2", "succeeded"),
        ("x", "failed"),
    ]


async def leave(error: BaseException) -> None:
    raise error


async def awaited(error: BaseException) -> None:
    await leave(error)


async def gathered(error: BaseException) -> None:
    await asyncio.gather(leave(error), asyncio.sleep(0))


@pytest.mark.parametrize("how", [awaited, gathered])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_nothing_that_a_coroutine_raises_stops_the_others(
    how: Callable[[BaseException], Any], error: BaseException
) -> None:
    @task
    async def hostile() -> None:
        await how(error)

    @task
    async def peaceful() -> None:
        await asyncio.sleep(0.01)

    job = hostile.enqueue()
    peaceful.enqueue_many([{}] * 3)
    jobs.run()
    job.refresh_from_db()
    assert job.status == Job.Status.FAILED
    assert error_of(job)["name"] == type(error).__name__
    assert list(peaceful_statuses(peaceful.slug)) == ["successful"] * 3


def peaceful_statuses(slug: str) -> Any:
    return Job.objects.filter(slug=slug).values_list("status", flat=True)


def test_steps_that_want_the_process_to_end_fail_the_workflow_that_gathers_them() -> None:
    @task
    async def hostile() -> None:
        sys.exit(3)

    @workflow
    async def around(ctx: Any) -> None:
        await asyncio.gather(ctx.arun("a", hostile), ctx.arun("b", hostile))

    job = around.enqueue()
    run(job)
    assert error_of(job)["name"] == "SystemExit"
    assert sorted(entries(job, "task_id", "state")) == [("a", "failed"), ("b", "failed")]


def test_a_task_that_a_handler_leaves_behind_does_not_keep_the_pass_from_ending() -> None:
    @task
    async def careless() -> None:
        asyncio.ensure_future(asyncio.sleep(1000))  # noqa: RUF006

    job = careless.enqueue()
    assert run(job) == "success"


@pytest.mark.parametrize("how", ["arun", "arun_by_id", "run in a view", "async_to_sync"])
def test_async_callers_run_async_handlers_that_use_the_orm(how: str) -> None:
    @task
    async def count() -> int:
        return await Entry.objects.acount()

    job = count.enqueue()

    async def view() -> None:
        async with ThreadSensitiveContext():
            await sync_to_async(jobs.run)()
            await sync_to_async(connections.close_all)()

    calls: dict[str, Callable[[], Any]] = {
        "arun": lambda: asyncio.run(jobs.arun()),
        "arun_by_id": lambda: asyncio.run(jobs.arun_by_id(job.pk)),
        "run in a view": lambda: asyncio.run(view()),
        "async_to_sync": lambda: async_to_sync(jobs.arun)(),
    }
    calls[how]()
    job.refresh_from_db()
    assert (job.output, job.error) == (0, None)


@pytest.mark.django_db(transaction=False)
def test_inside_a_transaction_async_handlers_see_what_the_caller_sees() -> None:
    Entry.objects.create(name="uncommitted")

    @task
    async def step() -> int:
        return await Entry.objects.acount()

    @workflow
    async def counting(ctx: Any) -> Any:
        return await asyncio.gather(ctx.arun("a", step), ctx.arun("b", step))

    job = counting.enqueue()
    async_to_sync(jobs.arun)()
    job.refresh_from_db()
    assert job.output == [1, 1], job.error


@pytest.mark.django_db(transaction=False)
def test_a_database_error_of_an_async_handler_does_not_break_the_callers_transaction() -> None:
    Receipt.objects.create(key="taken")

    @task
    async def fail() -> None:
        await Receipt.objects.acreate(key="taken")

    job = fail.enqueue()
    run(job)
    assert error_of(job)["name"] == IntegrityError.__name__
    assert Receipt.objects.count() == 1
