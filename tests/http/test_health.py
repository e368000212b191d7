from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError
from django.test import Client
from django.utils import timezone

from django_jobs import jobs, task
from django_jobs.models import Job, Worker
from django_jobs.queue import statistics

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("method", ["get", "post"])
def test_everybody_may_ask_whether_it_is_well(method: str) -> None:
    client = Client(enforce_csrf_checks=True)
    answer = getattr(client, method)("/jobs/health")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok", "database": True, "workers": 0, "oldest_ready_seconds": None,
    }  # fmt: skip
    assert "no-store" in answer.headers["Cache-Control"]


def test_a_probe_may_ask_for_the_head_only() -> None:
    answer = Client().head("/jobs/health")
    assert (answer.status_code, answer.content) == (200, b"")


def test_workers_are_those_whose_heart_beats() -> None:
    now = timezone.now()
    for age in (0, 30, 3600):
        Worker.objects.create(
            host="a", pid=1, started_at=now, last_heartbeat_at=now - timedelta(seconds=age)
        )
    assert Client().get("/jobs/health").json()["workers"] == 2


def test_the_oldest_ready_job_is_found_whatever_its_priority() -> None:
    @task(slug="work")
    def work() -> None: ...

    now = timezone.now()
    work.using(priority=5).enqueue()
    old = work.using(priority=-5).enqueue()
    work.enqueue()
    later = work.using(wait_until=now + timedelta(hours=1)).enqueue()
    Job.objects.filter(pk=old.pk).update(created_at=now - timedelta(seconds=500))
    Job.objects.filter(pk=later.pk).update(created_at=now - timedelta(seconds=9000))
    seconds = Client().get("/jobs/health").json()["oldest_ready_seconds"]
    assert 499 <= seconds <= 530
    jobs.cancel_by_id(old.pk)
    assert Client().get("/jobs/health").json()["oldest_ready_seconds"] < 100


def test_the_oldest_is_looked_up_once_per_priority(django_assert_num_queries: Any) -> None:
    @task(slug="work")
    def work() -> None: ...

    for priority in (1, 1, 2, 2, 3):
        work.using(priority=priority).enqueue()
    with django_assert_num_queries(4):
        statistics.oldest_ready_seconds(using="default")


@pytest.mark.parametrize("error", [OperationalError, DatabaseError])
def test_a_database_that_does_not_answer_is_a_503(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def fail(**options: Any) -> None:
        raise error("password authentication failed for user hush")

    settings.DEBUG = True
    monkeypatch.setattr(statistics, "workers_alive", fail)
    answer = Client().get("/jobs/health")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "unavailable", "database": False, "workers": None, "oldest_ready_seconds": None,
    }  # fmt: skip
    assert error.__name__ in caplog.text
    assert "hush" not in caplog.text


def test_the_other_methods_are_refused() -> None:
    assert Client().delete("/jobs/health").status_code == 405
