"""The admin where the jobs are in another database than the users."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client, override_settings

from django_jobs import JobContext, workflow
from django_jobs.models import Job, JobStatus
from django_jobs.testing import run_jobs
from tests.admin.support import LIST, page_of

pytestmark = pytest.mark.django_db(databases=["default", "other"])


@override_settings(DJANGO_JOBS={"DATABASE": "other"})
def test_a_job_is_shown_retried_from_a_step_and_queued_again(admin_client: Client) -> None:
    @workflow(slug="flow")
    def flow(ctx: JobContext, number: int) -> None:
        ctx.inline("a", int)
        ctx.inline("b", lambda: 1 / 0)

    job = flow.enqueue(number=1)
    run_jobs()
    assert "ZeroDivisionError" in admin_client.get(page_of(job)).content.decode()
    step = job.task_statuses.get(task_id="b")
    admin_client.post(f"{LIST}{job.pk}/retry-from/{step.pk}/")
    job.refresh_from_db()
    assert job.status == JobStatus.READY
    data = {"options-queue": "default", "options-priority": "0", "input-number": "2"}
    admin_client.post(f"{LIST}{job.pk}/again/", data)
    assert Job.objects.using("other").latest("pk").input == {"number": 2}
    assert not Job.objects.using("default").exists()
    assert LogEntry.objects.count() == 2
