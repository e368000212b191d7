from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from django_jobs import task
from django_jobs.models import Job
from tests.browser.support import run_jobs

ADD = "/admin/django_jobs/job/add/"


@pytest.fixture(autouse=True)
def order():
    @task(slug="order", label="Order from the supplier")
    def order(item: str, number: int, token: str = "") -> str:
        return f"{number} × {item}"

    return order


def test_a_job_is_queued_by_hand_once_its_input_is_right(admin: Page):
    admin.goto("/admin/django_jobs/job/")
    admin.get_by_role("main").get_by_role("link", name="Add job").click()
    admin.get_by_label("Task or workflow").select_option("order")
    admin.get_by_role("button", name="Continue").click()

    admin.get_by_role("textbox", name="Item").fill("lamp")
    admin.get_by_role("spinbutton", name="Number").fill("")
    admin.get_by_role("button", name="Queue").click()
    expect(admin.get_by_text("Please correct what is wrong below.")).to_be_visible()
    expect(admin.get_by_role("textbox", name="Item")).to_have_value("lamp")
    assert not Job.objects.exists()

    admin.get_by_role("spinbutton", name="Number").fill("3")
    admin.get_by_role("button", name="Queue").click()
    expect(admin.get_by_text("was queued.")).to_be_visible()
    run_jobs()
    admin.reload()
    expect(admin.get_by_role("main")).to_contain_text("3 × lamp")


def test_a_job_is_queued_again_with_another_input_and_its_hidden_secret(
    admin: Page, order, settings
):
    settings.DJANGO_JOBS = {"REDACT": ["token"]}
    first = order.enqueue(item="lamp", number=3, token="s3cret")
    admin.goto(f"/admin/django_jobs/job/{first.pk}/change/")
    admin.get_by_role("link", name="Queue again").click()
    expect(admin.get_by_role("textbox", name="Item")).to_have_value("lamp")
    expect(admin.get_by_role("textbox", name="Token")).to_have_value("")
    admin.get_by_role("spinbutton", name="Number").fill("4")
    admin.get_by_role("button", name="Queue").click()
    expect(admin.get_by_text("was queued.")).to_be_visible()
    again = Job.objects.exclude(pk=first.pk).get()
    assert again.input == {"item": "lamp", "number": 4, "token": "s3cret"}
