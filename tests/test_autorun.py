from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from django.utils import timezone

from django_jobs import autorun, jobs, run_after_response, task
from django_jobs.models import Job, JobSchedule
from tests.http.servers import WebServer
from tests.processes import ROOT
from tests.testapp.journal import Journal, until

Start = Callable[..., WebServer]

EVERY_SECOND = {"cron": "* * * * * *"}
SHOULD_RUN = "tests.http.site_urls.should_run"


@pytest.fixture
def serve(worker_env: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    started: list[WebServer] = []

    def start(kind: str, *args: str, **settings: Any) -> WebServer:
        env = {**worker_env, "DJANGO_JOBS": json.dumps(settings)}
        server = WebServer(kind, *args, env=env, output=tmp_path / "server")
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()


def is_successful(job: Job) -> bool:
    job.refresh_from_db()
    return job.status == Job.Status.SUCCESSFUL


# AUTORUN


@pytest.mark.django_db(transaction=True)
def test_autorun_starts_with_the_first_request_of_each_process_of_a_preloaded_server(
    serve: Start, journal: Journal
) -> None:
    server = serve(
        "gunicorn", "--preload", AUTORUN=[EVERY_SECOND], SHOULD_AUTORUN=SHOULD_RUN
    )  # fmt: skip
    journal.open("open")
    began = timezone.now()
    until(lambda: (timezone.now() - began).total_seconds() > 2)
    assert journal.lines("asked") == []
    job = jobs.enqueue("note", {"name": "a"})
    _status, pid = server.ask("/")
    # The first tick fails, and the thread goes on.
    until(lambda: is_successful(job))
    assert {line.pid for line in journal.lines("asked")} == {int(pid)}
    assert journal.lines("note")[0].pid == int(pid)
    assert "The first tick fails." in server.output

    os.kill(int(pid), signal.SIGKILL)
    again = jobs.enqueue("note", {"name": "b"})
    _status, other = server.ask("/")
    assert other != pid
    until(lambda: is_successful(again))


@pytest.mark.django_db(transaction=True)
def test_a_tick_never_overlaps_itself_and_should_autorun_is_asked_before_each(
    serve: Start, journal: Journal
) -> None:
    server = serve("gunicorn", AUTORUN=[EVERY_SECOND], SHOULD_AUTORUN=SHOULD_RUN)
    job = jobs.enqueue("hold", {"name": "a"})
    server.ask("/")
    journal.wait_for("asked", count=3)
    # It said no.
    job.refresh_from_db()
    assert job.status == Job.Status.READY
    journal.open("open")
    journal.wait_for("start", "a")
    asked, began = len(journal.lines("asked")), timezone.now()
    jobs.enqueue("note", {"name": "b"})
    until(lambda: (timezone.now() - began).total_seconds() > 2)
    assert len(journal.lines("asked")) == asked
    journal.open("a")
    journal.wait_for("asked", count=asked + 1)
    journal.wait_for("note", "b")


@pytest.mark.django_db(transaction=True)
def test_an_entry_names_its_queue_and_whether_it_handles_schedules(
    serve: Start, journal: Journal
) -> None:
    server = serve(
        "uvicorn",
        AUTORUN=[
            {"cron": "61 * * * *"},
            {**EVERY_SECOND, "queue": "a", "disable_scheduling": True},
            {**EVERY_SECOND, "queue": "b", "limit": 1},
        ],
    )
    for queue in "abc":
        jobs.enqueue("note", {"name": f"job-{queue}"}, queue=queue)
        JobSchedule.objects.create(
            slug="note", queue=queue, cron="@yearly", input={"name": f"scheduled-{queue}"},
            next_run_at=timezone.now(), planned_with="@yearly|UTC",
        )  # fmt: skip
    server.ask("/")
    journal.wait_for("note", "scheduled-b")
    journal.wait_for("note", "job-a")
    assert {line.words[1] for line in journal.lines("note")} == {"job-a", "job-b", "scheduled-b"}
    assert Job.objects.get(queue="c").status == Job.Status.READY
    assert not Job.objects.filter(queue="a", meta__scheduled=True).exists()
    assert "'61 * * * *' of AUTORUN cannot be used" in server.output


def threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


@pytest.mark.django_db
def test_autorun_does_not_start_in_tests(settings: Any) -> None:
    settings.DJANGO_JOBS = {"AUTORUN": [EVERY_SECOND]}
    Client().get("/admin/login/")
    assert threads("jobs-autorun") == []


PROGRAM = """
import os, sys, threading, django
from django.core.management import call_command
from django.core.signals import request_started
django.setup()
def running():
    return any(thread.name == "jobs-autorun" for thread in threading.enumerate())
call_command("check", stdout=open(os.devnull, "w"))
call_command("diffsettings", stdout=open(os.devnull, "w"))
print("command", running())
request_started.send(None)
request_started.send(None)
print("request", running(), threading.active_count())
sys.stdout.flush()
if not os.fork():
    print("fork", running())
    request_started.send(None)
    print("request of the fork", running())
    sys.stdout.flush()
    os._exit(0)
os.wait()
"""


@pytest.mark.django_db(transaction=True)
def test_autorun_survives_a_fork_and_is_never_started_by_commands(
    worker_env: dict[str, str],
) -> None:
    env = {**worker_env, "DJANGO_JOBS": json.dumps({"AUTORUN": [{"cron": "@yearly"}]})}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        cwd=ROOT, env=env, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "command False",
        "request True 2",
        "fork False",
        "request of the fork True",
    ]


