"""ctx.wait_for_event() and jobs.send_event(): none is lost, each is taken once by each job."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.utils import timezone

from django_jobs import JobContext, jobs, task, workflow
from django_jobs.exceptions import EventTimeoutError, InvalidInputError
from django_jobs.models import Event, Job, JobStatus, Wait
from tests.worker.support import entries, run

pytestmark = pytest.mark.django_db(transaction=True)


def waiter(name: str = "paid", count: int = 1, **options: Any) -> Any:
    """Declare a workflow that waits for so many events of this name, and returns what came."""

    @workflow(slug=f"wait-for-{name}", **options)
    def wait(ctx: JobContext) -> list[Any]:
        return [ctx.wait_for_event(f"wait-{number}", name) for number in range(count)]

    return wait


def status_of(job: Job) -> str:
    job.refresh_from_db()
    return job.status


def test_a_job_that_waits_has_left_its_worker() -> None:
    job = waiter().enqueue()
    assert run(job) == "waiting"
    assert (job.status, job.processing_token, job.total_tried) == (JobStatus.WAITING, None, 0)
    assert jobs.run().no_jobs_remaining


def test_an_event_wakes_the_job_with_its_payload() -> None:
    job = waiter().enqueue()
    run(job)
    jobs.send_event("paid", {"amount": 3, "items": ["a", None, 1.5, True]})
    assert status_of(job) == JobStatus.READY
    assert run(job) == "success"
    assert job.output == [{"amount": 3, "items": ["a", None, 1.5, True]}]
    assert job.total_tried == 1
    assert not Wait.objects.exists()


@pytest.mark.parametrize("payload", [None, 0, False, "", [], {}, "text", "ü€𝄞", {"a": {"b": 1}}])
def test_any_json_is_a_payload(payload: Any) -> None:
    job = waiter().enqueue()
    run(job)
    jobs.send_event("paid", payload)
    run(job)
    assert job.output == [payload]


@pytest.mark.parametrize("payload", [float("nan"), object(), "\x00"])
def test_a_payload_that_cannot_be_stored_is_refused(payload: Any) -> None:
    with pytest.raises(InvalidInputError, match="payload"):
        jobs.send_event("paid", payload)
    assert not Event.objects.exists()


@pytest.mark.parametrize("name", ["", None, 1, "x" * 256, "a\x00"])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="name of an event"):
        jobs.send_event(name)


def test_an_event_of_another_name_wakes_nobody() -> None:
    job = waiter().enqueue()
    run(job)
    for name in ("pai", "paidd", "PAID", "paid "):
        jobs.send_event(name)
    assert status_of(job) == JobStatus.WAITING


def test_an_event_sent_before_the_wait_is_not_lost() -> None:
    job = waiter().enqueue()
    jobs.send_event("paid", "early")
    assert run(job) == "success"
    assert job.output == ["early"]


def test_an_event_sent_before_the_job_was_enqueued_is_not_taken() -> None:
    jobs.send_event("paid", "old")
    job = waiter().enqueue()
    assert run(job) == "waiting"
    jobs.send_event("paid", "new")
    run(job)
    assert job.output == ["new"]


def test_each_wait_takes_the_oldest_event_that_the_job_has_not_taken() -> None:
    job = waiter(count=3).enqueue()
    jobs.send_event("paid", 1)
    jobs.send_event("paid", 2)
    assert run(job) == "waiting"
    jobs.send_event("paid", 3)
    run(job)
    assert job.output == [1, 2, 3]


def test_waits_that_begin_together_take_an_event_each() -> None:
    @workflow
    async def wait(ctx: JobContext) -> list[Any]:
        waits = [ctx.await_for_event(f"wait-{number}", "paid") for number in range(8)]
        return await asyncio.gather(*waits)

    job = wait.enqueue()
    for number in range(8):
        jobs.send_event("paid", number)
    assert run(job) == "success"
    assert sorted(job.output or []) == list(range(8))


def test_of_several_waits_at_once_each_is_woken_by_its_own_event() -> None:
    @workflow
    async def wait(ctx: JobContext) -> list[Any]:
        waits = [ctx.await_for_event(name, name) for name in ("paid", "shipped")]
        return await asyncio.gather(*waits)

    job = wait.enqueue()
    assert run(job) == "waiting"
    jobs.send_event("shipped", "b")
    assert run(job) == "waiting"
    jobs.send_event("paid", "a")
    assert run(job) == "success"
    assert job.output == ["a", "b"]


def test_one_event_serves_every_job_that_waits_for_it() -> None:
    wait = waiter()
    waiting = [wait.enqueue() for _ in range(3)]
    for job in waiting:
        run(job)
    jobs.send_event("paid", "for all")
    for job in waiting:
        assert run(job) == "success"
        assert job.output == ["for all"]


def test_a_wait_that_is_over_returns_the_same_payload_when_the_job_is_retried() -> None:
    @workflow(retries=1)
    def wait(ctx: JobContext) -> Any:
        payload = ctx.wait_for_event("wait", "paid")
        if ctx.attempt == 1:
            raise ValueError
        return payload

    job = wait.enqueue()
    run(job)
    jobs.send_event("paid", "first")
    assert run(job) == "error"
    jobs.send_event("paid", "second")
    assert run(job) == "success"
    assert job.output == "first"


def test_an_event_sent_in_a_transaction_that_is_rolled_back_wakes_nobody() -> None:
    job = waiter().enqueue()
    run(job)
    with transaction.atomic():
        jobs.send_event("paid")
        transaction.set_rollback(True)
    assert status_of(job) == JobStatus.WAITING
    assert not Event.objects.exists()
    jobs.send_event("paid", "committed")
    run(job)
    assert job.output == ["committed"]


def test_an_event_sent_in_a_transaction_wakes_the_job_when_that_commits() -> None:
    job = waiter().enqueue()
    run(job)
    with transaction.atomic():
        jobs.send_event("paid", 1)
    assert status_of(job) == JobStatus.READY


def wait_or_time_out(ctx: JobContext) -> str:
    try:
        return str(ctx.wait_for_event("wait", "paid", timeout=timedelta(hours=1)))
    except EventTimeoutError as error:
        return f"timed out: {error}"


def let_time_pass(job: Job) -> None:
    past = timezone.now() - timedelta(seconds=1)
    for status in job.task_statuses.filter(task_slug="ctx.wait_for_event"):
        status.input = {**(status.input or {}), "until": past.isoformat()}
        status.save()
    Job.objects.filter(pk=job.pk, status=JobStatus.WAITING).update(wait_until=past)


def test_a_wait_times_out() -> None:
    job = workflow(wait_or_time_out).enqueue()
    assert run(job) == "waiting"
    let_time_pass(job)
    assert run(job) == "success"
    assert job.output == "timed out: The event 'paid' did not come in time."
    assert entries(job, "task_id", "state") == [("wait", "failed")]


def test_a_timeout_that_nobody_handles_fails_the_job() -> None:
    @workflow
    def wait(ctx: JobContext) -> None:
        ctx.wait_for_event("wait", "paid", timeout=0)

    job = wait.enqueue()
    assert run(job) == "error-reached-max-retries"
    assert job.error is not None
    assert job.error["name"] == "EventTimeoutError"


def test_a_job_that_is_retried_after_a_timeout_waits_anew() -> None:
    @workflow(retries=1)
    def wait(ctx: JobContext) -> Any:
        return ctx.wait_for_event("wait", "paid", timeout=timedelta(hours=1))

    job = wait.enqueue()
    run(job)
    let_time_pass(job)
    assert run(job) == "error"
    assert run(job) == "waiting"
    jobs.send_event("paid", "late")
    assert run(job) == "success"
    assert job.output == "late"


def test_an_event_that_came_in_time_counts_although_the_job_runs_too_late() -> None:
    job = workflow(wait_or_time_out).enqueue()
    run(job)
    jobs.send_event("paid", "in time")
    let_time_pass(job)
    assert run(job) == "success"
    assert job.output == "in time"


def test_waiting_costs_no_retry_and_no_step_runs_again() -> None:
    calls = []

    @workflow(retries=0)
    def wait(ctx: JobContext) -> None:
        ctx.inline("before", lambda: calls.append("before"))
        ctx.wait_for_event("wait", "paid")

    job = wait.enqueue()
    run(job)
    jobs.send_event("paid")
    assert run(job) == "success"
    assert (calls, job.total_tried) == (["before"], 1)


def test_a_waiting_job_that_is_cancelled_is_woken_by_no_event() -> None:
    job = waiter().enqueue()
    run(job)
    job.cancel()
    jobs.send_event("paid")
    assert status_of(job) == JobStatus.CANCELLED


def test_a_job_can_send_itself_what_it_waits_for_next() -> None:
    @task
    def send() -> None:
        jobs.send_event("paid", "by myself")

    @workflow
    def wait(ctx: JobContext) -> Any:
        ctx.run("send", send)
        return ctx.wait_for_event("wait", "paid")

    job = wait.enqueue()
    assert run(job) == "success"
    assert job.output == "by myself"


@pytest.mark.django_db(transaction=False)
def test_a_job_waits_inside_of_a_transaction_too() -> None:
    job = waiter().enqueue()
    assert run(job) == "waiting"
    jobs.send_event("paid", "inline")
    assert run(job) == "success"
    assert job.output == ["inline"]


@pytest.mark.django_db(transaction=False)
def test_an_async_job_waits_inside_of_a_transaction_too() -> None:
    @workflow
    async def wait(ctx: JobContext) -> Any:
        return await ctx.await_for_event("wait", "paid")

    job = wait.enqueue()
    assert run(job) == "waiting"
    jobs.send_event("paid", "inline")
    assert run(job) == "success"
    assert job.output == "inline"


def test_an_event_is_sent_from_async_code() -> None:
    job = waiter().enqueue()
    run(job)
    asyncio.run(jobs.asend_event("paid", "async"))
    connections.close_all()
    assert run(job) == "success"
    assert job.output == ["async"]


def in_threads(*functions: Callable[[], object]) -> None:
    """Call the functions at the same moment; raise what the first of them raised."""
    barrier = threading.Barrier(len(functions))
    errors: list[BaseException] = []

    def call(function: Callable[[], object]) -> None:
        try:
            barrier.wait(20)
            function()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call, args=[function]) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]


def test_no_wake_up_is_lost_while_jobs_begin_to_wait() -> None:
    """Each round, an event of each name is sent while the jobs come to wait for it."""
    names = [f"event-{number}" for number in range(3)]

    @workflow
    def wait(ctx: JobContext, name: str) -> list[Any]:
        return [ctx.wait_for_event(f"wait-{number}", name) for number in range(3)]

    waiting = wait.enqueue_many([{"name": name} for name in names * 4])

    def send() -> None:
        for payload in range(3):
            for name in names:
                jobs.send_event(name, payload)

    def work() -> None:
        for _ in range(12):
            jobs.run(limit=4)

    in_threads(send, work, work)
    # What is ready is run to its end; what waits now would wait for ever.
    while not jobs.run(limit=100).no_jobs_remaining:
        pass
    for job in waiting:
        job.refresh_from_db()
        assert job.status == JobStatus.SUCCESSFUL, job.task_status
        assert job.output == [0, 1, 2]


def test_many_senders_wake_every_job_once() -> None:
    wait = waiter(count=4)
    waiting = [wait.enqueue() for _ in range(6)]

    def send() -> None:
        jobs.send_event("paid", "x")

    def work() -> None:
        for _ in range(8):
            jobs.run(limit=3)

    in_threads(send, send, send, send, work, work)
    while not jobs.run(limit=100).no_jobs_remaining:
        pass
    assert [status_of(job) for job in waiting] == [JobStatus.SUCCESSFUL] * 6
