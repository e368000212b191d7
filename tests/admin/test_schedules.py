from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_jobs import Schedule, jobs, task
from django_jobs.models import Job, JobSchedule, ScheduleRun
from django_jobs.testing import run_jobs
from tests.admin.conftest import Staff
from tests.admin.support import HOSTILE, page_of, texts

pytestmark = pytest.mark.django_db

LIST = "/admin/django_jobs/jobschedule/"
ADD = f"{LIST}add/"


@pytest.fixture(autouse=True)
def report() -> None:
    @task(slug="report", label="Nightly report", schedule=Schedule("0 3 * * *"))
    def report(days: int = 1, token: str = "") -> int:
        return days

    @task(slug="broken")
    def broken() -> None:
        raise ValueError


def page_for(row: JobSchedule) -> str:
    return reverse("admin:django_jobs_jobschedule_change", args=[row.pk])


def text_of(client: Client, url: str, **query: str) -> str:
    return client.get(url, query).content.decode()


def add(client: Client, **given: object) -> str:
    data = {
        "slug": "report", "cron": "@daily", "queue": "default", "timezone": "", "enabled": "on",
        "input-days": "1", "input-token": "", **given,
    }  # fmt: skip
    return client.post(ADD, data).content.decode()


def made(**fields: Any) -> JobSchedule:
    return JobSchedule.objects.create(**{"slug": "report", "cron": "@daily", **fields})


def change(client: Client, row: JobSchedule, **given: object) -> None:
    assert client.post(page_for(row), given).status_code == 302


def do(client: Client, row: JobSchedule, verb: str) -> Any:
    url = reverse("admin:django_jobs_jobschedule_verb", args=[row.pk, verb])
    return client.post(url, follow=True)


# Made


def test_the_task_is_chosen_first(admin_client: Client) -> None:
    page = text_of(admin_client, ADD)
    assert '<option value="report">Nightly report (report)</option>' in page
    assert "cron" not in page[page.index('id="content-main"') :]
    assert 'name="cron"' in text_of(admin_client, ADD, task="report")


def test_the_form_asks_for_what_the_task_asks_for(admin_client: Client) -> None:
    page = text_of(admin_client, ADD, task="report")
    assert re.search(r'<input type="number" name="input-days" value="1"', page)
    assert 'name="input-token"' in page
    assert "It takes none." in text_of(admin_client, ADD, task="broken")


def test_an_admin_makes_a_schedule_for_a_registered_task(admin_client: Client) -> None:
    add(admin_client, cron="*/5 * * * *", timezone="Europe/Berlin", **{"input-days": "7"})
    row = JobSchedule.objects.get(number=None)
    assert (row.slug, row.cron, row.input["days"]) == ("report", "*/5 * * * *", 7)
    assert LogEntry.objects.get().is_addition()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"slug": "os.system"}, "not one of the available choices"),
        ({"cron": "61 * * * *"}, "is not valid"),
        ({"timezone": "Europe/Atlantis"}, "There is no time zone"),
        ({"input-days": "many"}, "Enter a whole number."),
        ({"queue": "a,b"}, "without commas"),
    ],
)
def test_what_is_wrong_with_a_schedule_is_an_error_of_the_form(
    admin_client: Client, wrong: dict[str, str], sentence: str
) -> None:
    page = add(admin_client, **wrong)
    assert sentence in page
    assert "Please correct the error" in page
    assert not JobSchedule.objects.exists()


def test_a_schedule_is_made_by_those_who_may(staff: Staff) -> None:
    client = staff("view_jobschedule", "change_jobschedule", "run_job")
    assert client.get(ADD).status_code == 403
    assert client.get(ADD, {"task": "report"}).status_code == 403
    assert client.post(ADD, {"slug": "report", "cron": "@daily"}).status_code == 403
    assert not JobSchedule.objects.exists()


# When it is due


def test_the_times_are_shown_before_anything_is_saved(admin_client: Client) -> None:
    page = add(admin_client, cron="0 9 * * 1-5", timezone="Europe/Berlin", _preview="1")
    assert "At 09:00, Monday through Friday" in page
    assert len(re.findall(r"<li><time datetime=.*?, 09:00:00 CES?T", page)) == 5
    assert "Nothing has been saved yet." in page
    assert "Please correct the error" not in page
    assert not JobSchedule.objects.exists()


def test_a_preview_says_what_is_wrong(admin_client: Client) -> None:
    page = add(admin_client, cron="61 * * * *", _preview="1")
    assert "is not valid" in page
    assert not JobSchedule.objects.exists()


def test_a_preview_of_a_change_changes_nothing(admin_client: Client) -> None:
    row = made()
    given = {"cron": "@hourly", "queue": "default", "enabled": "on", "_preview": "1"}
    page = admin_client.post(page_for(row), given).content.decode()
    assert "Every hour" in page
    row.refresh_from_db()
    assert row.cron == "@daily"


