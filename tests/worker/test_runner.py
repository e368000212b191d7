from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.db.models import Q

from django_jobs import JobCancelledError, RetryLater, jobs, task, workflow
from django_jobs.models import Job
from tests.testapp.models import Entry, Receipt
from tests.worker.support import error_of, run

IN_THREADS = pytest.mark.django_db(transaction=True)
TOGETHER = 10.0


def statuses() -> list[str]:
    return sorted(Job.objects.values_list("status", flat=True))


@IN_THREADS
def test_the_jobs_of_a_pass_run_at_the_same_time() -> None:
    everybody = threading.Barrier(10)

    @task
    def meet() -> None:
        everybody.wait(TOGETHER)

    meet.enqueue_many([{}] * 10)
    jobs.run(limit=10)
    assert statuses() == ["successful"] * 10


@IN_THREADS
def test_sequential_runs_them_in_order_in_one_thread() -> None:
    order: list[int] = []
    threads: set[int] = set()

    @task
    def note(n: int) -> None:
        order.append(n)
        threads.add(threading.get_ident())

    for n, priority in enumerate([0, 5, -5, 5]):
        note.using(priority=priority).enqueue(n=n)
    jobs.run(sequential=True)
    assert order == [1, 3, 0, 2]
    assert len(threads) == 1


def declare_every_outcome() -> list[Job]:
    @task
    def success() -> None: ...

    @task(retries=1)
    def failing() -> None:
        raise ValueError

    @task
    def final() -> None:
        raise ValueError

    @task
    def cancelled() -> None:
        raise JobCancelledError("enough")

    @task
    def later() -> None:
        raise RetryLater(60)

    @workflow
    def asleep(ctx: Any) -> None:
        ctx.sleep("a", 60)

    return [declared.enqueue() for declared in (success, failing, final, cancelled, later, asleep)]


@pytest.mark.parametrize(
    "database",
    [
        pytest.param("in a transaction", marks=pytest.mark.django_db),
        pytest.param("in threads", marks=IN_THREADS),
    ],
)
def test_a_pass_tells_what_became_of_each_job(database: str) -> None:
    given = declare_every_outcome()
    result = jobs.run()
    assert result.job_status == dict(
        zip(
            [job.pk for job in given],
            [
                "success",
                "error",
                "error-reached-max-retries",
                "error-reached-max-retries",
                "error",
                "waiting",
            ],
            strict=True,
        )
    )
    assert result.remaining_jobs_from_queried == 2
    assert result.no_jobs_remaining is False
    assert jobs.run().job_status == {given[1].pk: "error-reached-max-retries"}
    assert jobs.run().no_jobs_remaining is True


@pytest.mark.django_db
def test_a_pass_claims_once_and_no_more_than_its_limit() -> None:
    @task
    def chain(n: int) -> None:
        if n:
            chain.enqueue(n=n - 1)

    chain.enqueue_many([{"n": 1}] * 3)
    assert len(jobs.run(limit=2).job_status) == 2
    assert len(jobs.run(limit=10).job_status) == 3
    assert statuses().count("ready") == 1


@pytest.mark.django_db
def test_queues_are_kept_apart() -> None:
    @task
    def note() -> None: ...

    mine = note.using(queue="mine").enqueue()
    other = note.using(queue="other").enqueue()
    usual = note.enqueue()
    assert list(jobs.run().job_status) == [usual.pk]
    assert list(jobs.run(queue="mine").job_status) == [mine.pk]
    assert list(jobs.run(all_queues=True).job_status) == [other.pk]


@pytest.mark.django_db
def test_a_condition_and_an_order_choose_the_jobs() -> None:
    ran: list[int] = []

    @task
    def note(n: int) -> None:
        ran.append(n)

    note.enqueue_many([{"n": n} for n in range(4)])
    jobs.run(where=Q(input__n__gt=1), processing_order="-created_at")
    assert ran == [3, 2]


@pytest.mark.django_db
def test_one_job_is_run_by_its_id_whatever_its_queue() -> None:
    @task
    def note() -> None: ...

    first, second = note.using(queue="a").enqueue(), note.using(queue="a").enqueue()
    assert jobs.run_by_id(second.pk).job_status == {second.pk: "success"}
    assert jobs.run_by_id(second.pk).no_jobs_remaining
    assert jobs.run_by_id(0).no_jobs_remaining
    first.refresh_from_db()
    assert first.status == Job.Status.READY


@pytest.mark.parametrize(
    "database",
    [
        pytest.param("in a transaction", marks=pytest.mark.django_db),
        pytest.param("in threads", marks=IN_THREADS),
    ],
)
def test_after_the_deadline_nothing_is_started_and_the_rest_given_back(database: str) -> None:
    @task
    def plain() -> None: ...

    @task
    async def asynchronous() -> None: ...

    plain.enqueue()
    asynchronous.enqueue()
    result = jobs.run(deadline=0)
    assert result.job_status == {}
    assert result.remaining_jobs_from_queried == 2
    assert result.no_jobs_remaining is False
    for job in Job.objects.all():
        assert (job.status, job.total_tried, job.processing_token) == ("ready", 0, None)
    assert set(jobs.run(deadline=1000).job_status.values()) == {"success"}


@IN_THREADS
def test_what_runs_at_the_deadline_runs_to_its_end() -> None:
    ran: list[int] = []

    @task
    def slow(n: int) -> None:
        time.sleep(2.5)
        ran.append(n)

    slow.enqueue_many([{"n": n} for n in range(3)])
    result = jobs.run(sequential=True, deadline=2)
    assert ran == [0]
    assert list(result.job_status.values()) == ["success"]
    assert statuses() == ["ready", "ready", "successful"]


@pytest.mark.django_db
def test_inside_a_transaction_everything_runs_in_the_callers_thread_and_is_seen_there() -> None:
    threads: list[int] = []
    Entry.objects.create(name="uncommitted")

    @task
    def look() -> int:
        threads.append(threading.get_ident())
        return Entry.objects.count()

    look.enqueue_many([{}] * 3)
    jobs.run()
    assert threads == [threading.get_ident()] * 3
    assert set(Job.objects.values_list("output", flat=True)) == {1}


@pytest.mark.django_db
def test_inside_a_transaction_a_handlers_database_error_does_not_break_that() -> None:
    Receipt.objects.create(key="taken")

    @task
    def fail() -> None:
        Receipt.objects.create(key="taken")

    @task
    def work() -> int:
        return Receipt.objects.count()

    first, second = fail.enqueue(), work.enqueue()
    jobs.run()
    first.refresh_from_db()
    second.refresh_from_db()
    assert error_of(first)["name"] == IntegrityError.__name__
    assert second.output == 1
    assert connection.in_atomic_block


@pytest.mark.django_db
def test_a_keyboard_interrupt_in_the_main_thread_gives_the_jobs_back() -> None:
    @task
    def interrupted() -> None:
        raise KeyboardInterrupt

    interrupted.enqueue_many([{}] * 2)
    with pytest.raises(KeyboardInterrupt):
        jobs.run()
    assert statuses() == ["ready", "ready"]
    assert set(Job.objects.values_list("total_tried", flat=True)) == {0}


@IN_THREADS
def test_a_job_that_another_pass_has_taken_over_is_absent_from_the_result() -> None:
    @task(takes_context=True)
    def overtaken(ctx: Any) -> None:
        Job.objects.filter(pk=ctx.job.pk).update(
            status="ready", processing_token=None, processing_until=None
        )

    job = overtaken.enqueue()
    assert run(job) is None
    assert (job.status, job.total_tried) == ("ready", 0)
