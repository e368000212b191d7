"""Failures in groups that are alike."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from django_jobs import task
from django_jobs.admin import groups
from django_jobs.models import Job, JobStatus
from django_jobs.testing import run_jobs
from tests.admin.support import HOSTILE, LIST, confirm, page_of, texts

pytestmark = pytest.mark.django_db

URL = f"{LIST}failures/"


def break_task(slug: str = "broken") -> Any:
    @task(slug=slug)
    def broken(order: int, kind: str = "gone") -> None:
        raise LookupError(f"Order {order} is {kind}.")

    return broken


def fail(number: int, slug: str = "broken", **input: Any) -> list[Job]:
    jobs: list[Job] = break_task(slug).enqueue_many(
        [{"order": order, **input} for order in range(number)]
    )
    run_jobs()
    return jobs


def test_failures_that_are_alike_are_counted_together(admin_client) -> None:
    alike = fail(4)
    break_task_of_its_own = fail(2, "other")
    page = admin_client.get(URL).content.decode()
    assert page.count("<strong>LookupError</strong> Order … is gone.") == 2
    assert page_of(alike[-1]) in page
    assert page_of(break_task_of_its_own[-1]) in page
    assert ">4</a>" in page
    assert ">2</a>" in page


def test_all_of_a_group_are_retried_and_no_others(admin_client) -> None:
    alike, different = fail(3), fail(1, "other")
    (group, _other), _capped = groups.groups(using="default")
    url = f"{reverse('admin:django_jobs_job_verb_many', args=['retry'])}?{group.query}"
    assert url.replace("&", "&amp;") in admin_client.get(URL).content.decode()
    question = admin_client.get(url)
    assert "Retry 3 jobs?" in question.content.decode()
    assert texts(confirm(admin_client, question).content.decode()) == ["3 jobs will run again."]
    for job, status in ((alike[0], JobStatus.READY), (different[0], JobStatus.FAILED)):
        job.refresh_from_db()
        assert job.status == status


def test_a_failure_without_a_group_is_not_lost(admin_client) -> None:
    job = Job.objects.create(slug="old", status=JobStatus.FAILED, error={"name": "OldError"})
    fail(1)
    page = admin_client.get(URL).content.decode()
    assert "OldError" in page
    (_first, old), _capped = groups.groups(using="default")
    shown = admin_client.get(f"{LIST}?{old.query}").content.decode()
    assert page_of(job) in shown
    assert shown.count('class="action-select"') == 1


def test_only_the_newest_failures_are_counted(
    admin_client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "MOST", 3)
    fail(5)
    page = admin_client.get(URL).content.decode()
    assert ">3</a>" in page
    assert "these are the newest 3." in page


def test_no_failure_is_said_so(admin_client) -> None:
    assert "No job has failed." in admin_client.get(URL).content.decode()


def test_hostile_errors_are_escaped(admin_client) -> None:
    break_task(HOSTILE).enqueue(order=1, kind=HOSTILE)
    run_jobs()
    page = admin_client.get(URL).content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_it_takes_a_bounded_number_of_queries(
    admin_client, django_assert_max_num_queries: Any
) -> None:
    for number in range(15):
        fail(1, f"task-{number}")
    with django_assert_max_num_queries(6):
        admin_client.get(URL)


def test_whoever_may_only_look_is_offered_no_button(staff) -> None:
    fail(1)
    page = staff("view_job").get(URL).content.decode()
    assert "LookupError" in page
    assert "do/retry" not in page
    assert "do/delete" not in page


def test_it_needs_the_permission_to_look(staff) -> None:
    assert staff("retry_job").get(URL).status_code == 403