@pytest.mark.django_db
def test_wrong_settings_do_not_break_the_requests_of_the_site(settings: Any) -> None:
    settings.DJANGO_JOBS = {"AUTORUN": "often"}
    autorun._Ticks().start_once()


# run_after_response


SERVERS = [
    ("gunicorn",),
    ("gunicorn", "--threads", "2"),
    ("gunicorn", "--preload", "--workers", "2"),
    ("uvicorn",),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("server", SERVERS, ids=" ".join)
def test_the_client_has_its_response_before_the_job_is_run(
    server: tuple[str, ...], serve: Start, journal: Journal
) -> None:
    """The job holds until the test, which has the response, lets it go on."""
    web = serve(*server)
    for route in ("enqueue", "aenqueue"):
        status, content = web.ask(f"/{route}/hold/{route}")
        assert (status, len(content)) == (200, 100_000)
        job = Job.objects.get(input__name=route)
        assert job.status != Job.Status.SUCCESSFUL
        journal.wait_for("start", route)
        journal.open(route)
        until(lambda job=job: is_successful(job))  # type: ignore[misc]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
def test_a_response_that_is_streamed_ends_before_the_job_is_run(
    server: str, serve: Start, journal: Journal
) -> None:
    status, content = serve(server).ask("/stream/note/a")
    assert (status, len(content)) == (200, 100_010)
    assert content.count(b"0") == 10
    journal.wait_for("note", "a")


@pytest.mark.django_db(transaction=True)
def test_a_job_whose_process_dies_is_still_there(serve: Start, journal: Journal) -> None:
    web = serve("gunicorn")
    web.ask("/enqueue/hold/a")
    journal.wait_for("start", "a")
    web.kill()
    journal.open("a")
    assert Job.objects.get().status == Job.Status.RUNNING
    Job.objects.update(processing_until=timezone.now())
    until(lambda: jobs.run().job_status)
    assert is_successful(Job.objects.get())


def leave_two(request: HttpRequest) -> HttpResponse:
    run_after_response(request, limit=1)
    run_after_response(request, queue="mail", limit=1)
    return HttpResponse()


def leave_nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def leave_and_fail(request: HttpRequest) -> HttpResponse:
    run_after_response(request, limit=150)
    raise RuntimeError("the view")


urlpatterns = [path("two", leave_two), path("nothing", leave_nothing), path("fail", leave_and_fail)]


@pytest.mark.django_db
@pytest.mark.urls(__name__)
def test_in_a_test_that_is_a_transaction_jobs_have_run_when_the_client_has_its_response() -> None:
    @task(slug="fine")
    def fine() -> None: ...

    jobs.enqueue_many([("fine", {})] * 2)
    jobs.enqueue("fine", {}, queue="mail")
    Client().get("/two")
    left = Job.objects.filter(status=Job.Status.READY).values_list("queue", flat=True)
    assert list(left) == ["default"]
    # What one request has asked for is not done for the next.
    Client().get("/nothing")
    assert Job.objects.filter(status=Job.Status.READY).count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.urls(__name__)
def test_one_thread_runs_what_many_responses_have_left() -> None:
    started, go_on = threading.Event(), threading.Event()

    @task(slug="hold-up")
    def hold_up() -> None:
        started.set()
        go_on.wait(30)

    for _ in range(6):
        jobs.enqueue("hold-up", {})
    Client().get("/two")
    assert started.wait(30)
    for _ in range(5):
        Client().get("/two")
    assert len(threads("jobs-after-response")) == 1
    assert Job.objects.filter(status=Job.Status.RUNNING).count() == 1
    go_on.set()
    until(lambda: Job.objects.filter(status=Job.Status.SUCCESSFUL).count() == 6)
    until(lambda: not threads("jobs-after-response"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.urls(__name__)
def test_jobs_are_run_after_a_view_that_failed_too_and_in_portions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @task(slug="fine")
    def fine() -> None: ...

    monkeypatch.setattr(autorun, "MOST_AT_ONCE", 4)
    jobs.enqueue_many([("fine", {})] * 11)
    Client(raise_request_exception=False).get("/fail")
    until(lambda: Job.objects.filter(status=Job.Status.SUCCESSFUL).count() == 11)
    until(lambda: not threads("jobs-after-response"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.urls(__name__)
def test_an_error_in_what_runs_after_a_response_does_not_end_the_next(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @task(slug="fine")
    def fine() -> None: ...

    jobs.enqueue("fine", {})
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "run", lambda **options: 1 / 0)
        Client().get("/two")
        until(lambda: not threads("jobs-after-response"))
    assert "Running jobs after the response failed" in caplog.text
    Client().get("/two")
    until(lambda: Job.objects.get().status == Job.Status.SUCCESSFUL)
    until(lambda: not threads("jobs-after-response"))
