from __future__ import annotations

import asyncio
import copy
import json
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django import VERSION
from django.core.checks import run_checks
from django.db import transaction
from django.db.models import Q
from django.test import override_settings
from django.utils import timezone

from django_jobs import Concurrency, InvalidInputError, JobCancelledError, Retry, jobs
from django_jobs.models import Job, JobLog, Worker
from django_jobs.queue.claim import claim
from django_jobs.tasks import registry
from django_jobs.testing import assert_enqueued, inline_jobs, run_jobs
from django_jobs.worker.runner import default_selection

if VERSION < (6, 0):
    pytest.importorskip("django_tasks")
    from django_tasks import default_task_backend, task, task_backends
    from django_tasks.exceptions import TaskResultMismatch
else:
    from django.tasks import default_task_backend, task, task_backends
    from django.tasks.exceptions import TaskResultMismatch

from django_jobs.tasks_backend import JobsBackend, JobsTask
from django_jobs.tasks_backend.compat import (
    InvalidTask,
    Task,
    TaskContext,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_enqueued,
    task_finished,
    task_started,
)
from django_jobs.tasks_backend.stored import StoredTask

ROOT = Path(__file__).resolve().parent.parent
BACKEND = "django_jobs.tasks_backend.JobsBackend"
MINE = __name__

# Django 6.0 passes no keyword arguments on from the decorator.
takes_keywords = pytest.mark.skipif(
    VERSION[:2] == (6, 0), reason="Django 6.0 has fixed options of the decorator"
)

calls: list = []
gate = threading.Event()
started = threading.Event()


class OwnError(Exception):
    pass


def add(a, b=0):
    return a + b


def noop(*args, **kwargs):
    return None


def everything(a, /, b, *rest, c=1, **others):
    return [a, b, list(rest), c, others]


async def aadd(a, b=0):
    await asyncio.sleep(0)
    return a + b


def fail():
    raise ValueError(ValueError("This task failed"))


async def afail():
    raise OwnError("async")


def fail_with_own_error():
    raise OwnError("mine")


def give_a_function():
    return lambda: True


def give_bytes():
    return b"text"


def tell(context, name):
    return [context.attempt, context.task_result.id, context.task_result.status, name]


async def atell(context, name):
    return [context.attempt, context.task_result.id, context.task_result.status, name]


def fail_at_first(context):
    calls.append([context.attempt, len(context.task_result.errors)])
    if context.attempt < 3:
        raise OwnError(f"attempt {context.attempt}")
    return context.task_result.worker_ids


def cancel_itself():
    raise JobCancelledError("not today")


def hang():
    while not gate.wait(0.005):
        pass


def wait_for_the_test():
    started.set()
    gate.wait(10)


def user_key(input, queue):
    return f"user:{input['a']}"


@pytest.fixture(autouse=True)
def backend():
    calls.clear()
    gate.clear()
    started.clear()
    with override_settings(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": ["default", "mail"]}}):
        yield
    gate.set()


def with_options(**options):
    return override_settings(TASKS={"default": {"BACKEND": BACKEND, "OPTIONS": options}})


def test_the_backend_supports_all_that_there_is():
    backend = task_backends["default"]
    assert isinstance(backend, JobsBackend)
    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_get_result
    assert backend.supports_priority


@pytest.mark.django_db
def test_an_enqueued_task_is_a_job():
    result = task(add).enqueue(1, b=2)
    job = Job.objects.get()
    assert (job.slug, job.kind, job.queue) == (f"{MINE}.add", "task", "default")
    assert job.input == {"a": 1, "b": 2}
    assert assert_enqueued(f"{MINE}.add", a=1) == job
    assert result.id == str(job.pk)
    assert result.status == TaskResultStatus.READY
    assert not result.is_finished
    assert result.enqueued_at == job.created_at
    assert (result.started_at, result.last_attempted_at, result.finished_at) == (None, None, None)
    assert (result.args, result.kwargs) == ([1], {"b": 2})
    assert (result.errors, result.worker_ids, result.attempts) == ([], [], 0)
    with pytest.raises(ValueError, match="Task has not finished yet"):
        _ = result.return_value


@pytest.mark.django_db
@pytest.mark.parametrize("function", [add, aadd])
def test_a_task_is_run_to_its_result(function):
    result = task(function).enqueue(1, b=2)
    run_jobs()
    assert result.status == TaskResultStatus.READY
    result.refresh()
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert result.is_finished
    assert result.return_value == 3
    assert result.started_at == result.last_attempted_at <= result.finished_at
    # SQLite's clock knows milliseconds only.
    assert result.enqueued_at <= result.started_at + timedelta(milliseconds=1)
    assert result.attempts == 1
    assert result.worker_ids[0]
    assert result.errors == []


@pytest.mark.django_db(transaction=True)
def test_tasks_run_in_parallel_outside_of_transactions():
    both = [task(function).enqueue(1, b=2) for function in (add, aadd)]
    assert set(jobs.run().job_status.values()) == {"success"}
    for result in both:
        result.refresh()
        assert (result.return_value, result.attempts) == (3, 1)


@pytest.mark.django_db(transaction=True)
def test_the_async_twins_do_what_the_plain_ones_do():
    async def scenario():
        result = await task(add).aenqueue(2, b=3)
        await jobs.arun()
        await result.arefresh()
        again = await default_task_backend.aget_result(result.id)
        same = await result.task.aget_result(result.id)
        return result.return_value, again.return_value, same.id == result.id

    assert async_to_sync(scenario)() == (5, 5, True)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (add, [1], {}),
        (add, [], {"a": 1}),
        (add, [1, 2], {}),
        (noop, [], {}),
        (noop, [1, [2], {"x": None}], {"args": 3, "kwargs": 4}),
        (everything, [1, 2, 3, 4], {"c": 5, "d": 6}),
        (everything, [1], {"b": 2}),
    ],
)
def test_arguments_come_back_as_they_were_given(function, args, kwargs):
    result = task(function).enqueue(*args, **kwargs)
    found = default_task_backend.get_result(result.id)
    for one in (result, found):
        assert (one.args, one.kwargs) == (args, kwargs)
    run_jobs()
    found.refresh()
    assert found.return_value == function(*args, **kwargs)


@pytest.mark.django_db
@pytest.mark.parametrize(("args", "kwargs"), [([], {}), ([1, 2, 3], {}), ([1], {"c": 1})])
def test_arguments_that_the_function_does_not_take_are_refused(args, kwargs):
    with pytest.raises(InvalidInputError, match=r"The task '.*\.add' cannot take this input"):
        task(add).enqueue(*args, **kwargs)
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_a_name_that_stands_for_two_arguments_is_refused():
    with pytest.raises(InvalidInputError, match="a is given twice"):
        task(everything).enqueue(1, 2, a=3)


@pytest.mark.django_db
@pytest.mark.parametrize("value", [object(), datetime(2024, 1, 1), {1, 2}])
def test_arguments_that_are_no_json_are_refused(value):
    with pytest.raises(TypeError, match="Unsupported type"):
        task(add).enqueue(value)
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_arguments_that_no_database_can_hold_are_refused():
    with pytest.raises(InvalidInputError, match="NUL"):
        task(add).enqueue("\x00")


@pytest.mark.django_db
def test_jobs_may_be_enqueued_by_the_path_of_the_function():
    task(add)
    job = jobs.enqueue(f"{MINE}.add", {"a": 1, "b": 5})
    run_jobs()
    job.refresh_from_db()
    assert job.output == 6
    with pytest.raises(InvalidInputError):
        jobs.enqueue(f"{MINE}.add", {"b": 5})


@pytest.mark.django_db
def test_the_job_exists_exactly_if_the_transaction_commits():
    with suppress(OwnError), transaction.atomic():
        task(add).enqueue(1)
        raise OwnError
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_queue_priority_and_run_after_are_those_of_the_job():
    when = timezone.now().replace(microsecond=0) + timedelta(hours=1)
    adding = task(queue_name="mail", priority=5)(add)
    result = adding.using(run_after=when).enqueue(1)
    job = Job.objects.get()
    assert (job.queue, job.priority, job.wait_until) == ("mail", 5, when)
    found = default_task_backend.get_result(result.id)
    assert found.task == result.task == adding.using(run_after=when)
    assert jobs.run(all_queues=True).no_jobs_remaining
    run_jobs(ignore_delays=True)
    found.refresh()
    assert found.return_value == 1


@pytest.mark.django_db
def test_tasks_of_higher_priority_run_first():
    adding = task(add)
    low = adding.using(priority=-5).enqueue(1)
    high = adding.using(priority=5).enqueue(2)
    run_jobs(limit=1)
    high.refresh()
    low.refresh()
    assert (high.is_finished, low.is_finished) == (True, False)


@pytest.mark.django_db
def test_a_failure_is_told_with_its_class_and_traceback():
    result = task(fail).enqueue()
    run_jobs()
    result.refresh()
    assert result.status == TaskResultStatus.FAILED
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value
    (error,) = result.errors
    assert error.exception_class is ValueError
    assert error.traceback.endswith("ValueError: This task failed\n")
    assert result.finished_at is not None
    assert result.attempts == 1


@pytest.mark.django_db
@pytest.mark.parametrize("function", [fail_with_own_error, afail])
def test_the_class_of_an_applications_own_error_is_found(function):
    result = task(function).enqueue()
    run_jobs()
    result.refresh()
    assert result.errors[0].exception_class is OwnError


@pytest.mark.django_db
def test_an_output_that_is_no_json_fails_the_task():
    result = task(give_a_function).enqueue()
    run_jobs()
    result.refresh()
    assert result.status == TaskResultStatus.FAILED
    assert result.errors[0].exception_class is TypeError


@pytest.mark.django_db
def test_the_output_is_made_json_as_django_does():
    result = task(give_bytes).enqueue()
    run_jobs()
    result.refresh()
    assert result.return_value == "text"


@pytest.mark.django_db
@pytest.mark.parametrize("function", [tell, atell])
def test_a_task_may_take_the_context(function):
    result = task(takes_context=True)(function).enqueue("x")
    run_jobs()
    result.refresh()
    assert result.return_value == [1, result.id, TaskResultStatus.RUNNING, "x"]


@pytest.mark.django_db
def test_a_task_that_is_retried_is_ready_until_it_has_failed_for_good():
    with with_options(retries=Retry(2, delay=60)):
        result = task(takes_context=True)(fail_at_first).enqueue()
        run_jobs()
        result.refresh()
        assert result.status == TaskResultStatus.READY
        assert result.attempts == 1
        assert [error.exception_class for error in result.errors] == [OwnError]
        first = result.started_at
        run_jobs(ignore_delays=True)
        result.refresh()
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert calls == [[1, 0], [2, 1], [3, 2]]
    assert result.attempts == 3
    assert len(result.return_value) == 3
    assert abs(result.started_at - first) < timedelta(seconds=1)
    assert result.started_at < result.last_attempted_at
    assert "attempt 2" in result.errors[1].traceback


@pytest.mark.django_db
def test_without_retries_a_task_is_attempted_once():
    result = task(takes_context=True)(fail_at_first).enqueue()
    run_jobs()
    result.refresh()
    assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 1)


@takes_keywords
@pytest.mark.django_db
def test_the_decorators_retries_win_over_those_of_the_backend():
    with with_options(retries=5):
        result = task(fail).enqueue(), task(retries=1)(fail_with_own_error).enqueue()
        run_jobs()
        for one in result:
            one.refresh()
    assert [one.attempts for one in result] == [6, 2]


@takes_keywords
@pytest.mark.django_db
def test_a_task_keeps_its_options_when_it_is_used_otherwise():
    failing = task(retries=2)(fail).using(priority=3, queue_name="mail")
    assert isinstance(failing, JobsTask)
    assert failing.retries == 2
    result = failing.enqueue()
    run_jobs()
    result.refresh()
    assert result.attempts == 3


@takes_keywords
def test_an_option_that_cannot_be_used_is_an_invalid_task():
    with pytest.raises(InvalidTask, match=r"retries.*must be an integer"):
        task(retries="3")(add)
    with pytest.raises(InvalidTask, match="timeout must be more than 0"):
        task(timeout=0)(add)
    with pytest.raises(TypeError):
        task(colour="red")(add)


@pytest.mark.django_db
def test_the_timeout_of_the_backend_ends_a_task():
    with with_options(timeout=0.05):
        result = task(hang).enqueue()
        run_jobs()
        result.refresh()
    assert result.status == TaskResultStatus.FAILED
    assert result.errors[0].exception_class.__name__ == "TaskTimeoutError"


@pytest.mark.django_db
@pytest.mark.parametrize("key", [user_key, f"{MINE}.user_key", Concurrency(key=user_key)])
def test_the_concurrency_key_is_computed_from_the_names_of_the_arguments(key):
    with with_options(concurrency=key):
        task(add).enqueue(7)
        task(add).enqueue(a=7)
    assert set(Job.objects.values_list("concurrency_key", flat=True)) == {"user:7"}
    assert len(claim(default_selection(None), 10, using="default")) == 1


@pytest.mark.django_db
def test_a_cancelled_task_has_failed():
    result = task(add).enqueue(1)
    assert jobs.cancel(Q(pk=result.id)) == 1
    result.refresh()
    assert result.status == TaskResultStatus.FAILED
    assert [error.exception_class for error in result.errors] == [JobCancelledError]
    assert (result.started_at, result.attempts) == (None, 0)


@pytest.mark.django_db
def test_a_task_that_cancels_itself_has_failed_with_one_error():
    result = task(cancel_itself).enqueue()
    run_jobs()
    result.refresh()
    assert [error.exception_class for error in result.errors] == [JobCancelledError]
    assert "not today" in result.errors[0].traceback


@pytest.mark.django_db
@override_settings(DJANGO_JOBS={"MAX_CRASHES": 1})
def test_a_task_that_has_lost_its_worker_has_failed():
    received = []

    def receive(task_result, **kwargs):
        received.append(task_result)

    result = task(add).enqueue(1)
    claim(default_selection(None), 1, using="default")
    Job.objects.update(processing_until=timezone.now() - timedelta(days=1))
    task_finished.connect(receive)
    try:
        run_jobs()
    finally:
        task_finished.disconnect(receive)
    result.refresh()
    assert result.status == TaskResultStatus.FAILED
    assert [error.exception_class_path for error in result.errors] == [
        "django_jobs.exceptions.WorkerLostError"
    ]
    assert received[0].finished_at == result.finished_at is not None


@pytest.mark.django_db
def test_a_running_task_names_its_worker():
    result = task(add).enqueue(1)
    now = timezone.now()
    worker = Worker.objects.create(host="here", pid=42, started_at=now, last_heartbeat_at=now)
    claim(default_selection(None), 1, using="default")
    result.refresh()
    assert result.status == TaskResultStatus.RUNNING
    assert result.attempts == 1
    assert result.worker_ids[0]
    assert result.started_at == result.last_attempted_at is not None
    Job.objects.update(worker=worker)
    result.refresh()
    assert result.worker_ids == ["here:42"]


@pytest.mark.django_db
@pytest.mark.parametrize("id", ["0", "nonsense", "", str(10**30), "1.5", None])
def test_an_unknown_id_has_no_result(id):
    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result(id)
    with pytest.raises(TaskResultDoesNotExist):
        task(add).get_result(id)


@pytest.mark.django_db
def test_a_job_that_is_no_task_of_djangos_has_no_result():
    from django_jobs import task as own_task

    job = own_task(slug="own")(add).enqueue(a=1)
    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result(str(job.pk))


@pytest.mark.django_db
def test_a_pruned_job_has_no_result():
    result = task(add).enqueue(1)
    Job.objects.all().delete()
    with pytest.raises(TaskResultDoesNotExist):
        result.refresh()


@pytest.mark.django_db
def test_a_result_of_another_task_is_a_mismatch():
    result = task(add).enqueue(1)
    with pytest.raises(TaskResultMismatch):
        task(noop).get_result(result.id)
    assert result.task.get_result(result.id).id == result.id


@pytest.mark.django_db
def test_a_result_can_be_read_where_the_job_was_moved_to_a_queue_that_is_none_of_the_backends():
    result = task(add).enqueue(1)
    Job.objects.update(queue="elsewhere")
    assert default_task_backend.get_result(result.id).task == result.task


@pytest.mark.django_db
def test_a_result_survives_that_the_application_has_overwritten_meta():
    result = task(add).enqueue(1)
    Job.objects.update(meta={"mine": True})
    assert default_task_backend.get_result(result.id).kwargs == {"a": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"priority": 101}, "priority must be a whole number between -100 and 100"),
        ({"priority": 1.5}, "priority must be a whole number"),
        ({"queue_name": "unknown"}, "Queue 'unknown' is not valid for backend"),
        ({"run_after": datetime(2024, 1, 1)}, "run_after must be an aware datetime"),
    ],
)
def test_an_invalid_task_is_refused(options, message):
    with pytest.raises(InvalidTask, match=message):
        task(add).using(**options)


def test_a_function_inside_a_function_is_refused():
    def inner(): ...

    with pytest.raises(InvalidTask, match="module level"):
        task(inner)


def test_a_task_that_takes_the_context_must_have_room_for_it():
    with pytest.raises(InvalidTask, match="first argument of 'context'"):
        task(takes_context=True)(add)


