"""The list of the jobs: what it says of each, and how one is found."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.http import urlencode

from django_jobs import JobContext, workflow
from django_jobs.admin import changelist
from django_jobs.admin.filters import STATES
from django_jobs.models import Job, JobSchedule, JobStatus
from django_jobs.queue import operate
from tests.admin.support import HOSTILE, LIST, declare, page_of
from tests.explain.support import add_worker
from tests.queue.support import claim, claim_one, end_lease
from tests.worker.support import run

pytestmark = pytest.mark.django_db


def listed(client: Client, **query: Any) -> set[int]:
    """Return the ids of the jobs that the list shows."""
    response = client.get(LIST, query)
    assert response.status_code == 200
    return {int(pk) for pk in re.findall(rf'href="{LIST}(\d+)/change/', response.content.decode())}


def row(client: Client, job: Job) -> str:
    """Return the text of the job's row, with single spaces."""
    page = client.get(LIST).content.decode()
    found = re.search(rf"<tr[^>]*>(?:(?!</tr>).)*{page_of(job)}.*?</tr>", page, re.DOTALL)
    assert found is not None
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split())


def test_a_row_says_what_a_job_is_and_why_it_does_not_run(admin_client) -> None:
    add_worker()
    shown = declare(label="Show it", concurrency=lambda input, queue: "user:7")
    holder = shown.using(queue="mail").enqueue()
    held = shown.using(queue="mail").enqueue()
    claim_one(queue="mail")
    text = row(admin_client, held)
    for said in ("waiting for its key", f"which the job {holder.pk} holds", "Show it", "shown"):
        assert said in text
    assert "mail user:7" in text
    assert "running" in row(admin_client, holder)


def test_a_row_says_when_and_how_long_a_job_ran(admin_client) -> None:
    ended = timezone.now() - timedelta(minutes=3, seconds=1)
    times = {"started_at": ended - timedelta(seconds=75), "completed_at": ended}
    done = Job.objects.create(slug="a", status=JobStatus.SUCCESSFUL, total_tried=2, **times)
    assert "ended 3 minutes ago 1 minute 2" in row(admin_client, done).replace("\xa0", " ")
    Job.objects.filter(pk=done.pk).update(started_at=ended - timedelta(seconds=0.25))
    assert "250 ms" in row(admin_client, done)
    later = Job.objects.create(slug="a", wait_until=timezone.now() + timedelta(hours=2, minutes=1))
    assert "in 2 hours" in row(admin_client, later).replace("\xa0", " ")


def test_a_failed_job_says_its_error(admin_client) -> None:
    job = declare().enqueue(fail=True)
    run(job)
    assert "failed ValueError: No &#x27;&#x27; here" in row(admin_client, job)


def test_hostile_text_is_escaped(admin_client) -> None:
    add_worker(HOSTILE)
    shown = declare(HOSTILE, label=HOSTILE, concurrency=lambda input, queue: HOSTILE)
    failed, held = shown.using(queue=HOSTILE).enqueue_many([{"fail": True}, {}])
    operate.pause_queue(HOSTILE, by=HOSTILE, using="default")
    run(failed)
    for query in ({}, {"key": HOSTILE}, {"q": HOSTILE}, {"error": HOSTILE}, {"queue": HOSTILE}):
        text = admin_client.get(LIST, query).content.decode()
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert" in text
    assert held.pk in listed(admin_client, key=HOSTILE)


# Filters


def jobs_of_every_state() -> dict[str, Job]:
    shown = declare(concurrency=lambda input, queue: input.get("text"))
    later = timezone.now() + timedelta(hours=1)

    @workflow(slug="sleeper")
    def sleeper(ctx: JobContext) -> None:
        ctx.sleep("nap", timedelta(days=1))

    jobs = {
        "running": shown.using(priority=9).enqueue(text="key"),
        "held": shown.enqueue(text="key"),
        "delayed": shown.using(wait_until=later).enqueue(),
        "retrying": shown.using(retries=1, wait_until=later).enqueue(),
        "waiting": sleeper.enqueue(),
        "successful": shown.enqueue(),
        "failed": shown.enqueue(fail=True),
        "cancelled": shown.enqueue(),
    }
    Job.objects.filter(pk=jobs["retrying"].pk).update(error={"name": "E"})
    for name in ("waiting", "successful", "failed"):
        run(jobs[name])
    jobs["cancelled"].cancel()
    claim(1)
    jobs["ready"] = shown.enqueue()
    return jobs


def test_every_state_is_a_filter(admin_client) -> None:
    jobs = jobs_of_every_state()
    assert {name: listed(admin_client, status=name) for name in STATES} == {
        name: {jobs[name].pk} for name in STATES
    }


def test_a_job_whose_time_has_come_is_ready_before_a_worker_notices(admin_client) -> None:
    job = declare().using(wait_until=timezone.now() + timedelta(hours=1)).enqueue()
    Job.objects.filter(pk=job.pk).update(wait_until=timezone.now() - timedelta(seconds=1))
    assert listed(admin_client, status="ready") == {job.pk}
    assert listed(admin_client, status="delayed") == set()


