from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from django_jobs import task, workflow
from django_jobs.models import JobSchedule, Queue, Worker
from django_jobs.testing import run_jobs

HOSTILE = "<script>alert('&')</script>"
LIST = "/admin/django_jobs/job/"

pytestmark = pytest.mark.django_db


def detail(job):
    return reverse("admin:django_jobs_job_change", args=[job.pk])


def declare(slug="shown", **options):
    @task(slug=slug, **options)
    def shown(text: str = "", token: str = ""):
        return text

    return shown


def test_a_job_shows_its_input_output_log_and_steps(admin_client):
    step = declare("step")

    @workflow(slug="flow")
    def flow(ctx, name: str):
        ctx.log("a message in the log", number=42)
        return ctx.run("the-step", step, text="what the step got")

    job = flow.enqueue(name="what the job got")
    run_jobs()
    page = admin_client.get(detail(job)).content.decode()
    for text in ("what the job got", "a message in the log", "the-step", "what the step got"):
        assert text in page


def test_a_failed_job_shows_its_traceback(admin_client):
    @task(slug="broken")
    def broken():
        raise ValueError("what went wrong")

    job = broken.enqueue()
    run_jobs()
    page = admin_client.get(detail(job)).content.decode()
    assert "Traceback (most recent call last)" in page
    assert "ValueError: what went wrong" in page


def test_hostile_text_is_escaped_everywhere(admin_client):
    @workflow(slug=HOSTILE)
    def hostile(ctx, text: str):
        ctx.log(HOSTILE, data=HOSTILE)
        ctx.set_progress(1, 2, HOSTILE)
        ctx.inline(HOSTILE, lambda text: text, input={"text": HOSTILE})
        raise ValueError(HOSTILE)

    job = hostile.using(queue=HOSTILE, meta={HOSTILE: HOSTILE}).enqueue(text=HOSTILE)
    run_jobs()
    for url, query in (
        (LIST, {}), (detail(job), {}), (LIST, {"q": HOSTILE}), (LIST, {"slug": HOSTILE}),
    ):  # fmt: skip
        page = admin_client.get(url, query).content.decode()
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page


@override_settings(DJANGO_JOBS={"REDACT": ["token"]})
def test_redacted_fields_are_never_shown(admin_client):
    step = declare("step")

    @workflow(slug="flow")
    def flow(ctx, token: str, nested: dict, many: list):
        return ctx.run("one", step, token="secret-of-the-step")

    secret = "secret-of-the-job"
    job = flow.enqueue(
        token=secret, nested={"deep": {"token": secret}, "open": "shown"}, many=[{"token": secret}]
    )
    run_jobs()
    page = admin_client.get(detail(job)).content.decode()
    assert "secret-of" not in page
    assert "•••" in page
    assert "shown" in page
    assert "secret-of" not in admin_client.get(LIST).content.decode()


@override_settings(DJANGO_JOBS={"REDACT": ["token"]})
def test_redacted_fields_of_a_schedule_are_not_shown(admin_client):
    schedule = JobSchedule.objects.create(slug="shown", cron="* * * * *", input={"token": "secret"})
    url = reverse("admin:django_jobs_jobschedule_change", args=[schedule.pk])
    page = admin_client.get(url).content.decode()
    assert "•••" in page
    assert "secret" not in page


def test_nothing_can_be_changed(admin_client):
    job = declare().enqueue(text="a")
    assert admin_client.post(detail(job), {"slug": "changed"}).status_code == 403
    page = admin_client.get(detail(job)).content.decode()
    assert not re.search(r'<(input|textarea|select)[^>]* name="(slug|status|queue|input)"', page)
    job.refresh_from_db()
    assert job.slug == "shown"


def test_looking_needs_the_permission_to_view(staff):
    job = declare().enqueue()
    client = staff("retry_job", "cancel_job")
    assert client.get(LIST).status_code == 403
    assert client.get(detail(job)).status_code == 403


@pytest.mark.parametrize("model", ["worker", "queue", "jobschedule"])
def test_workers_queues_and_schedules_can_be_looked_at(admin_client, model):
    now = timezone.now()
    rows = {
        "worker": Worker.objects.create(
            host=HOSTILE, pid=1, started_at=now, last_heartbeat_at=now, queues=[HOSTILE]
        ),
        "queue": Queue.objects.create(name=HOSTILE, paused=True),
        "jobschedule": JobSchedule.objects.create(
            slug=HOSTILE, cron="* * * * *", input={"text": HOSTILE}
        ),
    }
    url = f"/admin/django_jobs/{model}/"
    for page in (url, f"{url}{rows[model].pk}/change/"):
        text = admin_client.get(page).content.decode()
        assert "&lt;script&gt;alert" in text
        assert "<script>alert" not in text
    # Workers and queues make their rows themselves.
    may_add = model == "jobschedule"
    assert admin_client.get(f"{url}add/").status_code == (200 if may_add else 403)


def test_the_package_works_without_the_admin(tmp_path):
    (tmp_path / "project.py").write_text(
        """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
INSTALLED_APPS = ["django_jobs"]
"""
    )
    done = subprocess.run(
        [sys.executable, "-m", "django", "check"], cwd=tmp_path, capture_output=True, text=True,
        check=False,
        env={
            "DJANGO_SETTINGS_MODULE": "project",
            "PYTHONPATH": f"{Path(__file__).resolve().parents[2]}:{tmp_path}",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout
