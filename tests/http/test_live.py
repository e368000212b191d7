"""The endpoints of a live server, asked by real clients."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from pytest_django.live_server_helper import LiveServer

from django_jobs import jobs, task
from django_jobs.models import Job
from tests.http.conftest import SECRET
from tests.http.servers import WebServer
from tests.races.support import at_once
from tests.testapp.journal import Journal
from tests.testapp.models import Entry

pytestmark = pytest.mark.django_db(transaction=True)

BEARER = {"Authorization": f"Bearer {SECRET}"}


@pytest.fixture(autouse=True)
def tasks() -> None:
    @task(slug="write")
    def write(name: str) -> None:
        Entry.objects.create(name=name)


class Server:
    def __init__(self, url: str) -> None:
        self.address = urlsplit(url).netloc

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] = {}, body: bytes | None = None
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        self.content = answer.read()
        connection.close()
        return answer

    def raw(self, request: bytes) -> bytes:
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(4096), b""))


@pytest.fixture
def server(live_server: LiveServer) -> Server:
    return Server(live_server.url)


def test_a_scheduler_runs_what_is_due(server: Server) -> None:
    """As Vercel asks: GET, with the secret as bearer, and a header that proves nothing."""
    job = jobs.enqueue("write", {"name": "a"})
    vercel = {"User-Agent": "vercel-cron/1.0", "x-vercel-cron": "1"}
    assert server.ask("GET", "/jobs/run", vercel).status == 401
    assert not Entry.objects.exists()
    answer = server.ask("GET", "/jobs/run", {**vercel, **BEARER})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    content = json.loads(server.content)
    assert content["job_status"] == {str(job.pk): "success"}
    assert Entry.objects.get().name == "a"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps({"allQueues": True, "limit": 2}), "application/json"),
        (json.dumps({"all_queues": True, "limit": 2}), "application/json; charset=utf-8"),
        (urlencode({"allQueues": "true", "limit": 2}), "application/x-www-form-urlencoded"),
    ],
)
def test_a_body_is_read_by_its_type(server: Server, body: str, content_type: str) -> None:
    for queue in "abc":
        jobs.enqueue("write", {"name": queue}, queue=queue)
    answer = server.ask(
        "POST", "/jobs/run", {"Content-Type": content_type, **BEARER}, body.encode()
    )
    assert answer.status == 200
    assert len(json.loads(server.content)["job_status"]) == 2


def test_refusals_have_their_status_and_headers(server: Server) -> None:
    answer = server.ask("POST", "/jobs/run", {"Authorization": "Bearer wrong"})
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="jobs"'
    assert server.ask("GET", "/jobs/health").status == 200
    assert server.ask("GET", "/jobs/metrics").status == 401
    assert server.ask("GET", "/jobs/metrics", BEARER).status == 200
    assert server.ask("DELETE", "/jobs/run", BEARER).status == 405
    assert server.ask("GET", "/jobs/run?limit=-1", BEARER).status == 400


def test_a_header_of_any_bytes_is_a_refusal(server: Server) -> None:
    for header in (b"Bearer \xff\xfe\x00x", b"Bearer " + "ü€".encode(), b"\xe4", b"Bearer\t"):
        answer = server.raw(
            b"GET /jobs/run HTTP/1.0\r\nHost: localhost\r\nAuthorization: " + header + b"\r\n\r\n"
        )
        assert answer.split(b"\r\n")[0].split(b" ")[1] == b"401", (header, answer[:200])


def test_a_body_that_breaks_off_is_no_500(server: Server) -> None:
    answer = server.raw(
        b"POST /jobs/run HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer " + SECRET.encode() + b"\r\nContent-Length: 500\r\n\r\n{"
    )
    assert answer.split(b" ")[1] == b"400"


def test_calls_at_once_run_each_job_once(live_server: LiveServer) -> None:
    names = [f"n{number}" for number in range(30)]
    jobs.enqueue_many([("write", {"name": name}) for name in names])

    def call() -> dict[str, str]:
        ran: dict[str, str] = {}
        while True:
            server = Server(live_server.url)
            assert server.ask("GET", "/jobs/run?limit=4", BEARER).status == 200
            content = json.loads(server.content)
            ran.update(content["job_status"])
            if content["no_jobs_remaining"]:
                return ran

    results = at_once(*[call] * 5)
    assert sorted(Entry.objects.values_list("name", flat=True)) == sorted(names)
    assert sum(len(ran) for ran in results) == 30
    assert not Job.objects.exclude(status=Job.Status.SUCCESSFUL).exists()


@pytest.fixture
def asgi(worker_env: dict[str, str], tmp_path: Path) -> Iterator[WebServer]:
    env = {**worker_env, "DJANGO_JOBS": json.dumps({"CRON_SECRET": SECRET})}
    server = WebServer("uvicorn", env=env, output=tmp_path / "server")
    yield server
    server.kill()


def test_an_asgi_server_runs_plain_and_async_handlers(asgi: WebServer, journal: Journal) -> None:
    plain, other = jobs.enqueue("note", {"name": "a"}), jobs.enqueue("ahold", {"name": "b"})
    journal.open("b")
    assert asgi.ask("/jobs/run")[0] == 401
    status, content = asgi.ask("/jobs/run", "POST", BEARER)
    assert status == 200
    assert json.loads(content)["job_status"] == {
        str(plain.pk): "success", str(other.pk): "success",
    }  # fmt: skip
    assert asgi.ask("/jobs/health")[0] == 200


@pytest.fixture
def without_database(worker_env: dict[str, str], tmp_path: Path) -> Iterator[WebServer]:
    env = {
        **worker_env,
        "DATABASE_URL": f"sqlite:///{tmp_path}/nowhere/at/all.sqlite3",
        "DJANGO_JOBS": json.dumps({"CRON_SECRET": SECRET}),
        "SITE_SETTINGS": "tests.http.lost_settings",
    }
    server = WebServer("gunicorn", env=env, output=tmp_path / "server")
    yield server
    server.kill()


def test_a_server_without_its_database_says_so(without_database: WebServer) -> None:
    status, content = without_database.ask("/jobs/health")
    assert (status, json.loads(content)["database"]) == (503, False)
    for route in ("run", "handle-schedules", "metrics"):
        status, content = without_database.ask(f"/jobs/{route}", headers=BEARER)
        assert (status, set(json.loads(content))) == (500, {"success", "error"})
