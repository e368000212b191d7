"""Retry, cancel, run now and delete, from the list and for one job."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from django_jobs import JobContext, workflow
from django_jobs.admin import confirm as confirming
from django_jobs.admin.verbs import VERBS
from django_jobs.models import Job, JobStatus
from django_jobs.testing import run_jobs
from tests.admin.support import HOSTILE, LIST, confirm, declare, page_of, texts
from tests.queue.support import claim_one, end
from tests.worker.support import run

pytestmark = pytest.mark.django_db

EVERY = ("view_job", "retry_job", "cancel_job", "run_job", "delete_job")
PERMISSIONS = {
    "retry": "retry_job", "cancel": "cancel_job", "run-now": "run_job", "delete": "delete_job",
}  # fmt: skip


def one(job: Job, verb: str) -> str:
    return reverse("admin:django_jobs_job_verb", args=[job.pk, verb])


def many(verb: str) -> str:
    return reverse("admin:django_jobs_job_verb_many", args=[verb])


def select(client: Client, verb: str, *jobs: Job, across: bool = False, query: str = "") -> Any:
    """Ask from the list, as its form does."""
    data = {
        "action": VERBS[verb].action, "_selected_action": [job.pk for job in jobs],
        "select_across": str(int(across)),
    }  # fmt: skip
    return client.post(LIST + query, data, follow=True)


def status_of(job: Job) -> str:
    return Job.objects.get(pk=job.pk).status


def failed_job(**options: Any) -> Job:
    job: Job = declare(**options).enqueue(fail=True)
    run(job)
    return job


def fit_job(verb: str) -> Job:
    """Return a job that the verb can be done to."""
    return failed_job() if verb == "retry" else declare().enqueue()


def what_is_left(job: Job) -> tuple[Any, ...] | None:
    columns = ("status", "priority", "wait_until")
    return Job.objects.filter(pk=job.pk).values_list(*columns).first()


# One job


def test_a_failed_job_is_retried_when_the_question_is_answered(staff) -> None:
    client, job = staff(*EVERY), failed_job()
    question = client.get(one(job, "retry"))
    assert "Retry 1 job?" in question.content.decode()
    assert status_of(job) == JobStatus.FAILED
    answer = confirm(client, question)
    assert texts(answer.content.decode()) == ["1 job will run again."]
    assert answer.redirect_chain[-1][0] == page_of(job)
    assert status_of(job) == JobStatus.READY


def test_run_now_makes_a_delayed_job_the_next(staff) -> None:
    shown = declare()
    other = shown.using(priority=99).enqueue()
    later = shown.using(wait_until=timezone.now() + timedelta(days=1)).enqueue()
    client = staff(*EVERY)
    confirm(client, client.get(one(later, "run-now")))
    assert [claim_one().pk, claim_one().pk] == [later.pk, other.pk]


def test_run_now_leaves_the_key_to_whom_holds_it(staff) -> None:
    shown = declare(concurrency=lambda input, queue: "key")
    _first, second, third = shown.enqueue_many([{}, {}, {}])
    holder = claim_one()
    client = staff(*EVERY)
    confirm(client, client.get(one(third, "run-now")))
    assert status_of(third) == JobStatus.READY
    end(holder)
    assert claim_one().pk == third.pk
    assert status_of(second) == JobStatus.READY


def test_a_deleted_job_is_gone_and_its_parent_finds_out(staff) -> None:
    child_task = declare("child")

    @workflow(slug="parent")
    def parent(ctx: JobContext) -> None:
        ctx.wait_for([ctx.enqueue_child("one", child_task)])

    job = parent.enqueue()
    run(job)
    child = job.children.get()
    client = staff(*EVERY)
    answer = confirm(client, client.get(f"{page_of(child).removesuffix('change/')}delete/"))
    assert answer.redirect_chain[-1][0] == LIST
    assert not Job.objects.filter(pk=child.pk).exists()
    run_jobs()
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED


def test_a_running_job_is_not_deleted(staff) -> None:
    job = declare().enqueue()
    claim_one()
    client = staff(*EVERY)
    answer = confirm(client, client.get(one(job, "delete"))).content.decode()
    assert "1 job was left alone: its state does not allow it." in texts(answer)
    assert status_of(job) == JobStatus.RUNNING


@pytest.mark.parametrize("verb", PERMISSIONS)
def test_each_is_written_into_the_log_of_the_admin(staff, verb: str) -> None:
    client, job = staff(*EVERY), fit_job(verb)
    confirm(client, client.get(one(job, verb)))
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.object_repr) == (str(job.pk), str(job))
    assert entry.action_flag == (DELETION if verb == "delete" else CHANGE)
    assert entry.user.username == "staff"
    assert entry.get_change_message()


@pytest.mark.parametrize("verb", PERMISSIONS)
def test_each_asks_its_own_permission(staff, verb: str) -> None:
    job = fit_job(verb)
    before = what_is_left(job)
    client = staff(*(set(EVERY) - {PERMISSIONS[verb]}))
    for url in (one(job, verb), many(verb)):
        assert client.get(url).status_code == 403
        assert client.post(url, {"newest": job.pk, "after": 0}).status_code == 403
    select(client, verb, job)
    assert what_is_left(job) == before
    assert f'value="{VERBS[verb].action}"' not in client.get(LIST).content.decode()


@pytest.mark.parametrize("verb", PERMISSIONS)
def test_whoever_may_only_look_is_offered_nothing(staff, verb: str) -> None:
    job = fit_job(verb)
    client = staff("view_job")
    assert client.post(one(job, verb)).status_code == 403
    assert 'name="action"' not in client.get(LIST).content.decode()


@pytest.mark.parametrize("verb", PERMISSIONS)
def test_acting_needs_the_permission_to_look(staff, verb: str) -> None:
    job = fit_job(verb)
    client = staff(PERMISSIONS[verb])
    assert client.post(one(job, verb)).status_code == 403


@override_settings(DJANGO_JOBS={"ACCESS": {"cancel": lambda request: True}})
def test_an_access_function_decides_alone(staff) -> None:
    job = declare().enqueue()
    client = staff("view_job")
    confirm(client, client.get(one(job, "cancel")))
    assert status_of(job) == JobStatus.CANCELLED


@pytest.mark.parametrize("verb", PERMISSIONS)
def test_nothing_is_done_without_a_token_against_forgery(admin_user, verb: str) -> None:
    job = fit_job(verb)
    before = what_is_left(job)
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    for url in (one(job, verb), many(verb)):
        assert client.get(url).status_code == 200
        assert client.post(url, {"newest": job.pk, "after": 0}).status_code == 403
    assert what_is_left(job) == before


@pytest.mark.parametrize("url", ["do/explode/", "1/do/explode/", "4711/do/retry/", "x/do/retry/"])
def test_what_does_not_exist_is_not_found(admin_client, url: str) -> None:
    assert admin_client.get(LIST + url).status_code == 404


def test_hostile_names_are_escaped(admin_client) -> None:
    job = declare(HOSTILE).using(queue=HOSTILE).enqueue()
    claim_one(queue=None)
    for page in (
        admin_client.get(one(job, "cancel")),
        confirm(admin_client, select(admin_client, "delete", job)),
        confirm(admin_client, admin_client.get(f"{many('delete')}?q={job.pk}")),
    ):
        assert "<script>alert" not in page.content.decode()
        assert "&lt;script&gt;alert" in page.content.decode()


# Many jobs


def test_selected_jobs_are_asked_about_and_then_retried(staff) -> None:
    first, second = failed_job(slug="a"), failed_job(slug="b")
    untouched = failed_job(slug="c")
    client = staff(*EVERY)
    question = select(client, "retry", first, second)
    assert "Retry 2 jobs?" in question.content.decode()
    assert status_of(first) == JobStatus.FAILED
    answer = confirm(client, question)
    assert texts(answer.content.decode()) == ["2 jobs will run again."]
    assert [status_of(job) for job in (first, second, untouched)] == ["ready", "ready", "failed"]
    assert LogEntry.objects.count() == 2


def test_all_that_match_the_filter_are_cancelled_and_no_other(staff) -> None:
    mail = declare().using(queue="mail").enqueue_many([{}] * 3)
    other = declare("other").enqueue()
    client = staff(*EVERY)
    question = select(client, "cancel", mail[0], across=True, query="?queue=mail")
    assert "Cancel 3 jobs?" in question.content.decode()
    answer = confirm(client, question)
    assert texts(answer.content.decode()) == ["3 jobs were cancelled."]
    assert answer.redirect_chain[-1][0] == f"{LIST}?queue=mail"
    assert {status_of(job) for job in mail} == {"cancelled"}
    assert status_of(other) == JobStatus.READY


def test_what_was_added_after_the_question_is_left_alone(staff) -> None:
    shown = declare()
    asked_about = shown.enqueue()
    client = staff(*EVERY)
    question = client.get(many("cancel"))
    later = shown.enqueue()
    confirm(client, question)
    assert (status_of(asked_about), status_of(later)) == ("cancelled", "ready")


def test_what_could_not_be_done_is_listed_with_the_reason(staff) -> None:
    shown = declare(unique=lambda input: input["text"])
    twin, single = shown.enqueue(text="a", fail=True), shown.enqueue(text="b", fail=True)
    run_jobs()
    unfinished = shown.enqueue(text="a")
    client = staff(*EVERY)
    question = select(client, "retry", twin, single, unfinished)
    answer = confirm(client, question).content.decode()
    assert texts(answer) == [
        "1 job will run again.",
        "1 job was left alone: its state does not allow it.",
        "1 job was left alone: a job with the same unique key is unfinished.",
    ]
    assert f'href="{page_of(twin)}"' in answer
    assert "a job with the same unique key is unfinished</td>" in answer
    assert [status_of(job) for job in (twin, single)] == ["failed", "ready"]


def test_a_job_that_is_gone_by_then_does_no_harm(staff) -> None:
    first, second = declare().enqueue_many([{}, {}])
    client = staff(*EVERY)
    question = select(client, "cancel", first, second)
    first.delete()
    assert texts(confirm(client, question).content.decode()) == ["1 job was cancelled."]
    assert status_of(second) == JobStatus.CANCELLED


def test_nothing_that_matches_is_nothing_to_do(staff) -> None:
    client = staff(*EVERY)
    page = client.get(f"{many('retry')}?q=none").content.decode()
    assert "No job matches." in page
    assert 'type="submit"' not in page.partition('id="content"')[2]


def test_more_than_fits_into_one_request_goes_on_when_asked(
    staff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirming, "BATCH", 2)
    monkeypatch.setattr(confirming, "BUDGET", 0)
    added = declare().enqueue_many([{}] * 5)
    client = staff(*EVERY)
    page = confirm(client, client.get(many("delete")))
    text = page.content.decode()
    assert "2 jobs were deleted." in text
    assert "Delete 3 jobs?" in text
    assert "Continue</button>" in text
    assert Job.objects.count() == 3
    page = confirm(client, page)
    assert "4 jobs were deleted." in page.content.decode()
    page = confirm(client, page)
    assert texts(page.content.decode()) == ["5 jobs were deleted."]
    assert not Job.objects.exists()
    assert LogEntry.objects.filter(action_flag=DELETION).count() == len(added)


def test_the_number_asked_about_is_not_counted_for_ever(
    staff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirming, "MOST", 3)
    declare().enqueue_many([{}] * 5)
    assert "Cancel 3 or more jobs?" in staff(*EVERY).get(many("cancel")).content.decode()


def test_numbers_in_the_form_that_are_none_count_as_nothing(staff) -> None:
    job = declare().enqueue()
    client = staff(*EVERY)
    data = {"newest": "9" * 40, "after": "-1", "tally_done": "x"}
    answer = client.post(many("cancel"), data, follow=True)
    assert texts(answer.content.decode()) == ["0 jobs were cancelled."]
    assert status_of(job) == JobStatus.READY


def test_a_selection_that_names_no_job_is_not_taken_for_all_jobs(staff) -> None:
    job = declare().enqueue()
    client = staff(*EVERY)
    nobody = {"job": ["9" * 40, "x", "-1", ""]}
    assert "No job matches." in client.post(many("cancel"), nobody).content.decode()
    client.post(many("cancel"), {**nobody, "newest": job.pk, "after": 0})
    assert status_of(job) == JobStatus.READY


@pytest.mark.parametrize("verb", PERMISSIONS)
def test_many_jobs_take_a_bounded_number_of_queries(
    admin_client, django_assert_max_num_queries: Any, verb: str
) -> None:
    declare().enqueue_many([{"fail": True}] * 60)
    if verb == "retry":
        run_jobs()
    question = admin_client.get(many(verb))
    with django_assert_max_num_queries(60):
        confirm(admin_client, question)
    assert LogEntry.objects.count() == 60
