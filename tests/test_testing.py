from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import date, timedelta
from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection
from django.db.models import Q
from django.test import RequestFactory, TestCase, TransactionTestCase, override_settings
from django.utils import timezone

from django_jobs import Concurrency, Retry, RetryLater, jobs, task, workflow
from django_jobs.models import Job
from django_jobs.testing import assert_enqueued, assert_not_enqueued, inline_jobs, run_jobs
from tests.testapp.models import Entry

ROOT = Path(__file__).resolve().parent.parent


def declare_note(**options):
    @task(slug="jot", **options)
    def jot(name: str):
        Entry.objects.create(name=name)
        return name

    return jot


def names():
    return list(Entry.objects.values_list("name", flat=True))


class RunJobsInATestCaseTests(TestCase):
    def test_jobs_of_all_queues_run_inside_the_transaction_of_the_test(self):
        note = declare_note()
        first = note.enqueue(name="a")
        second = note.using(queue="other").enqueue(name="b")
        result = run_jobs()
        assert result.job_status == {first.pk: "success", second.pk: "success"}
        assert result.no_jobs_remaining
        assert names() == ["a", "b"]

    def test_a_broken_query_of_a_handler_leaves_the_test_its_transaction(self):
        @task(slug="broken")
        def broken():
            with connection.cursor() as cursor:
                cursor.execute("SELECT nothing FROM nowhere")

        job = broken.enqueue()
        assert run_jobs().job_status == {job.pk: "error-reached-max-retries"}
        assert names() == []


class RunJobsInATransactionTestCaseTests(TransactionTestCase):
    def test_jobs_run_in_the_thread_of_the_caller(self):
        seen = []

        @task(slug="where")
        def where():
            seen.append(threading.current_thread())

        where.enqueue()
        where.enqueue()
        run_jobs()
        assert seen == [threading.current_thread()] * 2


@pytest.mark.django_db
def test_what_jobs_enqueue_runs_too():
    note = declare_note()

    @task(slug="outer")
    def outer():
        note.enqueue(name="inner")

    outer.enqueue()
    assert len(run_jobs().job_status) == 2
    assert names() == ["inner"]


@pytest.mark.django_db
def test_only_the_named_queue_is_drained():
    note = declare_note()
    note.enqueue(name="a")
    note.using(queue="other").enqueue(name="b")
    run_jobs(queue="other")
    assert names() == ["b"]
    run_jobs(queue="other", all_queues=True)
    assert names() == ["b", "a"]


@pytest.mark.django_db
def test_the_limit_is_the_number_of_attempts_in_all():
    note = declare_note()
    note.enqueue_many([{"name": name} for name in "abc"])
    result = run_jobs(limit=2)
    assert names() == ["a", "b"]
    assert not result.no_jobs_remaining


@pytest.mark.django_db
def test_jobs_are_run_that_the_condition_names_in_the_order_that_is_asked_for():
    note = declare_note()
    a, b, _c = note.enqueue_many([{"name": name} for name in "abc"])
    run_jobs(where=Q(pk__in=[a.pk, b.pk]), processing_order="-created_at")
    assert names() == ["b", "a"]


@pytest.mark.django_db
def test_nothing_is_started_after_the_deadline():
    declare_note().enqueue(name="a")
    assert run_jobs(deadline=0).job_status == {}
    assert names() == []


@pytest.mark.django_db
def test_a_request_needs_the_right_to_run_jobs():
    with pytest.raises(PermissionDenied):
        run_jobs(request=RequestFactory().get("/"))


@pytest.mark.django_db
def test_a_job_is_retried_at_once_where_its_retries_do_not_wait():
    tries = []

    @task(slug="flaky", retries=2)
    def flaky():
        tries.append(1)
        raise ValueError("no")

    job = flaky.enqueue()
    result = run_jobs()
    assert len(tries) == 3
    assert result.job_status == {job.pk: "error-reached-max-retries"}
    assert result.remaining_jobs_from_queried == 0


@pytest.mark.django_db
def test_delays_are_kept_unless_they_are_ignored():
    note = declare_note()
    job = note.using(wait_until=timezone.now() + timedelta(days=1)).enqueue(name="later")
    assert run_jobs().job_status == {}
    assert run_jobs(ignore_delays=True).job_status == {job.pk: "success"}


