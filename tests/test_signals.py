from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.db.models import Q
from django.test import override_settings
from django.utils import timezone

from django_jobs import JobCancelledError, Retry, RetryLater, jobs, signals, task, workflow
from django_jobs.models import Job
from django_jobs.queue.claim import claim
from django_jobs.testing import run_jobs
from django_jobs.worker.runner import default_selection

NAMES = (
    "job_enqueued", "job_started", "job_succeeded", "job_failed", "job_retried", "job_cancelled",
)  # fmt: skip

pytestmark = pytest.mark.django_db


class OwnError(Exception):
    pass


@pytest.fixture
def heard():
    """The signals that were sent, as (name, primary key), and the status then."""
    told = []
    receivers = []
    for name in NAMES:

        def receive(*, sender, job, name=name, **kwargs):
            assert sender is Job
            stored = Job.objects.filter(pk=job.pk).values_list("status", flat=True).first()
            assert stored == job.status
            told.append((name, job.pk, job.status))

        getattr(signals, name).connect(receive)
        receivers.append((name, receive))
    yield told
    for name, receive in receivers:
        getattr(signals, name).disconnect(receive)


def declare(error=None, **options):
    @task(slug="signalling", **options)
    def signalling():
        if error is not None:
            raise error

    return signalling


def test_a_job_that_succeeds_is_enqueued_started_and_succeeded(heard):
    job = declare().enqueue()
    run_jobs()
    assert heard == [
        ("job_enqueued", job.pk, "ready"),
        ("job_started", job.pk, "running"),
        ("job_succeeded", job.pk, "successful"),
    ]


def test_a_failure_that_is_final_is_told_as_such_alone(heard):
    job = declare(OwnError()).enqueue()
    run_jobs()
    assert heard[2:] == [("job_failed", job.pk, "failed")]


def test_a_failure_that_will_be_retried_is_told_as_retried(heard):
    declare(OwnError(), retries=2).enqueue()
    run_jobs()
    assert [name for name, *_ in heard] == [
        "job_enqueued",
        "job_started", "job_retried",
        "job_started", "job_retried",
        "job_started", "job_failed",
    ]  # fmt: skip


def test_an_error_that_gives_up_is_final_at_once(heard):
    declare(OwnError(), retries=Retry(5, give_up_on=OwnError)).enqueue()
    run_jobs()
    assert heard[-1][0] == "job_failed"
    assert len(heard) == 3


def test_asking_for_later_is_told_as_retried(heard):
    job = declare(RetryLater(60)).enqueue()
    run_jobs()
    assert heard[2:] == [("job_retried", job.pk, "ready")]


def test_a_job_that_cancels_itself_is_told_as_cancelled(heard):
    job = declare(JobCancelledError("enough")).enqueue()
    run_jobs()
    assert heard[2:] == [("job_cancelled", job.pk, "cancelled")]


def test_a_cancellation_is_told_once_for_each_job(heard):
    first, second = declare().enqueue_many([{}, {}])
    jobs.cancel(Q())
    jobs.cancel(Q())
    assert heard[2:] == [
        ("job_cancelled", first.pk, "cancelled"),
        ("job_cancelled", second.pk, "cancelled"),
    ]


def test_a_job_cancelled_while_it_runs_is_told_as_cancelled_alone(heard):
    @task(slug="running")
    def running():
        jobs.cancel(Q(slug="running"))

    job = running.enqueue()
    run_jobs()
    assert [name for name, *_ in heard] == ["job_enqueued", "job_started", "job_cancelled"]
    job.refresh_from_db()
    assert job.status == Job.Status.CANCELLED


@override_settings(DJANGO_JOBS={"MAX_CRASHES": 1})
def test_a_job_that_has_lost_its_worker_for_good_is_told_as_failed(heard):
    job = declare().enqueue()
    claim(default_selection(None), 1, using="default")
    Job.objects.update(processing_until=timezone.now() - timedelta(days=1))
    run_jobs()
    assert heard[1:] == [("job_failed", job.pk, "failed")]


@override_settings(DJANGO_JOBS={"UNKNOWN_TASK_GRACE": 0})
def test_a_job_of_an_unknown_task_is_told_as_failed(heard):
    job = declare().enqueue()
    Job.objects.update(slug="unknown")
    run_jobs()
    assert heard[1:] == [("job_failed", job.pk, "failed")]


def test_a_duplicate_is_not_told_as_enqueued(heard):
    signalling = declare(unique=True)
    signalling.enqueue()
    signalling.enqueue()
    signalling.enqueue_many([{}, {}])
    assert len(heard) == 1


def test_a_workflow_sends_signals_of_the_job_not_of_its_steps(heard):
    step = declare()

    @workflow(slug="flow")
    def flow(ctx):
        ctx.run("one", step)
        ctx.run("two", step)

    flow.enqueue()
    run_jobs()
    assert [name for name, *_ in heard] == ["job_enqueued", "job_started", "job_succeeded"]


@pytest.mark.django_db(transaction=True)
def test_signals_are_sent_by_parallel_runs_too():
    told = []

    def receive(*, job, **kwargs):
        told.append(job.pk)

    signals.job_succeeded.connect(receive)
    try:
        both = declare().enqueue_many([{}, {}])
        jobs.run()
    finally:
        signals.job_succeeded.disconnect(receive)
    assert sorted(told) == sorted(job.pk for job in both)


@pytest.mark.parametrize("error", [OwnError("hurt"), JobCancelledError("hurt"), RetryLater(5)])
def test_a_receiver_that_raises_hurts_nothing(error, caplog):
    told = []

    def hurt(**kwargs):
        raise error

    def listen(*, job, **kwargs):
        told.append(job.pk)

    for name in NAMES:
        getattr(signals, name).connect(hurt)
        getattr(signals, name).connect(listen)
    try:
        good = declare().enqueue()
        bad = task(slug="bad", retries=1)(raise_own_error).enqueue()
        gone = declare_another().enqueue()
        gone.cancel()
        with caplog.at_level(logging.ERROR):
            run_jobs()
    finally:
        for name in NAMES:
            getattr(signals, name).disconnect(hurt)
            getattr(signals, name).disconnect(listen)
    for job, status in ((good, "successful"), (bad, "failed"), (gone, "cancelled")):
        job.refresh_from_db()
        assert job.status == status
    assert bad.total_tried == 2
    assert [told.count(job.pk) for job in (good, bad, gone)] == [3, 5, 2]
    assert "hurt" in caplog.text


def raise_own_error():
    raise OwnError("mine")


def declare_another():
    @task(slug="another")
    def another(): ...

    return another


def test_the_life_of_a_job_is_logged_without_its_input_and_its_errors_message(caplog):
    @task(slug="logged", retries=1)
    def logged(token: str):
        raise OwnError("secret-in-the-message")

    with caplog.at_level(logging.DEBUG, logger="django_jobs"):
        job = logged.enqueue(token="secret-in-the-input")
        run_jobs()
        jobs.cancel(Q())
    levels = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "django_jobs"]
    assert levels[0] == ("DEBUG", f"Job {job.pk} logged enqueued on default")
    assert levels[1] == ("INFO", f"Job {job.pk} logged started, attempt 1")
    assert levels[2] == ("WARNING", f"Job {job.pk} logged will run again: OwnError")
    assert levels[3] == ("INFO", f"Job {job.pk} logged started, attempt 2")
    assert levels[4] == ("ERROR", f"Job {job.pk} logged failed for good: OwnError")
    assert all(record.job_id == job.pk for record in caplog.records if record.name == "django_jobs")
    assert "secret" not in caplog.text
