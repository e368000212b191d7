"""The overview: what queues and workers do, and pausing them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_jobs import jobs, task
from django_jobs.models import Job, JobSchedule, JobStatus, Queue, Throughput, Worker
from tests.admin.conftest import Staff
from tests.admin.support import HOSTILE

pytestmark = pytest.mark.django_db

OVERVIEW = "/admin/django_jobs/overview/"
PAUSE, RESUME = f"{OVERVIEW}pause-queue/", f"{OVERVIEW}resume-queue/"


@pytest.fixture
def work() -> None:
    @task(slug="work")
    def work() -> None: ...


def worker(**fields: Any) -> Worker:
    now = timezone.now()
    return Worker.objects.create(
        **{"host": "a", "pid": 1, "started_at": now, "last_heartbeat_at": now, **fields}
    )


def text_of(client: Client, **query: str) -> str:
    return client.get(OVERVIEW, query).content.decode()


def cells(page: str, queue: str) -> list[str]:
    """Return the text of the cells in the row of a queue."""
    [row] = [
        found
        for found in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
        if f">{queue}</a></th>" in found
    ]
    texts = re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", text).split()) for text in texts]


def test_it_is_in_the_menu_of_the_admin(admin_client: Client) -> None:
    assert reverse("admin:django_jobs_overview") == OVERVIEW
    assert f'href="{OVERVIEW}"' in admin_client.get("/admin/").content.decode()
    assert f'href="{OVERVIEW}"' in admin_client.get("/admin/django_jobs/job/").content.decode()


def test_without_jobs_it_says_so(admin_client: Client) -> None:
    page = text_of(admin_client)
    assert "There are no queues yet" in page
    assert "python manage.py runjobs" in page


@pytest.mark.usefixtures("work")
def test_a_queue_shows_what_it_has_to_do_and_what_it_did(admin_client: Client) -> None:
    now = timezone.now()
    Throughput.objects.create(queue="default", minute=now, succeeded=2, failed=1)
    jobs.enqueue_many([("work", {})] * 4)
    jobs.enqueue("work", {}, wait_until=now + timedelta(hours=1))
    old = jobs.enqueue("work", {})
    Job.objects.filter(pk=old.pk).update(created_at=now - timedelta(hours=3))
    _state, ready, oldest, delayed, held, waiting, running, done, failed, *_rest = cells(
        text_of(admin_client), "default"
    )
    assert (ready, delayed, held, waiting, running) == ("5", "1 / 0", "0", "0", "0")
    assert oldest.replace("\xa0", " ") == "3 hours"
    assert (done, failed) == ("2", "1 / 1")


@pytest.mark.usefixtures("work")
def test_the_charts_have_a_bar_for_each_minute_in_which_something_ended(
    admin_client: Client,
) -> None:
    now = timezone.now()
    for ago, counts in ((0, {"succeeded": 4}), (10, {"succeeded": 1, "failed": 3})):
        Throughput.objects.create(
            queue="mail", minute=now.replace(second=0) - timedelta(minutes=ago), **counts
        )
    Throughput.objects.create(queue="other", minute=now - timedelta(minutes=5), retried=7)
    page = text_of(admin_client, queue="mail")
    hour, _day = re.findall(r"<svg viewBox=.*?</svg>", page, re.DOTALL)[:2]
    assert hour.count("jobs-succeeded") == 2
    assert hour.count("jobs-failed") == 1
    assert "jobs-retried" not in hour
    assert 'aria-label="Last hour: 5 succeeded, 3 failed, at most 4 per minute"' in hour
    assert "Show all queues" in page
    assert "jobs-retried" in text_of(admin_client)


@pytest.mark.usefixtures("work")
def test_numbers_lead_to_the_jobs(admin_client: Client) -> None:
    job = jobs.enqueue("work", {}, queue="odd & queue")
    jobs.enqueue("work", {})
    page = text_of(admin_client)
    [url] = set(re.findall(r'href="([^"]*job/\?[^"]*odd[^"]*)"', page))
    listed = admin_client.get(url.replace("&amp;", "&")).content.decode()
    assert reverse("admin:django_jobs_job_change", args=[job.pk]) in listed
    assert "1 job" in listed


@pytest.mark.usefixtures("work")
def test_a_queue_with_ready_jobs_that_no_worker_takes_is_pointed_out(admin_client: Client) -> None:
    jobs.enqueue("work", {}, queue="media")
    assert "No worker is alive." in text_of(admin_client)
    worker(queues=["mail"])
    assert "No living worker takes jobs from the queue media." in text_of(admin_client)
    worker(queues=["media"], last_heartbeat_at=timezone.now() - timedelta(hours=1))
    assert "No living worker takes jobs from the queue media." in text_of(admin_client)
    worker(queues=[])
    assert "No living worker" not in text_of(admin_client)


def test_workers_are_alive_or_gone(admin_client: Client) -> None:
    worker(host="living", queues=["mail", "media"], jobs_running=7)
    worker(host="dead", last_heartbeat_at=timezone.now() - timedelta(minutes=3))
    page = text_of(admin_client)
    living, dead = (page[page.index(host) :] for host in ("living:1", "dead:1"))
    assert "alive" in living[: living.index("</tr>")]
    assert "mail, media" in living[: living.index("</tr>")]
    assert ">7</a>" in living[: living.index("</tr>")]
    assert "gone" in dead[: dead.index("</tr>")]
    assert "all of them" in dead[: dead.index("</tr>")]


def test_a_queue_without_a_row_is_paused_and_resumed(staff: Staff) -> None:
    client = staff("view_job", "change_queue")
    worker(queues=["mail"])
    assert "Pause mail" in text_of(client)
    page = client.post(PAUSE, {"queue": "mail"}, follow=True).content.decode()
    assert "The queue mail is paused: no worker takes jobs from it." in page
    assert "by staff" in page
    row = Queue.objects.get()
    assert (row.paused, row.paused_by) == (True, "staff")
    assert row.paused_at is not None
    assert (
        "was paused already" in client.post(PAUSE, {"queue": "mail"}, follow=True).content.decode()
    )
    page = client.post(RESUME, {"queue": "mail"}, follow=True).content.decode()
    assert "The queue mail is resumed." in page
    assert not Queue.objects.get().paused
    assert [entry.get_change_message() for entry in LogEntry.objects.order_by("id")] == [
        "Paused.", "Resumed.",
    ]  # fmt: skip


def test_only_who_may_change_queues_pauses_them(staff: Staff) -> None:
    client = staff("view_job", "run_job", "view_queue")
    worker(queues=["mail"])
    assert "Pause mail" not in text_of(client)
    assert client.post(PAUSE, {"queue": "mail"}).status_code == 403
    assert not Queue.objects.exists()


def test_looking_pauses_nothing(admin_client: Client) -> None:
    assert admin_client.get(PAUSE, {"queue": "mail"}).status_code == 405
    assert admin_client.post(f"{OVERVIEW}delete-queue/", {"queue": "mail"}).status_code == 404
    assert not Queue.objects.exists()


def test_pausing_needs_a_csrf_token(admin_user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(PAUSE, {"queue": "mail"}).status_code == 403


@pytest.mark.parametrize("name", ["", "a,b", "x" * 256, "nul\x00"])
def test_what_no_queue_can_be_called_is_refused(admin_client: Client, name: str) -> None:
    page = admin_client.post(PAUSE, {"queue": name}, follow=True).content.decode()
    assert "ueue must have 1 to 255 characters" in page
    assert not Queue.objects.exists()


def test_it_is_for_those_who_may_look_at_jobs(staff: Staff) -> None:
    client = staff("view_worker", "change_queue")
    assert client.get(OVERVIEW).status_code == 403
    assert f'href="{OVERVIEW}"' not in client.get("/admin/").content.decode()


def test_workers_are_for_those_who_may_look_at_them(staff: Staff) -> None:
    worker(host="a-secret-host")
    assert "a-secret-host" not in text_of(staff("view_job"))


def test_others_are_sent_to_the_login(client: Client) -> None:
    answer = client.get(OVERVIEW)
    assert answer.status_code == 302
    assert "/login/" in answer.headers["Location"]


@pytest.mark.usefixtures("work")
def test_hostile_names_are_escaped(admin_client: Client) -> None:
    jobs.enqueue("work", {}, queue=HOSTILE)
    jobs.pause_queue(HOSTILE)
    Queue.objects.update(paused_by=HOSTILE)
    worker(host=HOSTILE, queues=[HOSTILE])
    Throughput.objects.create(queue=HOSTILE, minute=timezone.now(), failed=1)
    for page in (text_of(admin_client), text_of(admin_client, queue=HOSTILE)):
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page


def test_a_page_needs_no_inline_scripts_or_styles(admin_client: Client) -> None:
    worker()
    Throughput.objects.create(queue="mail", minute=timezone.now(), failed=1)
    content = text_of(admin_client)
    content = content[content.index('id="content-main"') : content.index("END Content")]
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", content)


@pytest.mark.usefixtures("work")
def test_it_takes_fewer_than_twenty_queries_however_much_there_is(staff: Staff) -> None:
    client = staff("view_job", "view_worker", "change_queue")
    now = timezone.now()
    for number in range(40):
        jobs.enqueue("work", {}, queue=f"queue-{number}")
        worker(queues=[f"queue-{number}"])
        Throughput.objects.create(queue=f"done-{number}", minute=now, succeeded=number)
        Queue.objects.create(name=f"queue-{number}", paused=True)
    text_of(client)
    with CaptureQueriesContext(connection) as queries:
        page = text_of(client)
    assert "queue-39" in page
    assert "done-39" in page
    assert len(queries) < 20


@pytest.mark.usefixtures("work")
def test_running_jobs_of_a_worker_are_found(admin_client: Client) -> None:
    busy, other = worker(jobs_running=1), worker()
    job, unclaimed = jobs.enqueue("work", {}), jobs.enqueue("work", {})
    Job.objects.filter(pk=job.pk).update(
        status=JobStatus.RUNNING, worker=busy, processing_token="0" * 32,
        processing_until=timezone.now() + timedelta(hours=1),
    )  # fmt: skip
    page = text_of(admin_client)
    [url, none] = re.findall(r'href="([^"]*worker=\d+)"', page)
    listed = admin_client.get(url.replace("&amp;", "&")).content.decode()
    assert reverse("admin:django_jobs_job_change", args=[job.pk]) in listed
    assert reverse("admin:django_jobs_job_change", args=[unclaimed.pk]) not in listed
    assert none.endswith(f"={other.pk}")


def test_what_is_stuck_is_counted(admin_client: Client) -> None:
    JobSchedule.objects.create(
        slug="work", cron="@daily", next_run_at=timezone.now() - timedelta(hours=1)
    )
    Job.objects.create(
        slug="work", status=JobStatus.RUNNING, processing_token="0" * 32,
        processing_until=timezone.now() - timedelta(minutes=1),
    )  # fmt: skip
    page = text_of(admin_client)
    assert "1 job is stuck" in page
    assert "1 schedule is overdue" in page