@pytest.mark.django_db
def test_a_retry_that_waits_is_left_and_counted_as_remaining():
    @task(slug="flaky", retries=Retry(1, delay=3600))
    def flaky():
        raise ValueError("no")

    job = flaky.enqueue()
    result = run_jobs()
    assert result.job_status == {job.pk: "error"}
    assert result.remaining_jobs_from_queried == 1
    assert run_jobs(ignore_delays=True).job_status == {job.pk: "error-reached-max-retries"}


@pytest.mark.django_db
def test_delayed_jobs_run_in_the_order_of_their_times():
    note = declare_note()
    for hours, name in ((3, "third"), (1, "first"), (2, "second")):
        note.using(wait_until=timezone.now() + timedelta(hours=hours)).enqueue(name=name)
    run_jobs(ignore_delays=True)
    assert names() == ["first", "second", "third"]


@pytest.mark.django_db
def test_a_sleeping_workflow_runs_to_its_end_where_delays_are_ignored():
    @workflow(slug="sleeper")
    def sleeper(ctx):
        ctx.sleep("a-day", timedelta(days=1))
        ctx.sleep("another", timedelta(days=1))
        return "rested"

    job = sleeper.enqueue()
    run_jobs()
    job.refresh_from_db()
    assert job.status == Job.Status.WAITING
    run_jobs(ignore_delays=True)
    job.refresh_from_db()
    assert (job.status, job.output) == (Job.Status.SUCCESSFUL, "rested")


@pytest.mark.django_db
def test_an_event_is_waited_for_even_where_delays_are_ignored():
    @workflow(slug="waiter")
    def waiter(ctx):
        return ctx.wait_for_event("answer", "answer", timeout=3600)

    job = waiter.enqueue()
    run_jobs(ignore_delays=True)
    job.refresh_from_db()
    assert job.status == Job.Status.WAITING
    jobs.send_event("answer", 42)
    run_jobs()
    job.refresh_from_db()
    assert job.output == 42


@pytest.mark.django_db
def test_a_job_that_enqueues_itself_for_ever_is_named():
    @task(slug="ouroboros")
    def ouroboros():
        jobs.enqueue("ouroboros")

    ouroboros.enqueue()
    with pytest.raises(RuntimeError, match=r"After 5 attempts .* 1 × 'ouroboros'"):
        run_jobs(max_attempts=5)


@pytest.mark.django_db
def test_a_job_that_asks_to_be_retried_for_ever_is_named():
    @task(slug="poll")
    def poll():
        raise RetryLater(60)

    poll.enqueue()
    with pytest.raises(RuntimeError, match="'poll'"):
        run_jobs(ignore_delays=True, max_attempts=5)


@pytest.mark.django_db
def test_as_many_attempts_as_are_allowed_are_no_error():
    note = declare_note()
    note.enqueue_many([{"name": name} for name in "abc"])
    assert len(run_jobs(max_attempts=3).job_status) == 3


@pytest.mark.django_db
def test_a_job_of_an_unknown_task_is_left_waiting():
    job = declare_note().enqueue(name="a")
    Job.objects.filter(pk=job.pk).update(slug="gone")
    assert run_jobs(ignore_delays=True).job_status == {job.pk: "error"}


@pytest.mark.django_db
def test_an_async_handler_is_run_to_its_end():
    @task(slug="double")
    async def double(number: int):
        return number * 2

    job = double.enqueue(number=21)
    run_jobs()
    job.refresh_from_db()
    assert job.output == 42


@pytest.mark.django_db
def test_the_enqueued_job_is_returned():
    job = declare_note().enqueue(name="a")
    assert assert_enqueued("jot") == job
    assert assert_enqueued("jot", name="a") == job


@pytest.mark.django_db
def test_the_latest_of_several_jobs_is_returned():
    note = declare_note()
    note.enqueue(name="a")
    last = note.enqueue(name="a")
    assert assert_enqueued(note, name="a") == last


@pytest.mark.django_db
def test_a_job_that_has_run_was_enqueued_too():
    note = declare_note()
    note.enqueue(name="a")
    run_jobs()
    assert assert_enqueued(note, name="a").status == Job.Status.SUCCESSFUL


