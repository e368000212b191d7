from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from django_jobs import JobContext, task, workflow
from django_jobs.models import Job
from tests.browser.conftest import OpenPage
from tests.browser.support import press_tab_until, run_jobs

JOBS = "/admin/django_jobs/job/"


@pytest.fixture
def stock() -> set[str]:
    """What can be sold. A lamp and two chairs could not be; a table was."""
    stock = {"table"}

    @task(slug="sell")
    def sell(item: str) -> str:
        if item not in stock:
            raise LookupError(f"There is no <b> {item!r} left.")
        return item

    for item in ("table", "lamp", "chair", "chair"):
        sell.enqueue(item=item)
    run_jobs()
    return stock


def row_of(page: Page, text: str) -> Locator:
    return page.get_by_role("row").filter(has_text=text)


def statuses() -> dict[str, int]:
    found = list(Job.objects.values_list("status", flat=True))
    return {status: found.count(status) for status in sorted(found)}


def test_the_admin_is_entered_by_the_login_page(open_page: OpenPage, admin_user):
    page = open_page(None)
    page.goto(JOBS)
    page.get_by_label("Username").fill(admin_user.username)
    page.get_by_label("Password").fill("password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("job")


@pytest.mark.parametrize("javascript", [True, False], ids=["with-js", "without-js"])
def test_a_failed_job_is_found_understood_and_run_again(
    open_page: OpenPage, admin_user, stock, javascript
):
    page = open_page(admin_user, java_script_enabled=javascript)
    page.goto(JOBS)
    page.get_by_role("link", name="failed", exact=True).click()
    row_of(page, "lamp").get_by_role("link").first.click()
    expect(page.get_by_text("LookupError: There is no <b> 'lamp' left.").first).to_be_visible()
    page.get_by_text("Traceback of the error").click()
    expect(page.get_by_text("Traceback (most recent call last)").first).to_be_visible()

    stock.add("lamp")
    page.get_by_role("link", name="Retry", exact=True).click()
    expect(page.get_by_role("heading", name="Retry 1 job?")).to_be_visible()
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("1 job will run again.")).to_be_visible()

    run_jobs()
    page.reload()
    expect(page.locator(".jobs-status")).to_contain_text("successful")
    assert statuses() == {"failed": 2, "successful": 2}


def test_a_job_is_retried_by_keyboard_alone(admin: Page, stock):
    job = Job.objects.get(input__item="lamp")
    admin.goto(f"{JOBS}{job.pk}/change/")
    press_tab_until(admin.get_by_role("link", name="Retry", exact=True))
    admin.keyboard.press("Enter")
    admin.wait_for_url("**/do/retry/")
    press_tab_until(admin.get_by_role("button", name="Retry"))
    admin.keyboard.press("Enter")
    expect(admin.get_by_text("1 job will run again.")).to_be_visible()


def test_all_failures_that_are_alike_are_retried_together(admin: Page, stock):
    admin.goto(JOBS)
    admin.get_by_role("link", name="Failures").click()
    row_of(admin, "LookupError").get_by_role("link", name="Retry…").first.click()
    expect(admin.get_by_role("heading", name="Retry 3 jobs?")).to_be_visible()
    stock |= {"lamp", "chair"}
    admin.get_by_role("button", name="Retry").click()
    expect(admin.get_by_text("3 jobs will run again.")).to_be_visible()
    run_jobs()
    assert statuses() == {"successful": 4}


def test_selected_jobs_are_cancelled_once_the_question_is_answered(admin: Page):
    @task(slug="later")
    def later(name: str) -> None: ...

    for name in ("one", "two", "three"):
        later.using(wait_until=timezone.now() + timedelta(days=1)).enqueue(name=name)
    ask_to_cancel_two(admin)
    admin.get_by_role("link", name="No, take me back").click()
    expect(admin.get_by_label("Action:")).to_be_visible()
    assert statuses() == {"ready": 3}

    ask_to_cancel_two(admin)
    admin.get_by_role("button", name="Cancel").click()
    expect(admin.get_by_text("2 jobs were cancelled.")).to_be_visible()
    assert statuses() == {"cancelled": 2, "ready": 1}


def ask_to_cancel_two(page: Page) -> None:
    page.goto(JOBS)
    for row in (1, 2):
        page.locator("#result_list tbody tr").nth(row).get_by_role("checkbox").check()
    page.get_by_label("Action:").select_option(label="Cancel")
    # Django 6 calls it "Run".
    page.get_by_role("button", name=re.compile("^(Go|Run)$")).click()
    expect(page.get_by_role("heading", name="Cancel 2 jobs?")).to_be_visible()


def test_a_workflow_is_retried_from_one_of_its_steps(admin: Page):
    runs = []

    @workflow(slug="fulfil")
    def fulfil(ctx: JobContext) -> None:
        for step in ("reserve", "pack", "send"):
            ctx.inline(step, lambda step=step: runs.append(step))
        raise ValueError("The parcel came back.")

    job = fulfil.enqueue()
    run_jobs()
    admin.goto(f"{JOBS}{job.pk}/change/")
    row_of(admin, "pack").get_by_role("link", name="Retry from here").click()
    expect(admin.get_by_role("main")).to_contain_text("It forgets these 2 steps")
    admin.get_by_role("button", name="Retry from here").click()
    expect(admin.get_by_text("Retried from the step “pack”.")).to_be_visible()
    run_jobs()
    assert runs == ["reserve", "pack", "send", "pack", "send"]


def test_who_may_only_look_finds_nothing_to_press(open_page: OpenPage, viewer, stock):
    page = open_page(viewer)
    page.goto(JOBS)
    expect(row_of(page, "lamp")).to_be_visible()
    expect(page.get_by_label("Action:")).to_have_count(0)
    actions = re.compile("^(Retry|Cancel|Run now|Delete|Add|Queue|Pause (?!refreshing))")
    job = Job.objects.get(input__item="lamp")
    for url in (
        JOBS,
        f"{JOBS}failures/",
        f"{JOBS}{job.pk}/change/",
        "/admin/django_jobs/overview/",
    ):
        page.goto(url)
        expect(page.get_by_role("main").get_by_role("link", name=actions)).to_have_count(0)
        expect(page.get_by_role("main").get_by_role("button", name=actions)).to_have_count(0)


def test_the_page_of_a_job_follows_a_real_worker(admin: Page, runjobs, journal):
    from tests.testapp.tasks import hold

    job = hold.enqueue(name="gate")
    admin.clock.install()
    admin.goto(f"{JOBS}{job.pk}/change/")
    status = admin.locator(".jobs-status")
    expect(status).to_contain_text("no worker")

    runjobs()
    journal.wait_for("start", "gate")
    admin.clock.fast_forward("00:06")
    expect(status).to_contain_text("running")

    journal.open("gate")
    job.wait(60)
    admin.clock.fast_forward("00:06")
    expect(status).to_contain_text("successful")
