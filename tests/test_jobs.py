from __future__ import annotations

import asyncio
import inspect
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.test import RequestFactory, override_settings
from django.utils import timezone

import django_jobs
from django_jobs import InvalidInputError, UnknownTaskError, jobs, task, workflow
from django_jobs.models import Job, JobLog, JobSchedule, Queue


def request_of(user=None):
    request = RequestFactory().get("/")
    request.user = user or AnonymousUser()
    return request


def declare(slug="fronted", **options):
    @task(slug=slug, **options)
    def fronted(number: int = 0):
        if number < 0:
            raise ValueError("negative")
        return number * 2

    return fronted


GUARDED = {
    "enqueue": lambda request: jobs.enqueue("fronted", request=request),
    "enqueue_many": lambda request: jobs.enqueue_many([("fronted", {})], request=request),
    "run": lambda request: jobs.run(request=request),
    "run_by_id": lambda request: jobs.run_by_id(1, request=request),
    "cancel": lambda request: jobs.cancel(Q(), request=request),
    "cancel_by_id": lambda request: jobs.cancel_by_id(1, request=request),
    "retry": lambda request: jobs.retry(Q(), request=request),
    "retry_by_id": lambda request: jobs.retry_by_id(1, request=request),
}


@pytest.mark.django_db
@pytest.mark.parametrize("name", GUARDED)
def test_a_request_without_the_right_is_refused(name):
    job = declare(queue="default").enqueue()
    with pytest.raises(PermissionDenied):
        GUARDED[name](request_of())
    assert Job.objects.get().status == job.status == Job.Status.READY


@pytest.mark.django_db
@pytest.mark.parametrize("name", GUARDED)
def test_a_request_with_the_right_is_served(name):
    declare()
    GUARDED[name](request_of(User.objects.create_superuser("boss")))


def let_nobody(request):
    return False


def let_all(request):
    return True


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("enqueue", "queue"), ("enqueue_many", "queue"), ("run", "run"), ("run_by_id", "run"),
        ("cancel", "cancel"), ("cancel_by_id", "cancel"), ("retry", "retry"),
        ("retry_by_id", "retry"),
    ],
)  # fmt: skip
def test_the_access_function_of_the_verb_decides(name, verb):
    declare()
    boss = request_of(User.objects.create_superuser("boss"))
    refusing = override_settings(DJANGO_JOBS={"ACCESS": {verb: let_nobody}})
    with refusing, pytest.raises(PermissionDenied):
        GUARDED[name](boss)
    with override_settings(DJANGO_JOBS={"ACCESS": {verb: f"{__name__}.let_all"}}):
        GUARDED[name](request_of())


@pytest.mark.django_db
def test_every_guarded_call_is_tested_here():
    plain = [getattr(jobs, name) for name in jobs.__all__ if f"a{name}" in jobs.__all__]
    guarded = {call.__name__ for call in plain if "request" in inspect.signature(call).parameters}
    assert guarded == set(GUARDED)


def test_the_front_is_reached_from_the_package():
    assert django_jobs.jobs is jobs


@pytest.mark.django_db
def test_a_job_is_enqueued_by_slug_or_by_task_or_by_call():
    fronted = declare(queue="own", priority=3)
    by_slug = jobs.enqueue("fronted", {"number": 1})
    by_task = jobs.enqueue(fronted, {"number": 1})
    by_call = jobs.enqueue(fronted.using(queue="called"), {"number": 1})
    assert [job.queue for job in (by_slug, by_task, by_call)] == ["own", "own", "called"]
    assert {job.priority for job in (by_slug, by_task, by_call)} == {3}
    assert Job.objects.filter(input={"number": 1}).count() == 3


@pytest.mark.django_db
def test_what_the_call_says_wins():
    when = timezone.now() + timedelta(hours=1)
    job = jobs.enqueue(
        declare(queue="own", priority=3), queue="mine", priority=0, wait_until=when,
        meta={"who": "me"}, log=["first", {"message": "second", "data": {"n": 1}}],
    )  # fmt: skip
    job.refresh_from_db()
    assert (job.queue, job.priority, job.wait_until) == ("mine", 0, when)
    assert job.meta == {"who": "me"}
    entries = [(entry.state, entry.message, entry.data) for entry in job.log]
    assert entries == [("message", "first", None), ("message", "second", {"n": 1})]


