"""Who is let in, who is not, and what they are told."""

from __future__ import annotations

import logging
import re
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.test import Client

from django_jobs import jobs, refusals, task
from django_jobs.models import Job
from tests.http.conftest import SECRET, People

pytestmark = pytest.mark.django_db

ROUTES = ["/jobs/run", "/jobs/handle-schedules", "/jobs/metrics"]
METHODS = ["get", "post"]


def ask(client: Client, route: str, method: str, **options: Any) -> Any:
    return getattr(client, method)(route, **options)


def bearer(secret: str) -> dict[str, Any]:
    return {"headers": {"authorization": f"Bearer {secret}"}}


@pytest.fixture
def job() -> Job:
    """A job that is still ready, unless somebody was let in."""

    @task(slug="secret-slug", queue="default")
    def secret() -> None: ...

    return secret.enqueue()


def is_refused(answer: Any, status: int, job: Job) -> None:
    """Check a refusal: it says nothing about jobs, and none was run."""
    assert answer.status_code == status
    assert set(answer.json()) == {"success", "error"}
    assert answer.json()["success"] is False
    assert "secret-slug" not in answer.content.decode()
    assert not re.search(r"\d", answer.content.decode())
    job.refresh_from_db()
    assert job.status == Job.Status.READY


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("method", METHODS)
def test_the_secret_lets_in_by_get_and_post_without_a_csrf_token(
    route: str, method: str, cron: Client
) -> None:
    answer = ask(cron, route, method)
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("header", [f"Bearer {SECRET}", f"bearer {SECRET}", f"BEARER   {SECRET} "])
def test_the_scheme_is_read_as_http_says(header: str) -> None:
    assert Client().get("/jobs/run", headers={"authorization": header}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": f"Basic {SECRET}"},
        {"authorization": SECRET},
        {"authorization": f"Bearer {SECRET}x"},
        {"authorization": f"Bearer {SECRET[:-1]}"},
        {"authorization": f"Bearer {SECRET} {SECRET}"},
        {"authorization": f"Bearer{SECRET}"},
        {"authorization": "Bearer \xe4\xf6\xfc€\ud800"},
        {"authorization": "\xe4" * 5000},
        {"x-vercel-cron": "1"},
        {"x-vercel-cron": SECRET},
        {"x-cron-secret": SECRET},
        {"user-agent": "vercel-cron/1.0", "x-vercel-cron": "1"},
    ],
)
def test_nothing_or_a_wrong_secret_is_refused_with_a_challenge(
    headers: dict[str, str], job: Job
) -> None:
    for route, method in product(ROUTES, METHODS):
        answer = ask(Client(), route, method, headers=headers)
        is_refused(answer, 401, job)
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="jobs"'


@pytest.mark.parametrize("where", [f"/jobs/run?secret={SECRET}", f"/jobs/run?CRON_SECRET={SECRET}"])
def test_a_secret_in_the_address_is_none(where: str, job: Job) -> None:
    is_refused(Client().get(where), 401, job)


@pytest.mark.parametrize("secret", [None, ""])
@pytest.mark.parametrize("header", ["Bearer ", "Bearer None", "Bearer", "Bearer null"])
def test_with_no_secret_set_none_lets_in(
    secret: str | None, header: str, settings: Any, job: Job, people: People
) -> None:
    settings.DJANGO_JOBS = {"CRON_SECRET": secret}
    is_refused(Client().get("/jobs/run", headers={"authorization": header}), 401, job)
    assert people.operator().post("/jobs/run").status_code == 200


def test_a_secret_that_is_not_ascii_works_as_clients_send_it(settings: Any) -> None:
    settings.DJANGO_JOBS = {"CRON_SECRET": "ein-geheimnis-mit-ümläuten"}
    sent = "ein-geheimnis-mit-ümläuten".encode().decode("latin-1")
    assert Client().get("/jobs/run", **bearer(sent)).status_code == 200
    assert Client().get("/jobs/run", **bearer("ein-geheimnis-mit-uemlaeuten")).status_code == 401


@pytest.mark.parametrize("route", ROUTES)
def test_staff_with_the_permission_are_let_in(route: str, people: People) -> None:
    assert people.operator().post(route).status_code == 200


def test_a_superuser_is_let_in(people: People) -> None:
    client = people.client(people.make("root", is_superuser=True, is_staff=True))
    assert client.post("/jobs/run").status_code == 200


@pytest.mark.parametrize(
    "user",
    [
        {"is_staff": False, "may_run": False},
        {"is_staff": True, "may_run": False},
        {"is_staff": False, "may_run": True},
        {"is_staff": False, "is_superuser": True},
    ],
)
def test_a_user_without_the_right_is_refused(
    user: dict[str, Any], people: People, job: Job
) -> None:
    client = people.client(people.make("somebody", **user), enforce_csrf_checks=True)
    for route, method in product(ROUTES, METHODS):
        is_refused(ask(client, route, method), 403, job)


def test_another_permission_is_not_enough(people: People, job: Job) -> None:
    user = people.make("somebody", is_staff=True)
    user.user_permissions.set(Permission.objects.exclude(codename="run_job"))
    is_refused(people.client(user).post("/jobs/run"), 403, job)


@pytest.mark.parametrize(
    ("backend", "status"),
    [
        ("django.contrib.auth.backends.ModelBackend", 401),
        ("django.contrib.auth.backends.AllowAllUsersModelBackend", 403),
        ("tests.http.conftest.Lenient", 403),
    ],
)
def test_an_inactive_user_is_refused(
    backend: str, status: int, settings: Any, people: People, job: Job
) -> None:
    settings.AUTHENTICATION_BACKENDS = [backend]
    user = people.make("gone", is_active=False, is_staff=True, is_superuser=True, may_run=True)
    is_refused(people.client(user).post("/jobs/run"), status, job)


