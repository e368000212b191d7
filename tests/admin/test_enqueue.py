"""Jobs that are queued by hand, and queued again."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django import forms
from django.contrib.admin.models import ADDITION, LogEntry
from django.test import Client, override_settings

from django_jobs import task
from django_jobs.models import Job
from tests.admin.support import HOSTILE, LIST, declare, page_of, texts

pytestmark = pytest.mark.django_db

ADD = f"{LIST}add/"
OPTIONS = {"options-queue": "default", "options-priority": "0"}


def url_for(slug: str) -> str:
    return f"{ADD}?task={slug}"


def again(job: Job) -> str:
    return f"{LIST}{job.pk}/again/"


def send(client: Client, url: str, **fields: Any) -> Any:
    inputs = {f"input-{name}": value for name, value in fields.items()}
    return client.post(url, OPTIONS | inputs, follow=True)


def test_a_registered_task_is_chosen(admin_client: Client) -> None:
    ran = []

    @task(slug="shown", label="The label")
    def shown() -> None:
        ran.append(1)

    page = admin_client.get(ADD).content.decode()
    assert '<option value="shown">The label (shown)</option>' in page
    assert not ran


def test_a_job_is_queued_with_an_input_and_options(staff: Any) -> None:
    declare(queue="mail", priority=3)
    client = staff("view_job", "add_job")
    form = client.get(url_for("shown")).content.decode()
    assert 'name="options-queue" value="mail"' in form
    data = {
        "options-queue": "urgent", "options-priority": "7",
        "options-wait_until": "2027-01-02T03:04", "input-text": "by hand",
    }  # fmt: skip
    page = client.post(url_for("shown"), data, follow=True)
    job = Job.objects.get()
    assert (job.queue, job.priority, job.input) == (
        "urgent", 7, {"text": "by hand"},
    )  # fmt: skip
    assert job.wait_until == datetime(2027, 1, 2, 3, 4, tzinfo=UTC)
    assert page.redirect_chain == [(page_of(job), 302)]
    assert texts(page.content.decode()) == [f"Job {job.pk} was queued."]
    entry = LogEntry.objects.get()
    assert (entry.action_flag, entry.object_id) == (ADDITION, str(job.pk))


def test_what_is_wrong_is_said_at_its_field(admin_client: Client) -> None:
    @task(slug="ask")
    def ask(number: int, items: list[int]) -> None: ...

    page = send(admin_client, url_for("ask"), number="x", items='["a"]').content.decode()
    assert "Enter a whole number." in page
    assert "must be an integer" in page
    data = {"options-queue": "", "options-priority": "101", "input-number": "1"}
    page = admin_client.post(url_for("ask"), data).content.decode()
    assert "This field is required." in page
    assert "less than or equal to 100" in page
    assert not Job.objects.exists()


def test_the_tasks_own_form_decides(admin_client: Client) -> None:
    class Even(forms.Form):
        number = forms.IntegerField(help_text="An even one.")

        def clean_number(self) -> int:
            number: int = self.cleaned_data["number"]
            if number % 2:
                raise forms.ValidationError("It is odd.")
            return number

    @task(slug="ask", input_schema=Even)
    def ask(number: int) -> None: ...

    assert "An even one." in admin_client.get(url_for("ask")).content.decode()
    page = send(admin_client, url_for("ask"), number="3").content.decode()
    assert "It is odd." in page
    send(admin_client, url_for("ask"), number="4")
    assert Job.objects.get().input == {"number": 4}


@override_settings(DJANGO_JOBS={"MAX_INPUT_BYTES": 100})
def test_an_input_that_is_too_big_is_refused_in_the_form(admin_client: Client) -> None:
    declare()
    page = send(admin_client, url_for("shown"), text="x" * 200).content.decode()
    assert "more than the 100 that" in page
    assert not Job.objects.exists()


def test_an_unknown_task_is_told(admin_client: Client) -> None:
    page = admin_client.get(ADD, {"task": HOSTILE}).content.decode()
    assert "is known here" in page
    assert HOSTILE not in page


def test_a_twin_that_is_unfinished_is_shown_in_place_of_another(admin_client: Client) -> None:
    job = declare(unique=True).enqueue(text="x")
    page = send(admin_client, url_for("shown"), text="x")
    assert page.redirect_chain == [(page_of(job), 302)]
    assert "has the same unique key: none was added" in page.content.decode()
    assert not LogEntry.objects.exists()


def test_a_job_is_queued_again_with_its_input_changed(staff: Any) -> None:
    shown = declare()
    job = shown.using(
        queue="mail", priority=5, retries=2, meta={"tenant": "north", "scheduled": True}
    ).enqueue(text="before")
    client = staff("view_job", "add_job")
    assert f'href="{again(job)}"' in client.get(page_of(job)).content.decode()
    form = client.get(again(job)).content.decode()
    assert 'value="before"' in form
    assert 'name="options-priority" value="5"' in form
    data = {"options-queue": "mail", "options-priority": "5", "input-text": "after"}
    client.post(again(job), data)
    added = Job.objects.exclude(pk=job.pk).get()
    assert added.input == {"text": "after"}
    assert (added.queue, added.priority, added.meta) == ("mail", 5, {"tenant": "north"})
    assert added.retries == job.retries
    job.refresh_from_db()
    assert job.input == {"text": "before"}


@override_settings(DJANGO_JOBS={"REDACT": ["token"]})
def test_a_secret_is_kept_without_being_shown(admin_client: Client) -> None:
    job = declare().enqueue(text="a", token="the-secret")
    form = admin_client.get(again(job)).content.decode()
    assert "the-secret" not in form
    assert 'type="password"' in form
    page = send(admin_client, again(job), text="b", token="").content.decode()
    assert "the-secret" not in page
    assert Job.objects.latest("pk").input["token"] == "the-secret"


@override_settings(DJANGO_JOBS={"REDACT": ["token"]})
def test_a_secret_is_not_sent_back_with_a_complaint(admin_client: Client) -> None:
    @task(slug="ask")
    def ask(token: str, number: int) -> None: ...

    page = send(admin_client, url_for("ask"), token="typed-secret", number="x")
    assert "typed-secret" not in page.content.decode()


def test_queueing_needs_the_permission(staff: Any) -> None:
    job = declare().enqueue()
    client = staff("view_job", "retry_job", "cancel_job", "run_job")
    for url in (ADD, url_for("shown"), again(job)):
        assert client.get(url).status_code == 403
        assert send(client, url, text="x").status_code == 403
    assert Job.objects.count() == 1
    assert "Queue again" not in client.get(page_of(job)).content.decode()


def test_queueing_again_needs_the_permission_to_look(staff: Any) -> None:
    job = declare().enqueue(text="for other eyes")
    assert staff("add_job").get(again(job)).status_code == 403


@override_settings(DJANGO_JOBS={"ACCESS": {"queue": lambda request: False}})
def test_an_access_function_decides_alone(admin_client: Client) -> None:
    declare()
    assert admin_client.get(url_for("shown")).status_code == 403


def test_who_may_not_look_is_led_elsewhere(staff: Any) -> None:
    declare()
    page = send(staff("add_job"), url_for("shown"), text="x")
    assert page.redirect_chain == [("/admin/", 302)]
    assert Job.objects.count() == 1


def test_a_job_whose_task_is_gone_cannot_be_queued_again(admin_client: Client) -> None:
    job = Job.objects.create(slug="was-here-once")
    page = admin_client.get(again(job), follow=True)
    assert page.redirect_chain == [(page_of(job), 302)]
    assert "“was-here-once” is known here" in page.content.decode()
    assert admin_client.get(f"{LIST}4711/again/").status_code == 404


def test_hostile_text_in_a_form_is_escaped(admin_client: Client) -> None:
    job = declare(slug=HOSTILE, label=HOSTILE).using(queue=HOSTILE).enqueue(text=HOSTILE)
    for url in (ADD, again(job)):
        page = admin_client.get(url).content.decode()
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page


def test_a_page_with_a_form_has_no_inline_script_or_style(admin_client: Client) -> None:
    job = declare().enqueue()
    for url in (ADD, again(job)):
        page = admin_client.get(url).content.decode()
        content = page[page.index('id="content"') :]
        assert not re.search(r"<script(?![^>]*src=)|<style| style=| on\w+=", content)


def test_every_control_has_a_label(admin_client: Client) -> None:
    job = declare().enqueue()
    page = admin_client.get(again(job)).content.decode()
    controls = re.findall(r'<(?:input|textarea|select)[^>]* id="(id_[^"]*)"', page)
    assert controls
    for control in controls:
        assert f'for="{control}"' in page
