"""Why a job does not run, case by case."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone, translation

from django_jobs import JobContext, jobs, task, workflow
from django_jobs.explain import State, explain
from django_jobs.explain.facts import MOST_AHEAD
from django_jobs.explain.words import span
from django_jobs.models import Job, JobStatus
from django_jobs.queue import operate
from tests.explain.support import add_worker, explained, work_task
from tests.queue.support import claim_one, end_lease
from tests.worker.support import run

pytestmark = pytest.mark.django_db


def change(job: Job, **values: Any) -> None:
    Job.objects.filter(pk=job.pk).update(**values)


def test_a_job_that_is_next_says_so() -> None:
    add_worker("default")
    first, second = work_task().enqueue_many([{}, {}])
    assert explained(first).state == State.READY
    assert "the next of its queue" in explained(first).reason
    assert "1 job is ahead of it" in explained(second).reason
    change(second, priority=5)
    assert "1 job is ahead of it" in explained(first).reason


def test_who_is_ahead_is_not_counted_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    add_worker()
    monkeypatch.setattr("django_jobs.explain.facts.MOST_AHEAD", 3)
    monkeypatch.setattr("django_jobs.explain.reasons.MOST_AHEAD", 3)
    assert MOST_AHEAD > 3
    added = work_task().enqueue_many([{}] * 6)
    assert explained(added[3]).reason.startswith("3 jobs are ahead")
    assert explained(added[5]).reason.startswith("3 or more jobs are ahead")


def test_a_delayed_job_says_when_it_is_due() -> None:
    add_worker()
    when = timezone.now() + timedelta(minutes=3, seconds=5)
    found = explained(work_task().using(wait_until=when).enqueue())
    assert (found.state, found.until) == (State.DELAYED, when)
    assert "in 3\xa0minutes" in found.reason


def test_the_date_is_said_of_another_day() -> None:
    add_worker()
    when = timezone.now() + timedelta(days=400)
    found = explained(work_task().using(wait_until=when).enqueue())
    assert str(when.year) in found.reason
    assert "in 1\xa0year" in found.reason


def test_a_paused_queue_is_named_with_who_paused_it_and_when() -> None:
    add_worker()
    job = work_task(queue="mail").enqueue()
    operate.pause_queue("mail", by="ada", using="default")
    found = explained(job)
    assert found.state == State.PAUSED
    assert "“mail” was paused by ada at " in found.reason
    assert found.since is not None
    operate.resume_queue("mail", using="default")
    operate.pause_queue("mail", using="default")
    assert "has been paused since" in explained(job).reason
    operate.resume_queue("mail", using="default")
    assert explained(job).state == State.READY


def test_a_queue_that_no_worker_listens_to_is_named() -> None:
    job = work_task(queue="mail").enqueue()
    assert (explained(job).state, "No worker is running." in explained(job).reason) == (
        State.NO_WORKER, True,
    )  # fmt: skip
    add_worker("default", "other")
    assert "No worker listens to the queue “mail”." in explained(job).reason
    add_worker("mail", silent_for=3600)
    assert explained(job).state == State.NO_WORKER
    add_worker("mail")
    assert explained(job).state == State.READY


@override_settings(DJANGO_JOBS={"CRON_SECRET": "0123456789abcdef"})
def test_a_project_without_workers_is_told_that_the_url_runs_the_job() -> None:
    assert "a pass of the web process or of the URL" in explained(work_task().enqueue()).reason


def test_a_task_that_is_not_known_is_named() -> None:
    add_worker()
    found = explained(Job.objects.create(slug="gone"))
    assert found.state == State.UNKNOWN
    assert "“gone” is known here" in found.reason


def test_a_job_that_waits_for_its_key_names_the_key_and_who_holds_it() -> None:
    add_worker()
    work = work_task(concurrency=lambda input, queue: "user:7")
    holder, held = work.enqueue(), work.enqueue()
    assert "others are before it" in explained(held).reason
    claim_one()
    found = explained(held)
    assert (found.state, found.other) == (State.HELD, holder.pk)
    assert f"“user:7”, which the job {holder.pk} holds" in found.reason


def test_a_key_with_several_places_is_held_by_several() -> None:
    from django_jobs import Concurrency

    add_worker()
    work = work_task(concurrency=Concurrency(key=lambda input, queue: "k", limit=2))
    first, _second, held = work.enqueue_many([{}, {}, {}])
    claim_one()
    assert explained(held).state in (State.READY, State.HELD)
    claim_one()
    found = explained(held)
    assert found.state == State.HELD
    assert f"which 2 jobs hold, {first.pk} first" in found.reason


def test_a_job_to_be_retried_says_which_attempt_comes_when() -> None:
    from django_jobs import Retry

    add_worker()
    job = work_task(retries=Retry(3, delay=600)).enqueue(fail=True)
    run(job)
    found = explained(job)
    assert (found.state, found.until) == (State.RETRYING, job.wait_until)
    assert found.reason.startswith("Attempt 2 of 4 is due at ")
    change(job, wait_until=None)
    assert (explained(job).state, explained(job).reason.split(" is due")[0]) == (
        State.RETRYING, "Attempt 2 of 4",
    )  # fmt: skip


def test_the_retries_of_the_one_job_count_and_may_be_nobodys() -> None:
    add_worker()

    @task(slug="flaky", retries=1)
    def flaky() -> None: ...

    own = Job.objects.create(slug="flaky", error={"name": "E"}, retries={"attempts": 8})
    assert "Attempt 1 of 9" in explained(own).reason
    gone = Job.objects.create(slug="gone", error={"name": "E"}, total_tried=2)
    assert "Attempt 3 is due" in explained(gone).reason


def test_a_running_job_says_since_when_and_by_which_worker() -> None:
    job = work_task().enqueue()
    claim_one()
    assert explained(job).state == State.RUNNING
    worker = add_worker()
    change(job, worker=worker, started_at=timezone.now() - timedelta(minutes=5))
    found = explained(job)
    assert found.state == State.RUNNING
    assert "for 5\xa0minutes, on web1:4711" in found.reason


def test_a_job_whose_lease_is_over_says_since_when_and_who_takes_it_over() -> None:
    job = work_task().enqueue()
    end_lease(claim_one())
    found = explained(job)
    assert found.state == State.STUCK
    assert "over for 1\xa0minute, and no worker is there" in found.reason
    add_worker("another-queue")
    assert "the next worker to look takes it over" in explained(job).reason


def test_a_job_whose_worker_is_gone_is_stuck() -> None:
    job = work_task().enqueue()
    claim_one()
    change(job, worker=999_999)
    found = explained(job)
    assert found.state == State.STUCK
    assert "Its worker is gone." in found.reason


def test_a_sleeping_job_says_until_when() -> None:
    @workflow(slug="sleeper")
    def sleeper(ctx: JobContext) -> None:
        ctx.sleep("nap", timedelta(days=3))

    add_worker()
    job = sleeper.enqueue()
    run(job)
    found = explained(job)
    assert (found.state, found.until) == (State.ASLEEP, job.wait_until)
    assert "It sleeps until" in found.reason
    change(job, wait_until=timezone.now() - timedelta(seconds=1))
    assert explained(job).state == State.READY


def test_a_job_that_waits_for_an_event_names_it_and_its_timeout() -> None:
    @workflow(slug="listener")
    def listener(ctx: JobContext, hours: int = 0) -> None:
        ctx.wait_for_event("paid", "order-7", timedelta(hours=hours) if hours else None)

    add_worker()
    job = listener.enqueue()
    run(job)
    found = explained(job)
    assert (found.state, found.until) == (State.AWAITING_EVENT, None)
    assert found.reason == "It waits for the event “order-7”."
    limited = listener.enqueue(hours=24 * 30)
    run(limited)
    found = explained(limited)
    assert found.until is not None
    assert found.until > timezone.now() + timedelta(days=29)
    assert str(found.until.year) in found.reason


def test_a_job_that_waits_for_its_children_names_those_that_are_left() -> None:
    work = work_task()

    @workflow(slug="parent")
    def parent(ctx: JobContext) -> None:
        ctx.wait_for([ctx.enqueue_child(str(number), work) for number in range(5)])

    add_worker()
    job = parent.enqueue()
    run(job)
    children = list(job.children.order_by("id"))
    run(children[0])
    found = explained(job)
    assert (found.state, found.other) == (State.AWAITING_CHILDREN, children[1].pk)
    first = ", ".join(str(child.pk) for child in children[1:4])
    assert found.reason == f"It waits for 4 jobs: {first} …."
    for child in children[1:4]:
        run(child)
    assert explained(job).reason == f"It waits for the job {children[4].pk}."


def test_a_cancelled_job_whose_handler_has_not_left_says_so() -> None:
    job = work_task().enqueue()
    claimed = claim_one()
    job.cancel()
    assert explained(job).state == State.CANCELLING
    end_lease(claimed)
    assert (explained(job).state, explained(job).reason) == (State.CANCELLED, "")


def test_a_failed_job_says_its_error_on_one_line() -> None:
    job = work_task().enqueue(fail=True)
    run(job)
    found = explained(job)
    assert (found.state, found.reason) == (State.FAILED, "ValueError: no answer")
    assert found.since == job.completed_at
    change(job, error={"name": "ValueError", "message": "x" * 5000})
    assert len(explained(job).reason) <= 200
    change(job, error=None)
    assert explained(job).reason == ""


def test_a_job_that_cancelled_itself_says_why() -> None:
    error = {"name": "JobCancelledError", "message": "no stock", "cancelled": True}
    job = Job.objects.create(slug="work", status=JobStatus.CANCELLED, error=error)
    assert explained(job).reason == "JobCancelledError: no stock"


def test_a_successful_job_needs_no_reason() -> None:
    job = work_task().enqueue()
    run(job)
    found = explained(job)
    assert (found.state, found.reason, found.since) == (
        State.SUCCESSFUL, "", job.completed_at,
    )  # fmt: skip


def test_every_obstacle_is_said_and_the_first_is_the_state() -> None:
    job = work_task(queue="mail").using(wait_until=timezone.now() + timedelta(hours=1)).enqueue()
    operate.pause_queue("mail", using="default")
    found = explained(job)
    assert found.state == State.DELAYED
    for said in ("It is due at", "has been paused", "No worker is running"):
        assert said in found.reason


def test_reasons_are_said_in_the_language_that_is_active() -> None:
    work_task()
    with translation.override("de"):
        assert span(timedelta(minutes=3)) == "3\xa0Minuten"
    assert span(timedelta(seconds=40)) == "40 seconds"


def test_a_page_of_a_hundred_jobs_takes_a_bounded_number_of_queries(
    django_assert_max_num_queries: Any,
) -> None:
    work = work_task(concurrency=lambda input, queue: f"{queue}:{uuid.uuid4()}")

    @workflow(slug="waiting")
    def waiting(ctx: JobContext) -> None:
        ctx.wait_for_event("e", "event", timedelta(days=1))

    for queue in ("default", "a", "b", "c", "d"):
        work.using(queue=queue).enqueue_many([{}] * 15)
    for job in waiting.enqueue_many([{}] * 5):
        jobs.run_by_id(job.pk)
    for _ in range(5):
        claim_one(queue=None)
    page = list(Job.objects.order_by("-id")[:100])
    with django_assert_max_num_queries(10):
        found = explain(page, using="default")
    assert set(found) == {job.pk for job in page}


def test_no_jobs_take_no_query(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert explain([], using="default") == {}