def test_a_user_without_the_right_who_presents_a_wrong_secret_is_told_so(
    people: People, job: Job
) -> None:
    client = people.client(people.make("somebody"))
    is_refused(client.post("/jobs/run", **bearer("wrong")), 401, job)


def test_the_secret_lets_in_whoever_else_is_logged_in(people: People) -> None:
    client = people.client(people.make("somebody"), enforce_csrf_checks=True)
    assert client.get("/jobs/run", **bearer(SECRET)).status_code == 200
    assert client.post("/jobs/run", **bearer(SECRET)).status_code == 200


@pytest.mark.parametrize("route", ["/jobs/run", "/jobs/handle-schedules"])
def test_get_by_a_session_user_is_refused(route: str, people: People, job: Job) -> None:
    """A link, or an image, must not run jobs."""
    answer = people.operator().get(route)
    is_refused(answer, 405, job)
    assert answer.headers["Allow"] == "POST"


def test_a_session_user_may_get_the_metrics(people: People) -> None:
    assert people.operator().get("/jobs/metrics").status_code == 200


@pytest.mark.parametrize("route", ROUTES)
def test_post_by_a_session_user_needs_a_csrf_token(route: str, people: People, job: Job) -> None:
    client = people.operator(enforce_csrf_checks=True)
    is_refused(client.post(route), 403, job)
    client.cookies["csrftoken"] = token = "a" * 32
    is_refused(client.post(route, headers={"x-csrftoken": "b" * 32}), 403, job)
    assert client.post(route, headers={"x-csrftoken": token}).status_code == 200
    assert client.post(route, {"csrfmiddlewaretoken": token}).status_code == 200


def test_a_wrong_secret_does_not_spare_a_session_user_the_csrf_token(
    people: People, job: Job
) -> None:
    client = people.operator(enforce_csrf_checks=True)
    is_refused(client.post("/jobs/run", **bearer("wrong")), 403, job)
    is_refused(client.get("/jobs/run", **bearer("wrong")), 405, job)


def test_other_methods_are_refused(cron: Client) -> None:
    for route, method in product(ROUTES, ["put", "patch", "delete", "head", "options"]):
        answer = ask(cron, route, method)
        assert answer.status_code == 405
        assert answer.headers["Allow"] == "GET, POST"


def test_an_access_function_decides_alone(settings: Any, people: People, job: Job) -> None:
    def has_ticket(request: HttpRequest) -> bool:
        return request.headers.get("X-Ticket") == "7"

    settings.DJANGO_JOBS = {"CRON_SECRET": SECRET, "ACCESS": {"run": has_ticket}}
    is_refused(Client().post("/jobs/run", **bearer(SECRET)), 401, job)
    is_refused(people.operator().post("/jobs/run"), 403, job)
    assert Client().get("/jobs/run", headers={"x-ticket": "7"}).status_code == 200


def test_an_access_function_lets_a_session_user_in_under_the_rules_for_sessions(
    settings: Any, people: People, job: Job
) -> None:
    settings.DJANGO_JOBS = {"ACCESS": {"run": lambda request: request.user.is_authenticated}}
    client = people.client(people.make("somebody"), enforce_csrf_checks=True)
    is_refused(client.get("/jobs/run"), 405, job)
    is_refused(client.post("/jobs/run"), 403, job)
    is_refused(client.post("/jobs/run", **bearer("anything")), 403, job)


def test_an_access_function_may_raise_permission_denied(settings: Any, job: Job) -> None:
    def refuse(request: HttpRequest) -> bool:
        raise PermissionDenied("secret-slug")

    settings.DJANGO_JOBS = {"ACCESS": {"run": refuse}}
    is_refused(Client().get("/jobs/run"), 401, job)


def test_an_access_function_that_fails_lets_nobody_in(
    settings: Any, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DEBUG = True
    settings.DJANGO_JOBS = {"ACCESS": {"run": lambda request: 1 / 0}}
    answer = Client().get("/jobs/run")
    is_refused(answer, 500, job)
    assert "ZeroDivisionError" not in answer.content.decode()
    assert "ZeroDivisionError" in caplog.text


def test_the_endpoints_need_neither_sessions_nor_users(settings: Any, cron: Client) -> None:
    settings.MIDDLEWARE = []
    assert cron.post("/jobs/run").status_code == 200
    assert Client().post("/jobs/run").status_code == 401


def test_refusals_are_logged_now_and_then_and_without_secrets(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, people: People
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(refusals, "_logged_at", -refusals.INTERVAL)
    monkeypatch.setattr(refusals, "_unlogged", 0)
    for _ in range(5):
        Client().get("/jobs/run?queue=hush", **bearer("wrong-but-near-to-it"))
    lines = [r.getMessage() for r in caplog.records if r.name == "django_jobs.access"]
    assert lines == ["Refused GET /jobs/run from 127.0.0.1; 1 since the last of these lines"]
    monkeypatch.setattr(refusals, "_logged_at", -refusals.INTERVAL)
    Client().post("/jobs/run", {"queue": "hush"}, **bearer("wrong-but-near-to-it"))
    assert "5 since" in caplog.records[-2].getMessage() + caplog.records[-1].getMessage()
    assert "wrong-but-near-to-it" not in caplog.text
    assert "hush" not in caplog.text


def test_the_secret_is_in_no_log_and_no_answer(
    cron: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(jobs, "run", lambda **options: 1 / 0)
    failed = cron.get("/jobs/run")
    bad = cron.post("/jobs/run", {"limit": SECRET})
    assert (failed.status_code, bad.status_code) == (500, 400)
    for text in (failed.content.decode(), bad.content.decode(), caplog.text):
        assert SECRET not in text
