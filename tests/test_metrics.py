from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from django_jobs import jobs, task
from django_jobs.models import Job, LogState, Worker
from django_jobs.queue import statistics

pytestmark = pytest.mark.django_db

SECRET = {"authorization": "Bearer a-secret-of-metrics"}


@pytest.fixture(autouse=True)
def the_project(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.http.urls"
    settings.DJANGO_JOBS = {"CRON_SECRET": "a-secret-of-metrics"}

    @task(slug="work")
    def work(fail: bool = False) -> None:
        if fail:
            raise RuntimeError


def samples() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the value of each sample that Prometheus reads."""
    answer = Client().get("/jobs/metrics", headers=SECRET)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.content.decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(name: str, **labels: str) -> float:
    return samples()[f"django_jobs_{name}", frozenset(labels.items())]


def test_unfinished_jobs_are_counted_by_queue_and_state() -> None:
    later = timezone.now() + timedelta(hours=1)
    jobs.enqueue_many([("work", {})] * 3)
    jobs.enqueue("work", {}, queue='odd "queue"\n\\')
    jobs.enqueue("work", {}, queue="mail", wait_until=later)
    running = jobs.enqueue("work", {}, queue="mail")
    Job.objects.filter(pk=running.pk).update(
        status=Job.Status.RUNNING, processing_token="0" * 32, processing_until=later
    )
    assert value("unfinished", queue="default", state="ready") == 3
    assert value("unfinished", queue='odd "queue"\n\\', state="ready") == 1
    assert value("unfinished", queue="mail", state="delayed") == 1
    assert value("unfinished", queue="mail", state="running") == 1


def test_held_and_waiting_jobs_are_counted() -> None:
    @task(slug="keyed", concurrency=lambda input, queue: "one")
    def keyed() -> None: ...

    for _ in range(3):
        keyed.enqueue()
    asleep = jobs.enqueue("work", {}, wait_until=timezone.now() + timedelta(hours=1))
    Job.objects.filter(pk=asleep.pk).update(status=Job.Status.WAITING)
    assert value("unfinished", queue="default", state="ready") == 1
    assert value("unfinished", queue="default", state="held") == 2
    assert value("unfinished", queue="default", state="waiting") == 1


def test_a_job_that_waits_for_an_event_is_counted_as_waiting() -> None:
    job = jobs.enqueue("work", {})
    Job.objects.filter(pk=job.pk).update(status=Job.Status.WAITING)
    job.refresh_from_db()
    job.waits.create(event="payment")
    assert value("unfinished", queue="default", state="waiting") == 1


def test_workers_and_the_age_of_the_oldest_job_are_told() -> None:
    assert value("workers") == 0
    assert value("oldest_ready_seconds") == 0
    now = timezone.now()
    Worker.objects.create(host="a", pid=1, started_at=now, last_heartbeat_at=now)
    job = jobs.enqueue("work", {})
    Job.objects.filter(pk=job.pk).update(created_at=now - timedelta(seconds=100))
    assert value("workers") == 1
    assert 100 <= value("oldest_ready_seconds") < 130


def test_how_long_jobs_waited_and_ran_is_a_histogram() -> None:
    now = timezone.now()
    for seconds in (0.02, 0.2, 400):
        job = jobs.enqueue("work", {})
        Job.objects.filter(pk=job.pk).update(
            status=Job.Status.SUCCESSFUL,
            created_at=now - timedelta(seconds=3),
            started_at=now,
            completed_at=now + timedelta(seconds=seconds),
        )
        job.log_entries.create(state=LogState.SUCCEEDED)
    buckets = {
        bound: value("recent_run_seconds_bucket", queue="default", le=bound)
        for bound in ("0.01", "0.05", "0.5", "300.0", "1800.0", "+Inf")
    }
    assert list(buckets.values()) == [0, 1, 2, 2, 3, 3]
    assert value("recent_run_seconds_gcount", queue="default") == 3
    assert value("recent_run_seconds_gsum", queue="default") == pytest.approx(400.22, abs=0.01)
    assert value("recent_wait_seconds_bucket", queue="default", le="1.0") == 0
    assert value("recent_wait_seconds_bucket", queue="default", le="5.0") == 3


def test_outcomes_are_counted_by_queue_and_status() -> None:
    jobs.enqueue_many([("work", {}), ("work", {}), ("work", {"fail": True})])
    jobs.run()
    assert value("recent", queue="default", status="successful") == 2
    assert value("recent", queue="default", status="failed") == 1


def test_jobs_that_have_not_run_yet_do_not_hide_those_that_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics, "SAMPLE", 2)
    jobs.enqueue("work", {})
    jobs.run()
    jobs.enqueue_many([("work", {})] * 5)
    assert value("recent", queue="default", status="successful") == 1


def test_only_the_newest_jobs_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(statistics, "SAMPLE", 2)
    jobs.enqueue_many([("work", {})] * 5)
    jobs.run()
    assert value("recent", queue="default", status="successful") == 2
    with django_assert_num_queries(9):
        samples()


def test_without_prometheus_client_the_answer_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "django_jobs.metrics", raising=False)
    answer = Client().get("/jobs/metrics", headers=SECRET)
    assert answer.status_code == 501
    assert "django-durable-jobs[metrics]" in answer.json()["error"]
    assert Client().get("/jobs/metrics").status_code == 401
