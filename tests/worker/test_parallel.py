from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from django_jobs import task, workflow
from django_jobs.models import Job
from tests.testapp.models import Entry
from tests.worker.support import entries, error_of, run, run_until_finished

pytestmark = pytest.mark.django_db(transaction=True)
TOGETHER = 10.0


def test_the_steps_of_a_block_run_at_the_same_time() -> None:
    everybody = threading.Barrier(3)

    @task
    def meet(n: int) -> int:
        everybody.wait(TOGETHER)
        return n

    @workflow
    def meeting(ctx: Any) -> Any:
        with ctx.parallel() as group:
            steps = [group.run(str(n), meet, n=n) for n in range(2)]
            steps.append(group.inline("line", everybody.wait, input={"timeout": TOGETHER}))
        return [step.output for step in steps[:2]]

    job = meeting.enqueue()
    run(job)
    assert job.error is None
    assert job.output == [0, 1]


@pytest.mark.parametrize("max_workers", [None, 1, 3, 50])
def test_fifty_steps_of_one_block_are_all_recorded(max_workers: int | None) -> None:
    @task
    def write(n: int) -> int:
        Entry.objects.create(name="step", number=n)
        return n

    @workflow
    def fifty(ctx: Any) -> Any:
        with ctx.parallel(max_workers=max_workers) as group:
            steps = [group.run(str(n), write, n=n) for n in range(50)]
        return [step.output for step in steps]

    job = fifty.enqueue()
    run(job)
    assert job.error is None
    assert job.output == list(range(50))
    assert sorted(entries(job, "task_id", "state")) == sorted(
        (str(n), "succeeded") for n in range(50)
    )
    assert len(job.task_status[write.slug]) == 50
    assert Entry.objects.count() == 50


def test_fifty_steps_awaited_together_are_all_recorded() -> None:
    @task
    async def write(n: int) -> int:
        await Entry.objects.acreate(name="step", number=n)
        return n

    @workflow
    async def fifty(ctx: Any) -> Any:
        return await asyncio.gather(*[ctx.arun(str(n), write, n=n) for n in range(50)])

    job = fifty.enqueue()
    run(job)
    assert job.error is None
    assert job.output == list(range(50))
    assert sorted(entries(job, "task_id")) == sorted(str(n) for n in range(50))
    assert Entry.objects.count() == 50


def test_never_more_than_max_workers_run_at_once() -> None:
    lock = threading.Lock()
    running = most = 0

    def step() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1

    @workflow
    def few(ctx: Any) -> None:
        with ctx.parallel(max_workers=2) as group:
            for n in range(8):
                group.inline(str(n), step)

    run(few.enqueue())
    assert 1 <= most <= 2


def test_the_first_error_is_raised_when_all_have_finished_and_been_recorded() -> None:
    failed = threading.Event()

    def second() -> None:
        failed.set()
        raise KeyError("second")

    def first() -> None:
        failed.wait(TOGETHER)
        raise ValueError("first")

    @workflow
    def failing(ctx: Any) -> None:
        with ctx.parallel() as group:
            group.inline("a", first)
            group.inline("b", second)
            group.inline("c", lambda: failed.wait(TOGETHER))

    job = failing.enqueue()
    run(job)
    assert error_of(job)["message"] == "first"
    assert sorted(entries(job, "task_id", "state")) == [
        ("a", "failed"),
        ("b", "failed"),
        ("c", "succeeded"),
    ]


def test_the_steps_that_succeeded_beside_a_failure_are_not_run_again() -> None:
    runs: list[int] = []

    @task(retries=3)
    def step(n: int) -> None:
        runs.append(n)
        if n == 2 and runs.count(2) < 3:
            raise ValueError

    @workflow
    def block(ctx: Any) -> None:
        with ctx.parallel() as group:
            for n in range(4):
                group.run(str(n), step, n=n)

    job = run_until_finished(block.enqueue())
    assert job.status == Job.Status.SUCCESSFUL
    assert sorted(runs) == [0, 1, 2, 2, 2, 3]


def test_an_output_is_known_at_the_end_of_the_block_only() -> None:
    early: list[str] = []
    leave = threading.Event()

    @workflow
    def hasty(ctx: Any) -> Any:
        with ctx.parallel() as group:
            step = group.inline("a", lambda: leave.wait(TOGETHER))
            try:
                step.output  # noqa: B018
            except RuntimeError as error:
                early.append(str(error))
            leave.set()
        return step.output

    job = hasty.enqueue()
    run(job)
    assert job.output is True
    assert early == ["The output of inline a is known when the `with` block has ended."]


def test_the_output_of_a_step_that_failed_is_its_error() -> None:
    @workflow
    def forgiving(ctx: Any) -> Any:
        try:
            with ctx.parallel() as group:
                good = group.inline("a", lambda: 1)
                bad = group.inline("b", lambda: 1 / 0)
        except ZeroDivisionError:
            assert type(bad.error) is ZeroDivisionError
        return good.output

    job = forgiving.enqueue()
    run(job)
    assert job.output == 1


def test_an_error_in_the_block_itself_waits_for_the_steps_and_wins() -> None:
    go = threading.Event()

    @workflow
    def failing(ctx: Any) -> None:
        with ctx.parallel() as group:
            group.inline("a", lambda: go.wait(TOGETHER))
            go.set()
            raise LookupError("block")

    job = failing.enqueue()
    run(job)
    assert error_of(job)["message"] == "block"
    assert entries(job, "task_id", "state")[0] == ("a", "succeeded")


@pytest.mark.parametrize("max_workers", [0, -1, True])
def test_a_block_has_at_least_one_worker(max_workers: Any) -> None:
    @workflow
    def idle(ctx: Any) -> None:
        with ctx.parallel(max_workers=max_workers):
            pass

    job = idle.enqueue()
    run(job)
    assert error_of(job)["name"] == "ValueError"


def test_async_and_nested_steps_run_in_a_block() -> None:
    both = threading.Barrier(2)

    @task
    async def meet() -> str:
        await asyncio.to_thread(both.wait, TOGETHER)
        return "async"

    @task(takes_context=True)
    def outer(ctx: Any) -> Any:
        with ctx.parallel() as group:
            inner = [group.run("in", meet), group.inline("line", lambda: both.wait(TOGETHER) >= 0)]
        return [step.output for step in inner]

    @workflow
    def block(ctx: Any) -> Any:
        with ctx.parallel() as group:
            out = group.run("out", outer)
        return out.output

    job = block.enqueue()
    run(job)
    assert job.output == ["async", True], job.error
    assert sorted(entries(job, "task_id", "parent_task_id")) == [
        ("in", "out"),
        ("line", "out"),
        ("out", ""),
    ]


@pytest.mark.django_db(transaction=False)
def test_inside_a_transaction_the_steps_run_one_after_the_other_in_the_callers_thread() -> None:
    threads: list[Any] = []

    @workflow
    def block(ctx: Any) -> None:
        with ctx.parallel() as group:
            group.inline("a", lambda: threads.append(threading.get_ident()))
            group.inline("b", lambda: 1 / 0)
            group.inline("c", lambda: threads.append(threading.get_ident()))

    job = block.enqueue()
    run(job)
    assert threads == [threading.get_ident()] * 2
    assert entries(job, "task_id", "state") == [
        ("a", "succeeded"),
        ("b", "failed"),
        ("c", "succeeded"),
    ]
