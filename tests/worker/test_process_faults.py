"""What goes wrong at one particular moment in the life of a worker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections

from django_jobs import JobContext, task, workflow
from django_jobs.models import Job, JobStatus
from django_jobs.models import Worker as Row
from django_jobs.queue import concurrency, operate, waits
from django_jobs.worker import identity
from django_jobs.worker import worker as worker_module
from django_jobs.worker.heartbeat import Heartbeat
from django_jobs.worker.membership import Membership
from django_jobs.worker.worker import Options, Worker
from tests.testapp.journal import until

pytestmark = pytest.mark.django_db(transaction=True)

POLL = timedelta(seconds=0.05)


def work(**options: Any) -> Worker:
    """Run a worker in this process until nothing is left."""
    worker = Worker(Options(until_empty=True, poll_interval=POLL, **options), using="default")
    worker.run()
    # The threads that a process would take with it hold connections for a moment.
    for thread in (worker.listener._thread, worker.heartbeat._thread):
        if thread.is_alive():
            thread.join(5)
    return worker


def break_once(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, *, nth: int = 1, error: Any = None
) -> Callable[[], int]:
    """Let the nth call of a function raise, as when the connection is cut; count the calls."""
    function = getattr(owner, name)
    calls: list[None] = []

    def broken(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        if len(calls) == nth:
            raise error or OperationalError("server closed the connection unexpectedly")
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, broken)
    return lambda: len(calls)


def note_task(ran: list[int], **options: Any) -> Any:
    @task(slug="note-number", **options)
    def note(number: int) -> int:
        ran.append(number)
        return number

    return note


def assert_ran_once(job: Job) -> None:
    job.refresh_from_db()
    assert (job.status, job.total_tried, job.crashes) == (JobStatus.SUCCESSFUL, 1, 0)
    assert [entry.state for entry in job.log] == ["succeeded"]


def test_jobs_are_not_stuck_when_the_connection_is_cut_right_after_their_claim(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[int] = []
    job = note_task(ran).enqueue(1)
    calls = break_once(monkeypatch, worker_module, "load_statuses")
    work()
    assert_ran_once(job)
    assert (ran, calls()) == ([1], 2)


def test_what_was_claimed_is_run_although_the_connection_is_cut_before_the_claim_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[int] = []
    note = note_task(ran, concurrency=lambda input, queue: "key")
    added = [note.using(priority=5).enqueue(1), note.using(priority=6).enqueue(2)]
    # It would let the next of the line to the front, which is then left to `repair`.
    calls = break_once(monkeypatch, concurrency, "look_again")
    work()
    for job in added:
        assert_ran_once(job)
    assert calls() > 1


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_what_is_recorded_is_not_recorded_again_when_the_wake_ups_after_it_fail(
    monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    ran: list[int] = []
    note = note_task(ran)

    @workflow(slug="parent")
    def parent(ctx: JobContext) -> list[Any]:
        ctx.inline("step", lambda: 1)
        children = [ctx.enqueue_child(f"n-{number}", note, number=number) for number in (1, 2)]
        return [child.output for child in ctx.wait_for(children)]

    job = parent.enqueue()
    calls = break_once(monkeypatch, waits, "wake_parents", nth=nth)
    work()
    assert calls() > nth
    job.refresh_from_db()
    assert (job.status, job.output, job.total_tried) == (JobStatus.SUCCESSFUL, [1, 2], 1)
    assert [entry.task_id for entry in job.log] == ["step"]
    assert sorted(ran) == [1, 2]
    for child in Job.objects.filter(parent=job):
        assert_ran_once(child)


def test_a_duty_that_fails_does_not_keep_jobs_from_running(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[int] = []
    job = note_task(ran).enqueue(1)
    break_once(monkeypatch, operate, "prune", error=RuntimeError("protected"))
    work()
    assert_ran_once(job)
    assert "A duty of the worker failed" in caplog.text


def test_leases_are_renewed_whatever_went_wrong_before(monkeypatch: pytest.MonkeyPatch) -> None:
    heartbeat = Heartbeat("default", timedelta(seconds=0.15))
    calls = break_once(monkeypatch, heartbeat, "renew", error=RuntimeError("no memory"))
    heartbeat.start()
    until(lambda: calls() > 2)
    heartbeat.stop()
    heartbeat._thread.join(5)


def test_a_slot_is_free_again_whatever_its_handler_did() -> None:
    """The concurrency key is held by nothing but the claim, which every end clears."""
    ran: list[str] = []

    @task(slug="odd", concurrency=lambda input, queue: "key")
    def odd(kind: str) -> None:
        ran.append(kind)
        if kind == "exit":
            raise SystemExit
        if kind == "close":
            connections.close_all()
        if kind == "not json":
            return object()  # type: ignore[return-value]
        if kind == "raise":
            raise ValueError

    kinds = ["exit", "close", "not json", "raise", "fine"]
    odd.enqueue_many([{"kind": kind} for kind in kinds])
    work()
    assert ran == kinds
    assert not Job.objects.filter(held_key__isnull=False).exists()
    assert not Job.objects.unfinished().exists()


def test_a_worker_whose_row_was_deleted_joins_again_unless_it_has_left() -> None:
    membership = Membership(("default",), "default")
    membership.join()
    Row.objects.all().delete()
    membership.beat(3)
    row = Row.objects.get()
    assert (row.pk, row.pid) == (membership.id, os.getpid())
    membership.leave()
    membership.beat(0)
    assert not Row.objects.exists()


def test_a_process_is_gone_when_it_has_ended_or_its_pid_is_another_ones() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start = identity.process_start(process.pid)
    assert not identity.is_gone(process.pid, start)
    assert identity.is_gone(process.pid, f"{start}0")
    process.kill()
    # A zombie, as long as nobody has asked for its status.
    until(lambda: identity.is_gone(process.pid, start))
    process.communicate()
    assert identity.is_gone(process.pid, start)


def test_a_process_that_this_user_is_not_shown_is_not_taken_for_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(identity, "process_start", lambda pid: "")
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert not identity.is_gone(os.getpid(), "1")
