"""Handlers that misbehave."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from django_jobs import TaskTimeoutError, jobs, register_task, register_workflow, task, workflow
from django_jobs.models import Job
from tests.testapp.models import Entry, Receipt
from tests.worker.support import entries, error_of, run, run_until_finished

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(60)]


class OwnError(BaseException):
    pass


class MuteError(Exception):
    def __str__(self) -> str:
        raise LookupError("no words")


class ExitingError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


@pytest.mark.parametrize(
    ("error", "name", "message"),
    [
        (SystemExit(3), "SystemExit", "3"),
        (KeyboardInterrupt(), "KeyboardInterrupt", ""),
        (GeneratorExit(), "GeneratorExit", ""),
        (OwnError("own"), "OwnError", "own"),
        (StopIteration(), "StopIteration", ""),
        (MuteError(), "MuteError", "(its __str__ raised LookupError)"),
        (ExitingError(), "ExitingError", "(its __str__ raised SystemExit)"),
        (ValueError("a\x00b"), "ValueError", "a\N{REPLACEMENT CHARACTER}b"),
        (ValueError("a\ud800b"), "ValueError", "a?b"),
        (
            ExceptionGroup("several", [ValueError("a")]),
            "ExceptionGroup",
            "several (1 sub-exception)",
        ),
    ],
)
@pytest.mark.parametrize("sequential", [False, True])
def test_whatever_a_handler_raises_is_a_failed_attempt(
    error: BaseException, name: str, message: str, sequential: bool
) -> None:
    @task(retries=1)
    def hostile() -> None:
        raise error

    job = hostile.enqueue()
    result = jobs.run(sequential=sequential)
    job.refresh_from_db()
    assert result.job_status == {job.pk: "error"}
    assert (error_of(job)["name"], error_of(job)["message"]) == (name, message)
    assert entries(job, "state", "error__name") == [("failed", name)]


@pytest.mark.parametrize("error", [SystemExit(3), OwnError("own"), MuteError()])
def test_whatever_a_step_raises_is_what_leaves_run(error: BaseException) -> None:
    seen: list[BaseException] = []

    @task
    def hostile() -> None:
        raise error

    @workflow
    def around(ctx: Any) -> str:
        for verb in (lambda: ctx.run("a", hostile), lambda: ctx.inline("b", hostile.function)):
            try:
                verb()
            except BaseException as raised:
                seen.append(raised)
        return "survived"

    job = around.enqueue()
    run(job)
    assert job.output == "survived"
    assert seen == [error, error]


def test_an_enormous_message_is_stored_in_part() -> None:
    @task
    def verbose() -> None:
        raise ValueError("begin" + "x" * 1_000_000 + "end")

    job = verbose.enqueue()
    run(job)
    assert len(error_of(job)["message"]) < 10_000
    assert error_of(job)["message"].startswith("begin")
    assert error_of(job)["message"].endswith("end")
    assert len(error_of(job)["traceback"]) < 100_000


def test_endless_recursion_is_a_failed_attempt() -> None:
    @task
    def recurse() -> Any:
        return recurse()

    job = recurse.enqueue()
    run(job)
    assert error_of(job)["name"] == "RecursionError"


def open_a_transaction() -> None:
    transaction.atomic().__enter__()
    Entry.objects.create(name="left open")


def break_a_transaction() -> None:
    transaction.atomic().__enter__()
    Receipt.objects.create(key="twice")
    Receipt.objects.create(key="twice")


def close_the_connection() -> None:
    Entry.objects.count()
    connection.close()


def close_the_socket() -> None:
    Entry.objects.count()
    assert connection.connection is not None
    connection.connection.close()


def turn_autocommit_off() -> None:
    transaction.set_autocommit(False)
    Entry.objects.create(name="left open")


@pytest.mark.parametrize(
    "leave_behind",
    [
        open_a_transaction,
        break_a_transaction,
        close_the_connection,
        close_the_socket,
        turn_autocommit_off,
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_the_next_job_of_the_thread_finds_its_connection_in_order(
    leave_behind: Callable[[], None], fails: bool
) -> None:
    threads: set[int] = set()

    @task(priority=1)
    def careless() -> None:
        threads.add(threading.get_ident())
        leave_behind()
        if fails:
            raise ValueError

    @task
    def careful() -> None:
        threads.add(threading.get_ident())
        with transaction.atomic():
            Entry.objects.create(name="careful")

    careless.enqueue()
    job = careful.enqueue()
    jobs.run(sequential=True)
    job.refresh_from_db()
    assert job.status == Job.Status.SUCCESSFUL, job.error
    assert len(threads) == 1
    assert list(Entry.objects.values_list("name", flat=True)) == ["careful"]


@pytest.mark.django_db(transaction=False)
@pytest.mark.parametrize("caught", [False, True])
def test_inside_a_transaction_a_handlers_database_error_leaves_that_usable(caught: bool) -> None:
    Receipt.objects.create(key="taken")

    @task
    def fail() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT no_such_column FROM testapp_receipt")
        except Exception:
            if not caught:
                raise
            raise ValueError("instead") from None

    job = fail.enqueue()
    run(job)
    assert job.status == Job.Status.FAILED
    assert Receipt.objects.count() == 1
    if caught:
        assert error_of(job)["message"] == "instead"


@pytest.mark.django_db(transaction=False)
def test_inside_a_transaction_what_a_handler_wrote_before_an_error_stays() -> None:
    @task
    def fail() -> None:
        Entry.objects.create(name="stays")
        raise ValueError

    run(fail.enqueue())
    assert Entry.objects.filter(name="stays").exists()


def spin() -> None:
    while True:
        pass


def spin_over_errors() -> None:
    while True:
        try:
            spin()
        except Exception:
            continue


def wait_in_short_steps() -> None:
    while True:
        time.sleep(0.001)


async def sleep_long() -> None:
    await asyncio.sleep(1000)


async def sleep_on() -> None:
    try:
        await asyncio.sleep(1000)
    except BaseException:
        return


@pytest.mark.parametrize(
    "handler", [spin, spin_over_errors, wait_in_short_steps, sleep_long, sleep_on]
)
def test_an_attempt_that_runs_too_long_fails_and_is_retried(handler: Callable[[], Any]) -> None:
    late = task(timeout=0.05, retries=1, slug="late")(handler)
    job = run_until_finished(late.enqueue())
    assert job.total_tried == 2
    assert error_of(job)["name"] == TaskTimeoutError.__name__
    assert "the task 'late' ran longer than" in error_of(job)["message"]
    assert "0.05 s" in error_of(job)["message"]


@pytest.mark.parametrize("handler", [spin, sleep_long])
def test_a_step_that_runs_too_long_raises_in_its_workflow(handler: Callable[[], Any]) -> None:
    late = task(timeout=0.05)(handler)

    @workflow
    def around(ctx: Any) -> str:
        try:
            ctx.run("a", late)
        except TaskTimeoutError:
            return "in time"
        raise AssertionError

    job = around.enqueue()
    run(job)
    assert job.output == "in time"
    assert entries(job, "error__name") == ["TaskTimeoutError"]


def test_the_timeout_of_a_task_holds_for_its_steps_too() -> None:
    @task(timeout=0.05, takes_context=True)
    def late(ctx: Any) -> None:
        ctx.inline("a", spin)

    job = late.enqueue()
    run(job)
    assert error_of(job)["name"] == "TaskTimeoutError"


def test_a_timeout_error_of_the_handlers_own_is_none_of_ours() -> None:
    @task(timeout=1000)
    async def impatient() -> None:
        raise TimeoutError("own")

    job = impatient.enqueue()
    run(job)
    assert error_of(job)["name"] == "TimeoutError"


def test_a_handler_that_is_in_time_is_not_bothered() -> None:
    @task(timeout=1000)
    def quick() -> int:
        return 1

    before = threading.active_count()
    job = quick.enqueue()
    assert run(job) == "success"
    deadline = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < deadline, "the thread that watches the time is still there"
        time.sleep(0.001)


@pytest.fixture
def modules(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder from which handlers can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_handler_by_its_path_is_imported_when_the_job_runs(modules: Any) -> None:
    (modules / "late_handlers.py").write_text(
        "def render(n):\n    return n * 2\n\n"
        "async def arender(n):\n    return n * 3\n\n"
        "def flow(ctx, n):\n    return ctx.run('a', 'render-late', n=n)\n"
    )
    render = register_task("render-late", handler="late_handlers.render", retries=1)
    arender = register_task("arender-late", handler="late_handlers.arender")
    flow = register_workflow("flow-late", handler="late_handlers.flow")
    given = [declared.enqueue(n=1) for declared in (render, arender, flow)]
    assert "late_handlers" not in sys.modules
    try:
        jobs.run()
    finally:
        assert sys.modules.pop("late_handlers", None) is not None
    for job in given:
        job.refresh_from_db()
    assert [job.output for job in given] == [2, 3, 2]
    assert [job.kind for job in given] == ["task", "task", "workflow"]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (None, "ModuleNotFoundError"),
        ("", "ImportError"),
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; sys.exit(1)", "SystemExit"),
        ("def render(", "SyntaxError"),
    ],
)
def test_a_handler_that_cannot_be_imported_is_a_failed_attempt(
    modules: Any, source: str | None, name: str
) -> None:
    if source is not None:
        (modules / "broken_handlers.py").write_text(source)
    broken = register_task("broken", handler="broken_handlers.render", retries=1)
    job = broken.enqueue()
    try:
        assert run(job) == "error"
    finally:
        sys.modules.pop("broken_handlers", None)
    assert error_of(job)["name"] == name
    assert job.total_tried == 1


def test_an_input_that_the_handler_no_longer_takes_is_a_failed_attempt() -> None:
    @task(slug="changed")
    def changed(n: int) -> None: ...

    job = Job.objects.create(slug="changed", input={"m": "x"})
    run(job)
    assert job.status == Job.Status.FAILED
    assert error_of(job)["name"] in ("TypeError", "InvalidInputError")