def test_the_page_and_the_list_say_when_a_schedule_is_due(admin_client: Client) -> None:
    row = made(cron="*/10 * * * * *", timezone="Asia/Kolkata")
    page = text_of(admin_client, page_for(row))
    assert "Every 10 seconds" in page
    assert "in the time zone Asia/Kolkata" in page
    assert page.count("<li><time") == 5
    assert "Every 10 seconds" in text_of(admin_client, LIST)


# Changed


def test_a_declared_schedule_can_be_paused_and_changed_and_nothing_else(
    admin_client: Client,
) -> None:
    jobs.handle_schedules()
    row = JobSchedule.objects.get()
    given = {"slug": "other", "queue": "other", "input-days": "9"}
    change(admin_client, row, cron="0 4 * * *", **given)
    row.refresh_from_db()
    assert (row.cron, row.enabled, row.slug, row.queue) == ("0 4 * * *", False, "report", "default")
    assert row.input == {}
    assert row.is_overridden
    assert "changed here; declared: 0 3 * * *" in text_of(admin_client, LIST)


def test_the_input_of_a_schedule_made_here_is_edited(admin_client: Client) -> None:
    row = made(input={"days": 3})
    assert re.search(r'name="input-days" value="3"', text_of(admin_client, page_for(row)))
    given = {"cron": row.cron, "queue": "default", "enabled": "on"}
    change(admin_client, row, **given, **{"input-days": "4"})
    row.refresh_from_db()
    assert row.input["days"] == 4