@pytest.mark.django_db
def test_other_input_than_the_jobs_shows_what_was_enqueued():
    note = declare_note()
    note.using(queue="mail").enqueue(name="a")
    with pytest.raises(AssertionError) as caught:
        assert_enqueued(note, name="b")
    assert str(caught.value) == (
        "No job was enqueued for 'jot' with name='b'. These were for the task:\n"
        "  jot(name='a') on mail, ready"
    )


@pytest.mark.django_db
def test_jobs_of_other_tasks_are_shown_where_there_is_none_of_this():
    declare_note().enqueue(name="a")
    with pytest.raises(AssertionError, match=r"These were:\n  jot\(name='a'\) on default"):
        assert_enqueued("other")


@pytest.mark.django_db
def test_an_empty_queue_is_said_to_be_empty():
    with pytest.raises(AssertionError, match="Nothing was enqueued at all"):
        assert_enqueued(declare_note())


@pytest.mark.django_db
def test_an_unknown_argument_is_not_what_was_enqueued():
    declare_note().enqueue(name="a")
    with pytest.raises(AssertionError):
        assert_enqueued("jot", name="a", colour=None)


@pytest.mark.django_db
def test_values_are_compared_as_the_handler_gets_them():
    @task(slug="on-day")
    def on_day(day: date): ...

    job = on_day.enqueue(day=date(2024, 2, 29))
    assert assert_enqueued(on_day, day=date(2024, 2, 29)) == job
    assert assert_enqueued(on_day, day="2024-02-29") == job
    assert_not_enqueued(on_day, day=date(2024, 3, 1))


@pytest.mark.django_db
def test_the_options_of_a_call_are_compared():
    note = declare_note()
    when = timezone.now().replace(microsecond=0) + timedelta(hours=1)
    note.using(queue="mail", priority=3, wait_until=when).enqueue(name="a")
    assert_enqueued(note.using(queue="mail", priority=3, wait_until=when), name="a")
    assert_not_enqueued(note.using(queue="other"))
    assert_not_enqueued(note.using(priority=4))
    assert_not_enqueued(note.using(wait_until=when + timedelta(seconds=1)))
    with pytest.raises(AssertionError, match="with priority=4"):
        assert_enqueued(note.using(priority=4))


@pytest.mark.django_db
def test_what_should_not_have_been_enqueued_is_listed():
    note = declare_note()
    note.enqueue(name="a")
    assert_not_enqueued(note, name="b")
    with pytest.raises(AssertionError, match=r"jot\(name='a'\)"):
        assert_not_enqueued(note)


@pytest.mark.django_db
def test_an_inline_job_has_run_when_enqueue_returns():
    note = declare_note()
    with inline_jobs():
        job = note.enqueue(name="a")
        assert (job.status, job.output) == (Job.Status.SUCCESSFUL, "a")
        both = note.enqueue_many([{"name": "b"}, {"name": "c"}])
        assert [job.output for job in both] == ["b", "c"]
    assert names() == ["a", "b", "c"]


@pytest.mark.django_db
def test_jobs_wait_again_after_the_block():
    note = declare_note()
    with inline_jobs():
        pass
    assert note.enqueue(name="a").status == Job.Status.READY


@pytest.mark.django_db
def test_jobs_from_before_the_block_are_left():
    note = declare_note()
    before = note.enqueue(name="before")
    with inline_jobs():
        note.enqueue(name="inside")
    before.refresh_from_db()
    assert before.status == Job.Status.READY


@pytest.mark.django_db
def test_a_job_enqueued_by_an_inline_job_has_run_when_its_enqueue_returns():
    note = declare_note()

    @task(slug="outer")
    def outer():
        return note.enqueue(name="inner").output

    with inline_jobs():
        assert outer.enqueue().output == "inner"


@pytest.mark.django_db
def test_a_failure_is_on_the_job_and_not_raised():
    @task(slug="flaky", retries=Retry(1, delay=3600))
    def flaky():
        raise ValueError("no")

    with inline_jobs():
        job = flaky.enqueue()
    assert (job.status, job.total_tried) == (Job.Status.FAILED, 2)
    assert job.error
    assert job.error["name"] == "ValueError"