@pytest.mark.django_db
def test_a_task_is_validated_when_it_is_enqueued_too():
    mailing = task(queue_name="mail")(add)
    with (
        override_settings(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": ["default"]}}),
        pytest.raises(InvalidTask, match="Queue 'mail' is not valid"),
    ):
        mailing.enqueue(1)
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_without_queues_every_queue_is_valid():
    with override_settings(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": []}}):
        task(add).using(queue_name="whatever").enqueue(1)
    assert Job.objects.get().queue == "whatever"


def test_calling_the_task_directly_runs_the_function():
    adding = task(add)
    assert adding.call(1, b=2) == 3
    assert registry.get(adding.module_path)(1, b=2) == 3
    assert registry.get(adding.module_path).label == "Add"


@pytest.mark.django_db
def test_results_can_be_copied(monkeypatch):
    adding = task(add)
    monkeypatch.setattr(sys.modules[__name__], "add", adding)
    result = adding.enqueue(1)
    assert copy.deepcopy(result).id == result.id


@pytest.fixture
def received():
    """What Django's signals have told, as (signal, status, attempts)."""
    told = []
    receivers = []
    for name, signal in (
        ("enqueued", task_enqueued), ("started", task_started), ("finished", task_finished),
    ):  # fmt: skip

        def receive(*, sender, task_result, name=name, **kwargs):
            told.append((sender, name, task_result.status.value, task_result.attempts))

        signal.connect(receive)
        receivers.append((signal, receive))
    yield told
    for signal, receive in receivers:
        signal.disconnect(receive)


@pytest.mark.django_db
@pytest.mark.parametrize("function", [add, aadd])
def test_signals_are_sent_as_by_djangos_own_backends(received, function):
    task(function).enqueue(1)
    assert received == [(JobsBackend, "enqueued", "READY", 0)]
    run_jobs()
    assert received[1:] == [
        (JobsBackend, "started", "RUNNING", 1),
        (JobsBackend, "finished", "SUCCESSFUL", 1),
    ]


@pytest.mark.django_db
def test_the_end_is_signalled_when_it_is_final(received):
    with with_options(retries=1):
        task(fail).enqueue()
        run_jobs()
    assert [told[1:] for told in received] == [
        ("enqueued", "READY", 0),
        ("started", "RUNNING", 1),
        ("started", "RUNNING", 2),
        ("finished", "FAILED", 2),
    ]


@pytest.mark.django_db
def test_a_cancellation_is_signalled(received):
    result = task(add).enqueue(1)
    jobs.cancel_by_id(int(result.id))
    assert received[-1] == (JobsBackend, "finished", "FAILED", 0)


@pytest.mark.django_db
def test_other_jobs_send_no_signals_of_djangos(received):
    from django_jobs import task as own_task

    own_task(slug="own")(add).enqueue(a=1)
    run_jobs()
    assert received == []


@pytest.mark.django_db
def test_a_receiver_that_raises_hurts_nothing():
    def hurt(**kwargs):
        raise OwnError

    for signal in (task_enqueued, task_started, task_finished):
        signal.connect(hurt)
    try:
        result = task(add).enqueue(1)
        run_jobs()
    finally:
        for signal in (task_enqueued, task_started, task_finished):
            signal.disconnect(hurt)
    result.refresh()
    assert result.return_value == 1


@pytest.mark.django_db
def test_the_first_attempt_costs_no_query_for_the_signals(django_assert_num_queries):
    from django_jobs.tasks_backend.results import result_of

    result = task(add).enqueue(1)
    declaration = registry.get(f"{MINE}.add")
    assert isinstance(declaration, StoredTask)
    (job,) = claim(default_selection(None), 1, using="default")
    with django_assert_num_queries(0):
        assert result_of(job, declaration, worker="me").worker_ids == ["me"]
        job.status, job.total_tried = Job.Status.SUCCESSFUL, 1
        assert result_of(job, declaration, worker="me").worker_ids == ["me"]
    assert result.id == str(job.pk)


@pytest.mark.django_db
def test_a_task_for_another_backend_runs_where_it_is_used_with_this_one(monkeypatch):
    module = sys.modules[__name__]
    dummy = f"{Task.__module__.removesuffix('.base')}.backends.dummy.DummyBackend"
    with override_settings(
        TASKS={"default": {"BACKEND": dummy}, "jobs": {"BACKEND": BACKEND, "OPTIONS": {}}}
    ):
        adding = task(add)
        result = adding.using(backend="jobs").enqueue(1)
        assert result.backend == "jobs"
        # A worker has imported the module, but nobody called `using` there.
        with registry.isolated():
            registry._declarations.clear()
            assert jobs.run().job_status == {int(result.id): "error"}
            monkeypatch.setattr(module, "add", adding)
            run_jobs(ignore_delays=True)
            found = task_backends["jobs"].get_result(result.id)
    assert (found.return_value, found.backend) == (1, "jobs")


@pytest.mark.django_db
def test_retries_are_those_of_the_backend_that_the_task_is_used_with():
    with override_settings(
        TASKS={
            "default": {"BACKEND": BACKEND},
            "patient": {"BACKEND": BACKEND, "OPTIONS": {"retries": 2}},
        }
    ):
        result = task(fail).using(backend="patient").enqueue()
        run_jobs()
        result.refresh()
        assert (result.backend, result.attempts) == ("patient", 3)
        assert default_task_backend.get_result(result.id).backend == "patient"


@pytest.mark.django_db
def test_nothing_is_imported_because_a_row_names_it():
    result = task(add).enqueue(1)
    Job.objects.update(slug="this.s")
    run_jobs()
    assert "this" not in sys.modules
    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result(result.id)


@pytest.mark.django_db
def test_an_operator_can_retry_a_task():
    result = task(fail).enqueue()
    run_jobs()
    jobs.retry(Q(pk=result.id))
    result.refresh()
    assert result.status == TaskResultStatus.READY
    run_jobs()
    result.refresh()
    assert result.status == TaskResultStatus.FAILED
    assert len(result.errors) == 2


@pytest.mark.django_db
def test_tasks_run_inline_in_tests():
    with inline_jobs():
        result = task(add).enqueue(1, 2)
    assert result.return_value == 3


@pytest.mark.django_db
def test_the_log_is_that_of_any_job():
    task(fail).enqueue()
    run_jobs()
    entry = JobLog.objects.get()
    assert (entry.task_slug, entry.task_id, entry.state) == (f"{MINE}.fail", "1", "failed")
    assert entry.error["name"] == "ValueError"


def test_a_sound_backend_has_nothing_to_report():
    with with_options(retries=3, timeout=timedelta(minutes=1), concurrency=user_key):
        assert task_backends["default"].check() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retry": 3}, "has the unknown key 'retry'"),
        ({"retries": "3"}, "'retries' must be an integer"),
        ({"timeout": -1}, "timeout must be more than 0"),
        ({"concurrency": 3}, "'concurrency' must be a callable"),
        ([], "must be a dict"),
    ],
)
def test_options_that_cannot_be_used_are_found_by_the_system_check(options, message):
    with override_settings(TASKS={"default": {"BACKEND": BACKEND, "OPTIONS": options}}):
        (error,) = task_backends["default"].check()
    assert error.id == "django_jobs.E011"
    assert "TASKS['default']['OPTIONS']" in error.msg
    assert message in error.msg


