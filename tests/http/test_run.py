"""What `run` and `handle-schedules` do, and what they answer."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.test import Client
from django.utils import timezone

from django_jobs import Schedule, SkipSchedule, jobs, task
from django_jobs.models import Job, JobSchedule

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def tasks() -> None:
    @task(slug="fine")
    def fine() -> None: ...

    @task(slug="bad")
    def bad() -> None:
        raise RuntimeError("the trouble")

    @task(slug="again", retries=1)
    def again() -> None:
        raise RuntimeError("the trouble")


def due(slug: str = "fine", **values: Any) -> JobSchedule:
    """Return a schedule of an admin's that is due."""
    now = timezone.now()
    return JobSchedule.objects.create(
        slug=slug, cron="@hourly", planned_with="@hourly|UTC", next_run_at=now, **values
    )


def test_run_answers_what_became_of_each_job(cron: Client) -> None:
    ids = {slug: jobs.enqueue(slug).pk for slug in ("fine", "bad", "again")}
    answer = cron.post("/jobs/run")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    content = answer.json()
    assert content.pop("execution_time_ms") >= 0
    assert content == {
        "success": True,
        "message": "3 jobs were run.",
        "job_status": {
            str(ids["fine"]): "success",
            str(ids["bad"]): "error-reached-max-retries",
            str(ids["again"]): "error",
        },
        "remaining_jobs_from_queried": 1,
        "no_jobs_remaining": False,
        "scheduled": 0,
    }


def test_run_says_when_nothing_is_due(cron: Client) -> None:
    content = cron.get("/jobs/run").json()
    assert (content["message"], content["job_status"], content["no_jobs_remaining"]) == (
        "0 jobs were run.", {}, True,
    )  # fmt: skip


def test_one_job_is_said_to_be_one(cron: Client) -> None:
    jobs.enqueue("fine")
    assert cron.get("/jobs/run").json()["message"] == "1 job was run."


def test_run_runs_ten_jobs_of_the_default_queue_unless_told_otherwise(cron: Client) -> None:
    jobs.enqueue_many([("fine", {})] * 12)
    jobs.enqueue("fine", queue="mail")
    assert len(cron.get("/jobs/run").json()["job_status"]) == 10
    assert len(cron.get("/jobs/run?limit=1").json()["job_status"]) == 1
    assert len(cron.get("/jobs/run?queue=mail&limit=5").json()["job_status"]) == 1
    assert Job.objects.filter(status=Job.Status.READY).count() == 1


def json_body(client: Client, **values: Any) -> Any:
    return client.post("/jobs/run", json.dumps(values), content_type="application/json")


def form(client: Client, **values: Any) -> Any:
    return client.post("/jobs/run", values)


def query(client: Client, **values: Any) -> Any:
    return client.get("/jobs/run", values)


@pytest.mark.parametrize("send", [json_body, form, query])
@pytest.mark.parametrize("name", ["all_queues", "allQueues"])
@pytest.mark.parametrize("value", ["true", "1", "yes", "on", "TRUE"])
def test_parameters_come_in_the_query_a_form_or_json(
    send: Any, name: str, value: str, cron: Client
) -> None:
    jobs.enqueue("fine", queue="mail")
    content = send(cron, **{name: value, "limit": "5"}).json()
    assert list(content["job_status"].values()) == ["success"]


@pytest.mark.parametrize("value", [False, "false", "0", "no", "off", ""])
def test_a_flag_may_be_false(value: Any, cron: Client) -> None:
    jobs.enqueue("fine", queue="mail")
    assert json_body(cron, all_queues=value).json()["no_jobs_remaining"]


@pytest.mark.parametrize(
    "values", [{"all_queues": True, "limit": 5, "max_seconds": 5.5}, {"allQueues": True}]
)
def test_json_may_hold_numbers_and_booleans(values: dict[str, Any], cron: Client) -> None:
    jobs.enqueue("fine", queue="mail")
    assert len(json_body(cron, **values).json()["job_status"]) == 1


def test_a_body_goes_before_the_query(cron: Client) -> None:
    jobs.enqueue("fine", queue="mail")
    answer = cron.post("/jobs/run?queue=other", {"queue": "mail"})
    assert len(answer.json()["job_status"]) == 1


def test_run_enqueues_what_is_due_first(cron: Client) -> None:
    due()
    due(queue="mail")
    content = cron.get("/jobs/run").json()
    assert (content["scheduled"], len(content["job_status"])) == (1, 1)
    assert Job.objects.get().meta == {"scheduled": True}
    assert cron.get("/jobs/run?all_queues=1").json()["scheduled"] == 1


@pytest.mark.parametrize("name", ["disable_scheduling", "disableScheduling"])
def test_run_leaves_schedules_alone_where_it_is_told_to(name: str, cron: Client) -> None:
    due()
    assert cron.get(f"/jobs/run?{name}=1").json()["scheduled"] == 0
    assert not Job.objects.exists()