def test_saving_what_was_not_touched_leaves_to_a_worker_what_it_wrote(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = made(input={"days": 3}, next_run_at=timezone.now() + timedelta(hours=1))
    later = timezone.now() + timedelta(hours=2)
    original = JobSchedule.save

    def save(self: JobSchedule, **options: Any) -> None:
        JobSchedule.objects.filter(pk=row.pk).update(next_run_at=later, cron="1 1 * * *")
        original(self, **options)

    monkeypatch.setattr(JobSchedule, "save", save)
    given = {"cron": row.cron, "queue": "mail", "enabled": "on", "input-days": "3"}
    change(admin_client, row, **given)
    row.refresh_from_db()
    assert (row.queue, row.cron) == ("mail", "1 1 * * *")
    assert row.next_run_at is not None
    assert abs(row.next_run_at - later) < timedelta(milliseconds=1)


@override_settings(DJANGO_JOBS={"REDACT": ["token"]})
def test_secrets_are_not_shown_and_kept_where_nothing_else_is_given(admin_client: Client) -> None:
    row = made(input={"days": 1, "token": "a-secret"})
    page = text_of(admin_client, page_for(row))
    assert "a-secret" not in page
    assert 'type="password" name="input-token"' in page
    given = {"cron": row.cron, "queue": "default", "enabled": "on"}
    change(admin_client, row, **given, **{"input-days": "2", "input-token": ""})
    row.refresh_from_db()
    assert row.input == {"days": 2, "token": "a-secret"}
    change(admin_client, row, **given, **{"input-days": "2", "input-token": "another"})
    row.refresh_from_db()
    assert row.input == {"days": 2, "token": "another"}


def test_who_may_only_look_changes_nothing(staff: Staff) -> None:
    client = staff("view_jobschedule")
    row = made(input={"days": 3})
    page = text_of(client, page_for(row))
    assert "&quot;days&quot;: 3" in page
    content = page[page.index('id="content-main"') : page.index("END Content")]
    assert not re.search(r'<button|name="(cron|input-days|queue)"', content)
    assert client.post(page_for(row), {"cron": "@hourly"}).status_code == 403
    for verb in ("run_now", "pause", "resume"):
        assert do(client, row, verb).status_code == 403
    row.refresh_from_db()
    assert (row.cron, row.enabled, Job.objects.count()) == ("@daily", True, 0)


# Paused, resumed, run now


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


def test_a_schedule_is_paused_and_resumed_by_its_buttons(admin_client: Client) -> None:
    row = made(next_run_at=timezone.now() - timedelta(days=2))
    assert "Resume</button>" not in text_of(admin_client, page_for(row))
    page = do(admin_client, row, "pause").content.decode()
    assert texts(page) == ["1 schedule is paused."]
    assert "Resume</button>" in page
    row.refresh_from_db()
    assert not row.enabled
    assert texts(do(admin_client, row, "resume").content.decode()) == ["1 schedule is resumed."]
    row.refresh_from_db()
    assert (row.enabled, row.next_run_at) == (True, None)
    notes = [entry.get_change_message() for entry in LogEntry.objects.order_by("id")]
    assert notes == ["Paused.", "Resumed."]


def test_several_schedules_are_paused_by_the_action(admin_client: Client) -> None:
    rows = [made(), made(), made(enabled=False)]
    data = {"action": "pause", "_selected_action": [row.pk for row in rows]}
    page = admin_client.post(LIST, data, follow=True).content.decode()
    assert texts(page) == ["2 schedules are paused."]
    assert not JobSchedule.objects.filter(enabled=True).exists()


def test_a_schedule_is_run_now_by_whoever_may_run_jobs(
    admin_client: Client, client: Client, django_user_model: Any
) -> None:
    jobs.handle_schedules()
    row = JobSchedule.objects.get()
    data = {"action": "run_now", "_selected_action": [row.pk]}
    clerk = django_user_model.objects.create_user("clerk", is_staff=True)
    client.force_login(clerk)
    assert client.post(LIST, data).status_code == 403
    assert do(client, row, "run_now").status_code == 403
    assert not Job.objects.exists()
    admin_client.post(LIST, data)
    assert Job.objects.get().slug == "report"
    page = do(admin_client, row, "run_now").content.decode()
    second = Job.objects.latest("pk")
    assert f'<a href="{page_of(second)}">report #{second.pk}</a> was enqueued.' in page
    assert LogEntry.objects.latest("pk").get_change_message() == f"Run now as job {second.pk}."


def test_buttons_are_for_those_who_may_press_them(staff: Staff) -> None:
    client = staff("view_jobschedule", "run_job")
    row = made()
    page = text_of(client, page_for(row))
    assert "Run now</button>" in page
    assert "Pause</button>" not in page
    assert do(client, row, "run_now").status_code == 200
    assert do(client, row, "pause").status_code == 403


def test_what_changes_something_is_posted(admin_client: Client) -> None:
    row = made()
    for verb, status in (("pause", 405), ("run_now", 405)):
        url = reverse("admin:django_jobs_jobschedule_verb", args=[row.pk, verb])
        assert admin_client.get(url).status_code == status
    assert do(admin_client, row, "delete_model").status_code == 404
    row.refresh_from_db()
    assert (row.enabled, Job.objects.count()) == (True, 0)


# What came of it


def due(row: JobSchedule) -> None:
    JobSchedule.objects.filter(pk=row.pk).update(
        next_run_at=timezone.now() - timedelta(seconds=1), planned_with=f"{row.cron}|UTC"
    )
    jobs.handle_schedules()


def test_the_last_outcome_is_the_job_and_what_became_of_it(admin_client: Client) -> None:
    row = made(slug="broken")
    due(row)
    job = Job.objects.get()
    pattern = rf'<a href="{page_of(job)}">#{job.pk}</a> <span class="jobs-badge jobs-%s">%s</span>'
    assert re.search(pattern % ("idle", "ready"), text_of(admin_client, LIST))
    run_jobs()
    assert re.search(pattern % ("bad", "failed"), text_of(admin_client, LIST))
    assert re.search(pattern % ("bad", "failed"), text_of(admin_client, page_for(row)))
    Job.objects.all().delete()
    assert f"job {job.pk}, which was deleted" in text_of(admin_client, LIST)


def test_the_last_outcome_may_be_the_reason_of_a_skip(admin_client: Client) -> None:
    row = made()
    due(row)
    due(row)
    assert ScheduleRun.objects.count() == 2
    assert "The job before it is not finished." in text_of(admin_client, LIST)


@pytest.mark.parametrize(
    ("late", "enabled", "is_told"),
    [(timedelta(minutes=10), True, True), (timedelta(0), True, False),
     (timedelta(minutes=10), False, False)],
)  # fmt: skip
def test_a_schedule_that_nobody_sees_to_is_overdue(
    admin_client: Client, late: timedelta, enabled: bool, is_told: bool
) -> None:
    made(next_run_at=timezone.now() - late, enabled=enabled)
    assert (">overdue<" in text_of(admin_client, LIST)) == is_told


def test_a_schedule_whose_task_is_gone_is_shown_as_such(admin_client: Client) -> None:
    row = made(slug="gone", input={"days": 1})
    assert "the task is gone" in text_of(admin_client, LIST)
    assert "&quot;days&quot;: 1" in text_of(admin_client, page_for(row))
    assert "No task or workflow is registered" in do(admin_client, row, "run_now").content.decode()


def test_hostile_text_is_escaped(admin_client: Client) -> None:
    @task(slug=HOSTILE, label=HOSTILE)
    def hostile(text: str = HOSTILE) -> None: ...

    row = made(slug=HOSTILE, queue=HOSTILE, timezone="UTC", input={"text": HOSTILE})
    ScheduleRun.objects.create(schedule=row, due_at=timezone.now(), reason=HOSTILE)
    pages = [text_of(admin_client, url) for url in (LIST, ADD, page_for(row))]
    pages.append(text_of(admin_client, ADD, task=HOSTILE))
    pages.append(do(admin_client, row, "run_now").content.decode())
    for page in pages:
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page


def test_the_list_takes_as_many_queries_for_many_schedules(admin_client: Client) -> None:
    for number in range(60):
        row = made(cron=f"{number} * * * *")
        job = Job.objects.create(slug="report")
        ScheduleRun.objects.create(schedule=row, due_at=timezone.now(), job=job)
    admin_client.get(LIST)
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(LIST)
    assert len(queries) < 10
