from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from django_jobs import task
from tests.browser.support import run_jobs

OVERVIEW = "/admin/django_jobs/overview/"


@pytest.fixture
def send_mail():
    @task(slug="send-mail", queue="mail")
    def send_mail() -> None: ...

    return send_mail


def test_a_queue_is_paused_and_resumed(admin: Page, send_mail):
    job = send_mail.enqueue()
    admin.goto(OVERVIEW)
    queue = admin.get_by_role("row").filter(has=admin.get_by_role("rowheader", name="mail"))

    admin.get_by_role("button", name="Pause mail").click()
    expect(queue).to_contain_text("paused")
    expect(queue).to_contain_text("by admin")
    run_jobs()
    job.refresh_from_db()
    assert job.status == "ready"

    admin.get_by_role("button", name="Resume mail").click()
    expect(queue).not_to_contain_text("paused")
    run_jobs()
    job.refresh_from_db()
    assert job.status == "successful"


def test_the_overview_refreshes_itself_until_it_is_paused(admin: Page, send_mail):
    send_mail.enqueue()
    admin.clock.install()
    admin.goto(OVERVIEW)
    asked = []
    admin.on("request", lambda request: asked.append(request.url))

    send_mail.using(queue="newsletter").enqueue()
    admin.clock.fast_forward("00:06")
    expect(admin.get_by_role("rowheader", name="newsletter")).to_be_visible()

    admin.get_by_role("button", name="Pause refreshing").click()
    expect(admin.get_by_role("status")).to_have_text("Refreshing is paused.")
    asked.clear()
    send_mail.using(queue="receipts").enqueue()
    admin.clock.fast_forward("10:00")
    expect(admin.get_by_role("rowheader", name="receipts")).not_to_be_visible()
    assert not asked

    admin.get_by_role("button", name="Go on refreshing").click()
    expect(admin.get_by_role("rowheader", name="receipts")).to_be_visible()


def test_refreshing_leaves_the_focus_where_it_is(admin: Page, send_mail):
    send_mail.enqueue()
    admin.clock.install()
    admin.goto(OVERVIEW)
    admin.get_by_role("button", name="Pause mail").focus()
    send_mail.using(queue="before-it").enqueue()
    admin.clock.fast_forward("00:06")
    expect(admin.get_by_role("rowheader", name="before-it")).to_be_visible()
    expect(admin.get_by_role("button", name="Pause mail")).to_be_focused()


def test_the_page_says_when_the_server_does_not_answer(admin: Page, send_mail):
    admin.clock.install()
    admin.goto(OVERVIEW)
    admin.route(re.compile("overview"), lambda route: route.abort())
    admin.clock.fast_forward("00:06")
    expect(admin.get_by_role("status")).to_contain_text("The server does not answer")
    admin.unroute_all()
    admin.clock.fast_forward("00:06")
    expect(admin.get_by_role("status")).to_be_empty()
