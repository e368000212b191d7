from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from django_jobs import task
from tests.browser.conftest import OpenPage
from tests.browser.support import run_jobs

JOBS = "/admin/django_jobs/job/"


@pytest.fixture
def stock() -> set[str]:
    """What a task that sells things can be given; without it the task fails."""
    stock: set[str] = set()

    @task(slug="sell")
    def sell(item: str) -> str:
        if item not in stock:
            raise LookupError(f"There is no <b>{item}</b> left.")
        return item

    sell.enqueue(item="lamp")
    run_jobs()
    return stock


def test_the_admin_is_entered_by_the_login_page(open_page: OpenPage, admin_user):
    page = open_page(None)
    page.goto(JOBS)
    page.get_by_label("Username").fill(admin_user.username)
    page.get_by_label("Password").fill("password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Select job to view")).to_be_visible()


def test_a_failed_job_is_found_understood_and_run_again(admin: Page, stock):
    admin.goto(JOBS)
    admin.get_by_role("row", name="sell").get_by_role("link").last.click()
    expect(admin.get_by_text("There is no <b>lamp</b> left.").first).to_be_visible()

    stock.add("lamp")
    admin.goto(JOBS)
    admin.get_by_role("row", name="sell").get_by_role("checkbox").check()
    admin.get_by_label("Action:").select_option(label="Retry")
    # Django 6 calls it "Run".
    admin.get_by_role("button", name=re.compile("^(Go|Run)$")).click()
    expect(admin.get_by_role("heading", name="Retry 1 job?")).to_be_visible()
    admin.get_by_role("button", name="Retry").click()
    expect(admin.get_by_text("1 job will run again.")).to_be_visible()

    run_jobs()
    admin.reload()
    expect(admin.get_by_role("row", name="sell")).to_contain_text("uccessful")