def test_models_that_are_not_installed_are_found_by_the_system_check(settings):
    settings.INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
    (error,) = task_backends["default"].check()
    assert (error.id, error.hint) == ("django_jobs.E010", "Add 'django_jobs' to INSTALLED_APPS.")


@pytest.mark.django_db
def test_the_checks_of_the_project_pass_with_the_backend():
    found = [str(error.id) for error in run_checks(databases=["default"])]
    assert [id for id in found if id.startswith("django_jobs.E")] == []


def test_tasks_can_be_declared_before_there_are_models(tmp_path):
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "__init__.py").write_text("")
    framework = Task.__module__.removesuffix(".base")
    (tmp_path / "early" / "models.py").write_text(
        f"from {framework} import task\n\n@task\ndef ping():\n    return 'pong'\n"
    )
    (tmp_path / "project.py").write_text(
        f"""
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
INSTALLED_APPS = ["early", "django_jobs"]
TASKS = {{"default": {{"BACKEND": {BACKEND!r}}}}}
"""
    )
    program = """
import json, django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from early.models import ping
from django_jobs import jobs
result = ping.enqueue()
jobs.run()
result.refresh()
print(json.dumps([result.status, result.return_value]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"DJANGO_SETTINGS_MODULE": "project", "PYTHONPATH": f"{ROOT}:{tmp_path}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["SUCCESSFUL", "pong"]


@pytest.mark.django_db
def test_the_context_is_djangos_own():
    seen = []

    def look(task_result, **kwargs):
        seen.append(TaskContext(task_result=task_result).attempt)

    task_started.connect(look)
    try:
        task(noop).enqueue()
        run_jobs()
    finally:
        task_started.disconnect(look)
    assert seen == [1]
