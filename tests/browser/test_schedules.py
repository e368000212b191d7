from __future__ import annotations

from playwright.sync_api import Page, expect

from django_jobs import task
from django_jobs.models import Job, JobSchedule

SCHEDULES = "/admin/django_jobs/jobschedule/"


def test_a_schedule_is_made_once_its_cron_is_right_and_run_at_once(admin: Page):
    @task(slug="report", label="Write the report")
    def report(month: int) -> None: ...

    admin.goto(SCHEDULES)
    admin.get_by_role("main").get_by_role("link", name="Add schedule").click()
    admin.get_by_label("Task or workflow").select_option("report")
    admin.get_by_role("button", name="Continue").click()

    admin.get_by_role("textbox", name="Cron").fill("every morning")
    admin.get_by_role("spinbutton", name="Month").fill("7")
    admin.get_by_role("button", name="Save", exact=True).click()
    expect(admin.get_by_role("main")).to_contain_text("Please correct the error")
    assert not JobSchedule.objects.exists()

    admin.get_by_role("textbox", name="Cron").fill("30 9 * * 1")
    admin.get_by_role("button", name="Preview the times").click()
    expect(admin.get_by_role("status")).to_contain_text("Nothing has been saved yet.")
    expect(admin.get_by_role("listitem").filter(has_text="09:30:00")).to_have_count(5)
    assert not JobSchedule.objects.exists()

    admin.get_by_role("button", name="Save and continue editing").click()
    expect(admin.get_by_text("was added successfully")).to_be_visible()
    admin.get_by_role("button", name="Run now").click()
    expect(admin.get_by_text("was enqueued.")).to_be_visible()
    assert Job.objects.get().input == {"month": 7}


def test_a_schedule_is_paused_and_resumed(admin: Page):
    @task(slug="report")
    def report() -> None: ...

    schedule = JobSchedule.objects.create(slug="report", cron="@daily")
    admin.goto(f"{SCHEDULES}{schedule.pk}/change/")
    for button, enabled in (("Pause", False), ("Resume", True)):
        admin.get_by_role("button", name=button, exact=True).click()
        expect(admin.get_by_text("1 schedule is")).to_be_visible()
        schedule.refresh_from_db()
        assert schedule.enabled is enabled