@pytest.mark.django_db
def test_an_unknown_slug_is_an_error_that_names_the_nearest():
    declare()
    with pytest.raises(UnknownTaskError, match="Did you mean 'fronted'"):
        jobs.enqueue("frontet")
    with pytest.raises(UnknownTaskError, match="3 is neither a slug nor a task"):
        jobs.enqueue(3)  # type: ignore[arg-type]


@pytest.mark.django_db
def test_nothing_is_stored_where_one_of_many_is_invalid():
    declare()
    with pytest.raises(InvalidInputError):
        jobs.enqueue_many([("fronted", {"number": 1}), ("fronted", {"number": "x"})])
    with pytest.raises(UnknownTaskError):
        jobs.enqueue_many([("fronted", None), ("unknown", None)])
    with pytest.raises(TypeError, match="'colour' is no option"):
        jobs.enqueue("fronted", colour="red")
    assert not Job.objects.exists()
    assert not JobLog.objects.exists()


@pytest.mark.django_db
def test_many_of_several_kinds_are_enqueued_in_order():
    @workflow(slug="flow", queue="flows")
    def flow(ctx): ...

    declare()
    many = jobs.enqueue_many([("fronted", {"number": 1}), (flow, None), ("fronted", None)])
    assert [job.slug for job in many] == ["fronted", "flow", "fronted"]
    assert [job.queue for job in many] == ["default", "flows", "default"]
    assert [job.pk for job in many] == sorted(Job.objects.values_list("pk", flat=True))


@pytest.mark.django_db
def test_a_run_tells_what_became_of_each_job():
    fronted = declare(retries=None)
    good, bad = fronted.enqueue(number=1), fronted.enqueue(number=-1)
    result = jobs.run()
    assert result.job_status == {good.pk: "success", bad.pk: "error-reached-max-retries"}
    assert result.remaining_jobs_from_queried == 0
    assert not result.no_jobs_remaining
    assert jobs.run() == type(result)(no_jobs_remaining=True)


@pytest.mark.django_db
def test_a_run_is_of_one_queue_unless_all_are_asked_for():
    fronted = declare()
    fronted.using(queue="other").enqueue()
    assert jobs.run().no_jobs_remaining
    assert len(jobs.run(all_queues=True).job_status) == 1


@pytest.mark.django_db
def test_a_job_is_run_by_its_id_whatever_its_queue_if_it_is_due():
    fronted = declare()
    other, job = fronted.enqueue(), fronted.using(queue="other").enqueue()
    later = fronted.using(wait_until=timezone.now() + timedelta(days=1)).enqueue()
    assert jobs.run_by_id(job.pk).job_status == {job.pk: "success"}
    assert jobs.run_by_id(job.pk).no_jobs_remaining
    assert jobs.run_by_id(later.pk).no_jobs_remaining
    assert jobs.run_by_id(10**9).no_jobs_remaining
    other.refresh_from_db()
    assert other.status == Job.Status.READY


@pytest.mark.django_db
def test_jobs_are_cancelled_by_condition_and_queue_and_retried():
    fronted = declare()
    first, second = fronted.enqueue(), fronted.using(queue="other").enqueue()
    assert jobs.cancel(Q(slug="fronted"), queue="other") == 1
    assert jobs.cancel_by_id(second.pk) == 0
    assert jobs.cancel_by_id(first.pk) == 1
    assert jobs.retry_by_id(first.pk) == 1
    assert jobs.retry(Q()) == 1
    assert jobs.retry(Q()) == 0
    assert Job.objects.ready().count() == 2


@pytest.mark.django_db
def test_what_is_runnable_or_active_is_counted():
    fronted = declare()
    fronted.enqueue()
    fronted.using(queue="other", wait_until=timezone.now() + timedelta(days=1)).enqueue()
    scheduled = declare("scheduled").using(meta={"scheduled": True}).enqueue()
    assert jobs.count_runnable_or_active() == 3
    assert jobs.count_runnable_or_active(queue="other") == 1
    assert jobs.count_runnable_or_active(slug="fronted") == 2
    assert jobs.count_runnable_or_active(only_scheduled=True) == 1
    jobs.run_by_id(scheduled.pk)
    assert jobs.count_runnable_or_active(only_scheduled=True) == 0


