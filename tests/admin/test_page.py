"""The page of one job."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs import JobContext, jobs, task, workflow
from django_jobs.models import (
    Job,
    JobLog,
    JobSchedule,
    JobStatus,
    LogState,
    ScheduleRun,
    TaskStatus,
    Worker,
)  # fmt: skip
from django_jobs.testing import run_jobs
from tests.admin.support import HOSTILE, declare, page_of, texts

pytestmark = pytest.mark.django_db


def shown(client: Client, job: Job, **query: Any) -> str:
    page = client.get(page_of(job), query)
    assert page.status_code == 200
    return page.content.decode()


def words(html: str) -> str:
    """Return the text of a page, with single spaces."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def declare_flow() -> Any:
    """Return a workflow that fails in its first attempt and succeeds in its second."""
    attempts = []

    @task(slug="outer", takes_context=True)
    def outer(ctx: JobContext) -> str:
        ctx.log("within the outer", number=42)
        return str(ctx.inline("inner", lambda: "inner output"))

    @workflow(slug="flow", retries=2)
    def flow(ctx: JobContext, text: str) -> str:
        attempts.append(1)
        ctx.run("first", outer)
        ctx.log("careful", level=30)
        ctx.set_progress(1, 4, "a quarter")
        if len(attempts) == 1:
            raise ValueError("not at once")
        return text

    return flow


def test_each_attempt_tells_what_ran_and_what_was_kept(admin_client: Client) -> None:
    job = declare_flow().enqueue(text="the input")
    run_jobs(ignore_delays=True)
    text = words(shown(admin_client, job))
    assert "the input" in text
    first, second = text.index("Step or message"), text.rindex("Step or message")
    assert text.index("ValueError: not at once") < text.index("inner function") < second
    assert "2 steps had succeeded before and are not run again" in text[first:]
    assert "inner" not in text[second : text.index("What the job remembers")]
    assert "warning careful" in text
    assert '{"number": 42}' in text.replace("&quot;", '"')
    assert "1 / 4 a quarter" in text


def test_steps_within_a_step_are_below_it(admin_client: Client) -> None:
    job = declare_flow().enqueue(text="x")
    run_jobs(ignore_delays=True)
    page = shown(admin_client, job)
    assert re.search(r'class="jobs-depth-0">\s*first', page)
    assert re.search(r'class="jobs-depth-1">\s*inner', page)


@pytest.mark.django_db(transaction=True)
def test_steps_that_ran_at_the_same_time_are_marked(admin_client: Client) -> None:
    both = threading.Barrier(2, timeout=60)

    @workflow(slug="flow")
    def flow(ctx: JobContext) -> None:
        ctx.inline("alone", int)
        with ctx.parallel() as group:
            group.inline("left", both.wait)
            group.inline("right", both.wait)

    job = flow.enqueue()
    jobs.run_by_id(job.pk)
    text = words(shown(admin_client, job))
    marked = [name for name in ("alone", "left", "right") if f"{name} function in parallel" in text]
    assert marked == ["left", "right"]


def test_a_failed_job_shows_its_traceback(admin_client: Client) -> None:
    job = declare().enqueue(fail=True)
    run_jobs()
    text = words(shown(admin_client, job))
    assert "Traceback (most recent call last)" in text
    assert "failed ValueError: No &#x27;&#x27; here" in text


def test_why_a_job_does_not_run_is_said_first(admin_client: Client) -> None:
    job = declare().using(wait_until=timezone.now() + timedelta(hours=2)).enqueue()
    assert "delayed It is due at" in words(shown(admin_client, job))


def test_a_job_that_was_retried_shows_the_attempts_before_apart(admin_client: Client) -> None:
    fails = [True]

    @workflow(slug="flow")
    def flow(ctx: JobContext) -> None:
        def step() -> None:
            if fails:
                raise ValueError("the first time")

        ctx.inline("step", step)

    job = flow.enqueue()
    run_jobs()
    job.retry()
    fails.clear()
    run_jobs()
    text = words(shown(admin_client, job))
    assert text.count("Attempt 1 failed") == 1
    assert text.count("Attempt 1 successful") == 1


def test_parent_and_children_lead_to_each_other_with_their_states(admin_client: Client) -> None:
    child = declare("child")

    @workflow(slug="flow")
    def flow(ctx: JobContext) -> None:
        ctx.enqueue_child("one", child)
        ctx.sleep("night", timedelta(hours=8))

    job = flow.enqueue()
    run_jobs()
    below = Job.objects.get(slug="child")
    page = shown(admin_client, job)
    assert f'href="{page_of(below)}"' in page
    assert f"child #{below.pk} successful" in words(page)
    assert "asleep It sleeps until" in words(page)
    page = shown(admin_client, below)
    assert f'href="{page_of(job)}"' in page
    assert f"flow #{job.pk} asleep" in words(page)