@pytest.mark.django_db
def test_inline_jobs_are_not_delayed_unless_that_is_asked_for():
    note = declare_note().using(wait_until=timezone.now() + timedelta(days=1))
    with inline_jobs():
        assert note.enqueue(name="a").status == Job.Status.SUCCESSFUL
    with inline_jobs(ignore_delays=False):
        assert note.enqueue(name="a").status == Job.Status.READY


@pytest.mark.django_db
def test_a_job_whose_key_is_held_by_the_one_that_enqueues_it_runs_after_that():
    order: list[int] = []

    @task(slug="one-by-one", concurrency=Concurrency(key=lambda input, queue: "key"))
    def one_by_one(depth: int):
        if depth:
            one_by_one.enqueue(depth=depth - 1)
        order.append(depth)

    with inline_jobs():
        one_by_one.enqueue(depth=2)
    assert order == [2, 1, 0]


@pytest.mark.django_db
def test_a_workflow_with_children_ends_inline():
    @task(slug="square")
    def square(number: int):
        return number * number

    @workflow(slug="fan-out")
    def fan_out(ctx):
        children = [ctx.enqueue_child(str(n), square, number=n) for n in range(3)]
        return [child.output for child in ctx.wait_for(children)]

    with inline_jobs():
        job = fan_out.enqueue()
    assert job.output == [0, 1, 4]


@pytest.mark.django_db
def test_a_long_chain_of_inline_jobs_runs_to_its_end():
    @task(slug="chain")
    def chain(left: int):
        if left:
            chain.enqueue(left=left - 1)

    with inline_jobs():
        chain.enqueue(left=50)
    assert Job.objects.filter(status=Job.Status.SUCCESSFUL).count() == 51


@pytest.mark.django_db
def test_inline_jobs_that_never_end_are_an_error_of_the_block():
    @task(slug="ouroboros")
    def ouroboros():
        jobs.enqueue("ouroboros")

    def block():
        with inline_jobs(max_attempts=30):
            ouroboros.enqueue()

    with pytest.raises(RuntimeError, match=r"After 30 attempts .*'ouroboros'"):
        block()


@pytest.mark.django_db
def test_an_error_of_the_block_itself_is_raised():
    def block():
        with inline_jobs():
            raise IntegrityError("mine")

    with pytest.raises(IntegrityError, match="mine"):
        block()


@pytest.mark.django_db(transaction=True)
def test_inline_jobs_run_in_the_thread_that_enqueues_them():
    seen = []

    @task(slug="where")
    def where():
        seen.append(threading.current_thread())

    with inline_jobs():
        where.enqueue()
    assert seen == [threading.current_thread()]


@pytest.mark.django_db
@override_settings(DJANGO_JOBS={"DELETE_JOB_ON_COMPLETE": True})
def test_an_inline_job_may_be_deleted_on_completion():
    with inline_jobs():
        declare_note().enqueue(name="a")
    assert names() == ["a"]
    assert not Job.objects.exists()


def test_the_fixtures_of_the_plugin_work_without_the_mark_of_the_database(tmp_path):
    (tmp_path / "test_it.py").write_text(
        """
from django_jobs import task
from django_jobs.models import Job

@task(slug="ping")
def ping(number=1):
    return number

def test_run_jobs(run_jobs, assert_enqueued):
    ping.enqueue(number=3)
    run_jobs()
    assert assert_enqueued(ping, number=3).output == 3

def test_inline_jobs(inline_jobs):
    assert ping.enqueue().output == 1

def test_nothing_is_left(run_jobs):
    assert not Job.objects.exists()
    assert ping.enqueue().status == Job.Status.READY
"""
    )
    (tmp_path / "project.py").write_text(
        """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["django_jobs"]
"""
    )
    plugins = ["-p", "django", "-p", "django_jobs.pytest_plugin"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", ".", *plugins, "test_it.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={
            **os.environ, "DJANGO_SETTINGS_MODULE": "project", "PYTHONPATH": f"{ROOT}:.",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
    )  # fmt: skip
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_loading_the_plugin_imports_nothing_of_django():
    program = (
        "import sys, django_jobs.pytest_plugin\n"
        "print([name for name in sys.modules if name == 'django' or name.endswith('models')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