@pytest.mark.django_db
def test_finished_jobs_are_pruned():
    fronted = declare()
    good, bad, ready = fronted.enqueue(), fronted.enqueue(number=-1), fronted.enqueue()
    jobs.run_by_id(good.pk)
    jobs.run_by_id(bad.pk)
    tomorrow = timezone.now() + timedelta(days=1)
    assert jobs.prune(before=timezone.now() - timedelta(days=1)) == 0
    assert jobs.prune(before=tomorrow, statuses=["failed"]) == 1
    assert jobs.prune(before=tomorrow) == 1
    assert list(Job.objects.all()) == [ready]


@pytest.mark.django_db
def test_a_paused_queue_is_not_run():
    declare().enqueue()
    assert jobs.pause_queue("default") is True
    assert jobs.pause_queue("default") is False
    assert jobs.run().no_jobs_remaining
    assert jobs.resume_queue("default") is True
    assert jobs.resume_queue("default") is False
    assert len(jobs.run().job_status) == 1


def test_every_call_has_an_async_twin():
    names = {name for name in jobs.__all__ if name.islower()}
    plain = {name for name in names if not (name.startswith("a") and name[1:] in names)}
    assert {f"a{name}" for name in plain} == names - plain
    assert all(callable(getattr(jobs, name)) for name in names)


@pytest.mark.django_db(transaction=True)
def test_every_async_twin_does_what_it_says():
    fronted = declare(schedule="0 0 1 1 *")

    async def scenario():
        one = await jobs.aenqueue("fronted", {"number": 1})
        two, three = await jobs.aenqueue_many([("fronted", {"number": 2}), (fronted, None)])
        assert await jobs.acount_runnable_or_active() == 3
        assert (await jobs.arun_by_id(two.pk)).job_status == {two.pk: "success"}
        assert await jobs.acancel_by_id(three.pk) == 1
        assert await jobs.aretry_by_id(three.pk) == 1
        assert await jobs.acancel(Q(pk=three.pk)) == 1
        assert await jobs.aretry(Q(pk=three.pk)) == 1
        assert await jobs.apause_queue("default")
        assert (await jobs.arun()).no_jobs_remaining
        assert await jobs.aresume_queue("default")
        assert (await jobs.arun()).job_status == {one.pk: "success", three.pk: "success"}
        assert (await jobs.ahandle_schedules()).queued == []
        await jobs.asend_event("rain", {"mm": 3})
        assert await jobs.aprune(before=timezone.now() + timedelta(days=1)) == 3

    async_to_sync(scenario)()
    assert not Job.objects.exists()
    assert JobSchedule.objects.get().slug == "fronted"
    assert Queue.objects.get().paused is False


@pytest.mark.django_db(transaction=True)
def test_async_twins_ask_for_the_right_too():
    async def scenario():
        for call in (
            jobs.aenqueue("fronted", request=request_of()),
            jobs.aenqueue_many([("fronted", None)], request=request_of()),
            jobs.arun(request=request_of()),
            jobs.arun_by_id(1, request=request_of()),
            jobs.acancel(Q(), request=request_of()),
            jobs.acancel_by_id(1, request=request_of()),
            jobs.aretry(Q(), request=request_of()),
            jobs.aretry_by_id(1, request=request_of()),
        ):
            with pytest.raises(PermissionDenied):
                await call

    declare()
    async_to_sync(scenario)()


@pytest.mark.django_db(transaction=True)
def test_async_handlers_run_together_from_async_code():
    arrived = 0

    @task(slug="meeting")
    async def meeting():
        nonlocal arrived
        arrived += 1
        async with asyncio.timeout(10):
            while arrived < 3:
                await asyncio.sleep(0)
        return arrived

    async def scenario():
        await jobs.aenqueue_many([("meeting", None)] * 3)
        return await jobs.arun()

    assert set(async_to_sync(scenario)().job_status.values()) == {"success"}