def test_many_children_are_counted(admin_client: Client) -> None:
    parent = declare("parent").enqueue()
    Job.objects.bulk_create(Job(slug="child", parent=parent) for _ in range(30))
    page = shown(admin_client, parent)
    assert page.count("child #") == 20
    assert "All 30 children" in words(page)
    assert f"?parent={parent.pk}" in page
    found = admin_client.get(f"/admin/django_jobs/job/?parent={parent.pk}")
    assert found.status_code == 200


def test_the_schedule_and_the_worker_of_a_job_are_named(admin_client: Client) -> None:
    now = timezone.now()
    worker = Worker.objects.create(host="h1", pid=7, started_at=now, last_heartbeat_at=now)
    schedule = JobSchedule.objects.create(slug="shown", cron="5 4 * * *")
    job = declare().using(meta={"scheduled": True}).enqueue()
    Job.objects.filter(pk=job.pk).update(worker=worker)
    ScheduleRun.objects.create(schedule=schedule, due_at=now, job=job)
    text = words(shown(admin_client, job))
    assert "Schedule 5 4 * * *" in text
    assert "Last worker h1:7" in text
    Worker.objects.all().delete()
    assert f"{worker.pk}, which is gone" in words(shown(admin_client, job))


def test_a_job_whose_task_is_gone_is_shown(admin_client: Client) -> None:
    job = Job.objects.create(slug="was-here-once")
    page = shown(admin_client, job)
    assert "was-here-once" in page
    assert "Queue again" not in page


def entries(job: Job, number: int) -> None:
    JobLog.objects.bulk_create(
        JobLog(job=job, attempt=1, state=LogState.MESSAGE, message=f"line {n:05}", level=20)
        for n in range(number)
    )


def test_a_long_log_is_shown_in_pages_from_its_end(admin_client: Client) -> None:
    job = declare().enqueue()
    entries(job, 450)
    page = shown(admin_client, job)
    assert "The newest 200 entries of the log are shown." in page
    assert "line 00449" in page
    assert "line 00249" not in page
    older = re.search(r"\?before=(\d+)#", page)
    assert older
    page = shown(admin_client, job, before=older[1])
    assert "line 00249" in page
    assert "line 00049" not in page
    oldest = re.search(r"\?before=(\d+)#", page)
    assert oldest
    page = shown(admin_client, job, before=oldest[1])
    assert "line 00000" in page
    assert "Older entries</a>" not in page


def test_many_steps_are_shown_in_pages(admin_client: Client) -> None:
    job = declare().enqueue()
    TaskStatus.objects.bulk_create(
        TaskStatus(job=job, task_slug="inline", task_id=f"step-{n:03}", complete=True)
        for n in range(150)
    )
    page = shown(admin_client, job)
    assert "step-120" not in page
    further = re.search(r"\?after=(\d+)#", page)
    assert further
    assert "step-120" in shown(admin_client, job, after=further[1])


@pytest.mark.parametrize("value", ["x", "-1", "9" * 40, "²", ""])
def test_a_page_that_is_no_number_is_the_first(admin_client: Client, value: str) -> None:
    job = declare().enqueue()
    entries(job, 1)
    assert "line 00000" in shown(admin_client, job, before=value)


def test_a_page_takes_fewer_than_20_queries_however_much_there_is(admin_client: Client) -> None:
    parent = declare("parent").enqueue()
    job = declare().enqueue()
    Job.objects.filter(pk=job.pk).update(
        parent=parent, status=JobStatus.WAITING, meta={"scheduled": True}
    )
    Job.objects.bulk_create(Job(slug="child", parent=job) for _ in range(50))
    entries(job, 1_000)
    TaskStatus.objects.bulk_create(
        TaskStatus(job=job, task_slug="inline", task_id=str(n)) for n in range(300)
    )
    shown(admin_client, job)
    with CaptureQueriesContext(connection) as queries:
        shown(admin_client, job)
    assert len(queries) < 20


def test_big_values_are_folded_and_cut(admin_client: Client) -> None:
    job = declare().enqueue(text="x" * 50_000)
    page = shown(admin_client, job)
    assert len(page) < 60_000
    assert re.search(r"\d+ more characters are not shown", page)


def test_hostile_text_is_escaped(admin_client: Client) -> None:
    inner = declare(f"{HOSTILE} inner")

    @workflow(slug=HOSTILE)
    def hostile(ctx: JobContext, text: str) -> None:
        ctx.log(HOSTILE, data=HOSTILE)
        ctx.set_progress(1, 2, HOSTILE)
        ctx.inline(HOSTILE, lambda text: text, input={"text": HOSTILE})
        ctx.enqueue_child(HOSTILE, inner, text=HOSTILE)
        ctx.inline("fails", lambda: {}[HOSTILE])  # type: ignore[index]

    job = hostile.using(queue=HOSTILE, meta={HOSTILE: HOSTILE}).enqueue(text=HOSTILE)
    run_jobs()
    page = shown(admin_client, job)
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert") > 10


def test_a_page_has_no_inline_script_or_style(admin_client: Client) -> None:
    job = declare_flow().enqueue(text="x")
    run_jobs()
    page = shown(admin_client, job)
    content = page[page.index('id="content"') :]
    assert not re.search(r"<script(?![^>]*src=)|<style| style=| on\w+=", content)


