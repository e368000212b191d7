from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_jobs import Schedule, jobs, task
from django_jobs.models import Job, JobSchedule

pytestmark = pytest.mark.django_db

ADD = "admin:django_jobs_jobschedule_add"


@pytest.fixture(autouse=True)
def report() -> None:
    @task(slug="report", schedule=Schedule("0 3 * * *"))
    def report(days: int = 1) -> None: ...


def add(client: Client, **given: object) -> str:
    data = {
        "slug": "report", "cron": "@daily", "queue": "default", "timezone": "",
        "input": "{}", "enabled": "on", **given,
    }  # fmt: skip
    return client.post(reverse(ADD), data).content.decode()


def test_an_admin_makes_a_schedule_for_a_registered_task(admin_client: Client) -> None:
    add(admin_client, cron="*/5 * * * *", timezone="Europe/Berlin", input='{"days": 7}')
    made = JobSchedule.objects.get(number=None)
    assert (made.slug, made.cron, made.input) == ("report", "*/5 * * * *", {"days": 7})


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"slug": "os.system"}, "not one of the available choices"),
        ({"cron": "61 * * * *"}, "is not valid"),
        ({"timezone": "Europe/Atlantis"}, "There is no time zone"),
        ({"input": '{"days": "many"}'}, "days"),
        ({"input": "[1]"}, "input"),
    ],
)
def test_what_is_wrong_with_a_schedule_is_an_error_of_the_form(
    admin_client: Client, wrong: dict[str, str], sentence: str
) -> None:
    assert sentence in add(admin_client, **wrong)
    assert not JobSchedule.objects.exists()


def change(client: Client, row: JobSchedule, **given: object) -> None:
    url = reverse("admin:django_jobs_jobschedule_change", args=[row.pk])
    assert client.post(url, given).status_code == 302


def test_a_declared_schedule_can_be_paused_and_changed_and_nothing_else(
    admin_client: Client,
) -> None:
    jobs.handle_schedules()
    row = JobSchedule.objects.get()
    change(admin_client, row, cron="0 4 * * *", slug="other", queue="other")
    row.refresh_from_db()
    assert (row.cron, row.enabled, row.slug, row.queue) == ("0 4 * * *", False, "report", "default")
    assert row.is_overridden
    page = admin_client.get(reverse("admin:django_jobs_jobschedule_changelist")).content.decode()
    assert "changed here; declared: 0 3 * * *" in page


def test_a_pause_that_an_admin_ends_is_not_made_up(admin_client: Client) -> None:
    jobs.handle_schedules()
    row = JobSchedule.objects.get()
    past = timezone.now() - timedelta(days=2)
    JobSchedule.objects.update(enabled=False, next_run_at=past)
    change(admin_client, row, cron=row.cron, enabled="on")
    assert jobs.handle_schedules().queued == []
    row.refresh_from_db()
    assert row.next_run_at is not None
    assert row.next_run_at > timezone.now()


def test_a_schedule_is_run_now_by_whoever_may_run_jobs(
    admin_client: Client, client: Client, django_user_model: type
) -> None:
    jobs.handle_schedules()
    url = reverse("admin:django_jobs_jobschedule_changelist")
    data = {"action": "run_now", "_selected_action": [JobSchedule.objects.get().pk]}
    clerk = django_user_model.objects.create_user("clerk", is_staff=True)  # type: ignore[attr-defined]
    client.force_login(clerk)
    assert client.post(url, data).status_code == 403
    assert not Job.objects.exists()
    admin_client.post(url, data)
    assert Job.objects.get().slug == "report"


def test_a_schedule_whose_task_is_gone_is_shown_as_such(admin_client: Client) -> None:
    JobSchedule.objects.create(slug="gone", cron="@daily")
    page = admin_client.get(reverse("admin:django_jobs_jobschedule_changelist")).content.decode()
    assert "the task is gone" in page