def test_other_filters_find_what_they_say(admin_client) -> None:
    old = timezone.now() - timedelta(hours=3)
    worker = add_worker()
    wanted = Job.objects.create(
        slug="wanted", queue="mail", kind="workflow", worker=worker, concurrency_key="user:7",
        created_at=old, completed_at=old, status=JobStatus.SUCCESSFUL,
    )  # fmt: skip
    other = Job.objects.create(slug="other")
    for query in (
        {"queue": "mail"}, {"slug": "wanted"}, {"kind": "workflow"}, {"worker": worker.pk},
        {"key": "user:7"}, {"finished": "day"}, {"q": "user:7"}, {"q": f" {wanted.pk} "},
        {"queue": "mail", "slug": "wanted", "created": "week", "status": "successful"},
    ):  # fmt: skip
        assert listed(admin_client, **query) == {wanted.pk}, query
    assert listed(admin_client, created="hour") == {other.pk}
    assert listed(admin_client, finished="10m") == set()
    assert listed(admin_client, created="day") == {wanted.pk, other.pk}


@pytest.mark.parametrize(
    "query",
    [
        {"q": "9" * 40}, {"q": "user:8"}, {"q": "²"}, {"q": "'; --"}, {"worker": "x"},
        {"worker": "9" * 30}, {"created": "x"}, {"stuck": "x"}, {"status": "x"}, {"error": "x"},
    ],
)  # fmt: skip
def test_what_is_asked_for_and_not_there_finds_nothing(admin_client, query: Any) -> None:
    declare().enqueue()
    assert listed(admin_client, **query) == set()


def test_an_id_is_found_before_a_key_that_looks_like_one(admin_client) -> None:
    first = declare().enqueue()
    keyed = Job.objects.create(slug="a", concurrency_key=str(first.pk))
    other = Job.objects.create(slug="a", concurrency_key="4711000")
    assert listed(admin_client, q=str(first.pk)) == {first.pk}
    assert listed(admin_client, key=str(first.pk)) == {keyed.pk}
    assert listed(admin_client, q="4711000") == {other.pk}


def test_what_is_stuck_is_counted_and_found(admin_client) -> None:
    shown = declare()
    over, lost, fine = shown.enqueue_many([{}, {}, {}])
    claim(3)
    end_lease(over)
    Job.objects.filter(pk=lost.pk).update(worker=999_999)
    add_worker(silent_for=3600)
    due = timezone.now() - timedelta(hours=1)
    JobSchedule.objects.create(slug="s", cron="@daily", next_run_at=due)
    page = admin_client.get(LIST).content.decode()
    for said in ("2 jobs are stuck", "1 worker is silent", "1 schedule is overdue"):
        assert said in page
    assert listed(admin_client, stuck="lease") == {over.pk}
    assert listed(admin_client, stuck="worker") == {lost.pk}
    assert listed(admin_client, stuck="slow") == set()
    assert listed(admin_client, stuck="any") == {over.pk, lost.pk}
    assert fine.pk in listed(admin_client)


def test_nothing_is_said_of_what_is_stuck_where_nothing_is(admin_client) -> None:
    declare().enqueue()
    assert "jobs-stuck" not in admin_client.get(LIST).content.decode()


# Size


def busy_site(number: int) -> None:
    """Add jobs in every state, on many queues and keys."""
    jobs_of_every_state()
    add_worker("default", "other")
    shown = declare("bulk", concurrency=lambda input, queue: input["text"])
    for queue in ("a", "b", "c", "default"):
        shown.using(queue=queue).enqueue_many([{"text": f"{n}"} for n in range(number)])
    claim(5, queue="a")


@pytest.mark.parametrize("query", [{}, {"status": "failed"}, {"q": "key"}, {"created": "hour"}])
def test_a_page_takes_fewer_than_twenty_queries_and_none_per_row(
    staff, query: dict[str, str]
) -> None:
    busy_site(30)
    client = staff("view_job", "retry_job", "cancel_job", "run_job", "delete_job")
    client.get(LIST, query)
    with CaptureQueriesContext(connection) as queries:
        client.get(LIST, query)
    assert len(queries) < 20
    counts = [query["sql"] for query in queries if "COUNT(*)" in query["sql"]]
    assert counts
    assert all("LIMIT 10001" in sql for sql in counts)


def test_only_the_first_of_very_many_jobs_can_be_paged_through(
    admin_client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changelist, "MOST", 150)
    declare().enqueue_many([{}] * 160)
    page = admin_client.get(LIST, {"p": 2}).content.decode()
    assert "150 or more jobs match." in page
    assert page.count('class="action-select"') == 50


def test_the_large_columns_are_not_read_for_the_list(admin_client) -> None:
    declare().enqueue()
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(LIST)
    assert not [query for query in queries if '"meta"' in query["sql"] or "`meta`" in query["sql"]]


def test_a_filter_may_be_read_in_the_url_of_what_is_done_with_all(admin_client) -> None:
    declare().using(queue="a&b").enqueue()
    page = admin_client.get(LIST, {"queue": "a&b"}).content.decode()
    assert f'{LIST}do/retry/?{urlencode({"queue": "a&b"})}"' in page
    assert "With all that match:" in page
    assert "With all jobs:" in admin_client.get(LIST).content.decode()