@override_settings(DJANGO_JOBS={"REDACT": ["token"]})
def test_redacted_fields_are_never_shown(admin_client: Client) -> None:
    step = declare("step")

    @workflow(slug="flow")
    def flow(ctx: JobContext, token: str) -> Any:
        ctx.log("x", token="secret-of-the-log")
        ctx.run("one", step, token="secret-of-the-step")
        return {"token": "secret-of-the-output"}

    job = flow.using(meta={"token": "secret-of-the-meta"}).enqueue(token="secret-of-the-job")
    run_jobs()
    page = shown(admin_client, job)
    assert "secret-of" not in page
    assert "•••" in page


def test_who_may_only_look_sees_no_button(staff: Any) -> None:
    job = declare_flow().enqueue(text="x")
    run_jobs()
    job.cancel()
    page = shown(staff("view_job"), job)
    assert "jobs-button" not in page.replace("jobs-buttons", "")
    assert "Retry from here" not in page


def test_looking_needs_the_permission(staff: Any) -> None:
    job = declare().enqueue()
    assert staff("retry_job", "add_job").get(page_of(job)).status_code == 403


def test_nothing_is_changed_by_posting_to_the_page(admin_client: Client) -> None:
    job = declare().enqueue()
    assert admin_client.post(page_of(job), {"slug": "changed"}).status_code == 403


def test_a_job_that_is_gone_is_told_on_the_front_page(admin_client: Client) -> None:
    page = admin_client.get("/admin/django_jobs/job/4711/change/", follow=True)
    assert "4711" in texts(page.content.decode())[0]


# Retry from a step


def finished_flow() -> Job:
    @workflow(slug="flow")
    def flow(ctx: JobContext) -> None:
        ctx.inline("a", int)
        ctx.inline("b", int)
        ctx.inline("c", lambda: 1 / 0)

    job = flow.enqueue()
    run_jobs()
    return Job.objects.get(pk=job.pk)


def url_of(job: Job, name: str) -> str:
    step = TaskStatus.objects.get(job=job, task_id=name)
    return f"/admin/django_jobs/job/{job.pk}/retry-from/{step.pk}/"


def test_a_job_is_retried_from_a_step_after_a_question(staff: Any) -> None:
    job = finished_flow()
    client = staff("view_job", "retry_job")
    url = url_of(job, "b")
    assert f'href="{url}"' in shown(client, job)
    question = words(client.get(url).content.decode())
    assert "Retry from the step “b”?" in question
    assert "It forgets these 2 steps, which are run again when they are reached: b" in question
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED
    page = client.post(url, follow=True).content.decode()
    assert "Retried from the step “b”." in page
    job.refresh_from_db()
    assert job.status == JobStatus.READY
    assert [step.task_id for step in job.task_statuses.all()] == ["a"]
    history = client.get(f"/admin/django_jobs/job/{job.pk}/history/").content.decode()
    assert "Retried from the step “b”." in history


def test_retrying_from_a_step_needs_the_permission(staff: Any) -> None:
    job = finished_flow()
    url = url_of(job, "b")
    client = staff("view_job", "cancel_job", "run_job", "add_job")
    assert client.get(url).status_code == 403
    assert client.post(url).status_code == 403
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED


def test_a_job_that_was_retried_meanwhile_is_left_alone(staff: Any) -> None:
    job = finished_flow()
    url = url_of(job, "b")
    job.retry()
    client = staff("view_job", "retry_job")
    for page in (client.get(url, follow=True), client.post(url, follow=True)):
        assert "cannot be retried from this step any more" in page.content.decode()
    assert job.task_statuses.count() == 3


def test_a_successful_job_has_no_step_to_retry_from(admin_client: Client) -> None:
    job = declare_flow().enqueue(text="x")
    run_jobs(ignore_delays=True)
    page = shown(admin_client, job)
    assert "Retry from here" not in page


def test_a_job_that_waits_without_having_logged_anything_has_begun(admin_client: Client) -> None:
    @workflow(slug="flow")
    def flow(ctx: JobContext) -> None:
        ctx.wait_for_event("approval", "approved")

    job = flow.enqueue()
    run_jobs()
    text = words(shown(admin_client, job))
    assert "Attempt 1 waiting" in text
    assert "Waits for the events approved" in text


def test_a_long_error_without_a_traceback_is_there_in_full(admin_client: Client) -> None:
    job = declare().enqueue()
    error = {"name": "WorkerLostError", "message": "lost " * 100 + "the end", "traceback": ""}
    Job.objects.filter(pk=job.pk).update(status=JobStatus.FAILED, error=error)
    assert "the end" in shown(admin_client, job)


def test_a_progress_without_a_total_has_no_bar(admin_client: Client) -> None:
    job = declare().enqueue()
    progress = {"current": 1234.5, "total": None, "message": "rows"}
    Job.objects.filter(pk=job.pk).update(progress=progress)
    page = shown(admin_client, job)
    assert "<progress" not in page
    assert "Progress 1234.5 rows" in words(page)