def test_what_is_not_started_in_time_is_given_back(cron: Client) -> None:
    jobs.enqueue_many([("fine", {})] * 3)
    content = cron.get("/jobs/run?max_seconds=0").json()
    assert content["job_status"] == {}
    assert content["remaining_jobs_from_queried"] == 3
    assert not content["no_jobs_remaining"]
    assert set(Job.objects.values_list("status", "processing_token", "total_tried")) == {
        ("ready", None, 0)
    }
    assert len(cron.get("/jobs/run?maxSeconds=60").json()["job_status"]) == 3


def test_the_setting_max_seconds_is_the_default(settings: Any, cron: Client) -> None:
    settings.DJANGO_JOBS = {**settings.DJANGO_JOBS, "MAX_SECONDS": 0}
    jobs.enqueue("fine")
    assert cron.get("/jobs/run").json()["job_status"] == {}
    assert len(cron.get("/jobs/run?max_seconds=60").json()["job_status"]) == 1


@pytest.mark.django_db(transaction=True)
def test_a_call_stops_starting_jobs_when_its_time_is_over(
    cron: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two that run one after the other is given back."""
    over = threading.Event()
    ran: list[int] = []

    @task(slug="long")
    def long(number: int) -> None:
        ran.append(number)
        over.set()

    monkeypatch.setattr("django_jobs.worker.runner.MOST_THREADS", 1)
    monkeypatch.setattr("django_jobs.worker.runner._is_over", lambda ends_at: over.is_set())
    jobs.enqueue_many([("long", {"number": number}) for number in (1, 2)])
    content = cron.get("/jobs/run?max_seconds=50").json()
    assert (ran, list(content["job_status"].values())) == ([1], ["success"])
    assert content["remaining_jobs_from_queried"] == 1
    assert Job.objects.get(input__number=2).status == Job.Status.READY


def test_handle_schedules_answers_what_it_did(cron: Client) -> None:
    @task(
        slug="skipping",
        schedule=Schedule("@hourly", before_schedule=lambda context: SkipSchedule("Not today.")),
    )
    def skipping() -> None: ...

    jobs.handle_schedules()
    JobSchedule.objects.update(next_run_at=timezone.now())
    due()
    due("bad", input={"nonsense": 1})
    answer = cron.post("/jobs/handle-schedules")
    content = answer.json()
    assert answer.status_code == 200
    assert content["success"] is True
    assert content["queued"] == [{"id": Job.objects.get().pk, "slug": "fine"}]
    assert content["skipped"] == [{"slug": "skipping", "reason": "Not today."}]
    [errored] = content["errored"]
    assert errored["slug"] == "bad"
    assert "nonsense" in errored["reason"]
    assert Job.objects.get().status == Job.Status.READY


def test_handle_schedules_is_for_one_queue_or_all(cron: Client) -> None:
    for queue in ("a", "b", "c"):
        due(queue=queue)

    def handled(parameters: str) -> list[str]:
        content = cron.get(f"/jobs/handle-schedules{parameters}").json()
        return sorted(Job.objects.get(pk=one["id"]).queue for one in content["queued"])

    assert handled("?queue=a") == ["a"]
    assert handled("?queue=b&allQueues=1") == ["b", "c"]
    due("bad")
    assert handled("") == ["default"]


@pytest.mark.parametrize("error", [RuntimeError, DatabaseError, SystemError])
def test_a_run_that_fails_says_so_without_a_traceback(
    error: type[Exception], cron: Client, monkeypatch: pytest.MonkeyPatch, settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def fail(**options: Any) -> None:
        raise error("the innards")

    settings.DEBUG = True
    monkeypatch.setattr(jobs, "run", fail)
    answer = cron.get("/jobs/run")
    assert answer.status_code == 500
    assert set(answer.json()) == {"success", "error"}
    assert answer.json()["success"] is False
    text = answer.content.decode()
    assert "Traceback" not in text
    assert "innards" not in text
    assert "innards" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_jobs_run_in_no_transaction_of_the_request(
    cron: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ATOMIC_REQUESTS a job would be claimed for others only when the request ends."""
    monkeypatch.setitem(transaction.get_connection().settings_dict, "ATOMIC_REQUESTS", True)
    seen: list[bool] = []

    @task(slug="look")
    def look() -> None:
        seen.append(transaction.get_connection().in_atomic_block)
        others = threading.Thread(target=lambda: seen.append(is_running_elsewhere()))
        others.start()
        others.join()

    def is_running_elsewhere() -> bool:
        try:
            return Job.objects.get().status == Job.Status.RUNNING
        finally:
            transaction.get_connection().close()

    jobs.enqueue("look")
    assert cron.get("/jobs/run").status_code == 200
    assert seen == [False, True]
