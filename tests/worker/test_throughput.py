"""How many jobs ended, by queue and minute."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs import Retry, RetryLater, jobs, task
from django_jobs.models import Job, JobStatus, Throughput
from django_jobs.queue import rescue, throughput
from tests.conftest import RunJobs
from tests.kill.support import wait_until_finished
from tests.testapp.journal import Journal
from tests.testapp.tasks import note

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    """Forget what the tests before this one counted."""
    throughput._counts.clear()
    throughput._flushed_at.clear()


@pytest.fixture
def work() -> None:
    @task(slug="work", retries=Retry(1))
    def work(fail: bool = False, later: bool = False) -> None:
        if later:
            raise RetryLater(60)
        if fail:
            raise ValueError

    @task(slug="broken")
    def broken() -> None:
        raise ValueError


def counted() -> dict[str, tuple[int, int, int]]:
    """Return what is written down of each queue, over all minutes."""
    totals: dict[str, tuple[int, int, int]] = {}
    for row in Throughput.objects.all():
        before = totals.get(row.queue, (0, 0, 0))
        totals[row.queue] = (
            before[0] + row.succeeded, before[1] + row.failed, before[2] + row.retried,
        )  # fmt: skip
    return totals


@pytest.mark.usefixtures("work")
def test_successes_failures_and_retries_are_counted_by_queue() -> None:
    jobs.enqueue_many([("work", {}), ("work", {}), ("work", {"fail": True}), ("broken", {})])
    jobs.enqueue("work", {}, queue="mail")
    jobs.run()
    jobs.run(queue="mail")
    throughput.flush(using="default")
    assert counted() == {"default": (2, 1, 1), "mail": (1, 0, 0)}


@pytest.mark.usefixtures("work")
def test_what_was_put_off_without_an_attempt_is_not_counted() -> None:
    jobs.enqueue("work", {"later": True})
    jobs.run()
    throughput.flush(using="default")
    assert counted() == {}


@pytest.mark.usefixtures("work")
def test_a_second_flush_adds_to_the_minute_and_counts_nothing_twice() -> None:
    for _ in range(2):
        jobs.enqueue("work", {})
        jobs.run()
        throughput.flush(using="default")
        throughput.flush(using="default")
    assert counted() == {"default": (2, 0, 0)}


def test_nothing_to_write_down_takes_no_query() -> None:
    with CaptureQueriesContext(connection) as queries:
        throughput.flush(using="default")
    assert len(queries) == 0


@pytest.mark.usefixtures("work")
def test_what_could_not_be_written_down_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs.enqueue("work", {})
    jobs.enqueue("work", {}, queue="mail")
    jobs.run()
    jobs.run(queue="mail")

    def fail(*args: object, **options: object) -> None:
        raise DatabaseError("away")

    with monkeypatch.context() as patched:
        patched.setattr(throughput, "_add", fail)
        with pytest.raises(DatabaseError):
            throughput.flush(using="default")
    throughput.flush(using="default")
    assert counted() == {"default": (1, 0, 0), "mail": (1, 0, 0)}


@pytest.mark.usefixtures("work")
def test_a_pass_inside_a_transaction_of_the_caller_writes_later() -> None:
    jobs.enqueue("work", {})
    jobs.run()
    assert counted() == {}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("work")
def test_a_pass_writes_down_what_it_has_counted() -> None:
    jobs.enqueue_many([("work", {})] * 3)
    jobs.run()
    assert counted() == {"default": (3, 0, 0)}
    # Not at every one of many passes.
    jobs.enqueue("work", {})
    jobs.run()
    assert counted() == {"default": (3, 0, 0)}


def test_a_job_that_lost_its_worker_for_the_last_time_has_failed() -> None:
    now = timezone.now()
    Job.objects.create(
        slug="work", queue="mail", status=JobStatus.RUNNING, crashes=2,
        processing_token="0" * 32, processing_until=now - timedelta(seconds=1),
    )  # fmt: skip
    rescue.take_over(using="default")
    throughput.flush(using="default")
    assert counted() == {"mail": (0, 1, 0)}


@pytest.mark.usefixtures("work")
def test_old_minutes_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    Throughput.objects.create(queue="old", minute=now - timedelta(days=3))
    Throughput.objects.create(queue="recent", minute=now - timedelta(days=1))
    monkeypatch.setattr(throughput, "PRUNED_EVERY", 1)
    jobs.enqueue("work", {})
    jobs.run()
    throughput.flush(using="default")
    assert set(Throughput.objects.values_list("queue", flat=True)) == {"recent", "default"}


def test_a_worker_writes_down_what_is_left_when_it_stops(
    runjobs: RunJobs, journal: Journal
) -> None:
    done = [note.enqueue(str(number)) for number in range(5)]
    assert runjobs("--once").wait() == 0
    wait_until_finished(done)
    assert counted() == {"default": (5, 0, 0)}
