"""PostgreSQL tells the workers of new jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import override_settings
from django.utils import timezone

from django_jobs import jobs
from django_jobs.models import Job
from django_jobs.queue.notify import ANY_QUEUE, CHANNEL
from django_jobs.worker import listener as listener_module
from django_jobs.worker.listener import Listener
from tests.conftest import RunJobs
from tests.kill.support import wait_until_finished
from tests.testapp.journal import Journal, until
from tests.testapp.tasks import hold, note

pytestmark = [pytest.mark.only_on("postgresql"), pytest.mark.django_db(transaction=True)]

Heard = Callable[[], list[str]]


@pytest.fixture
def heard(transactional_db: None) -> Iterator[Heard]:
    """Return what was notified since it was last asked."""
    own = connection.copy("default")
    own.ensure_connection()
    raw: Any = own.connection
    raw.autocommit = True
    raw.execute(f"LISTEN {CHANNEL}")

    def listen() -> list[str]:
        # A notification of its own is the last: all before it have arrived.
        raw.execute("SELECT pg_notify(%s, 'the end')", [CHANNEL])
        payloads: list[str] = []
        for notification in raw.notifies(timeout=10):
            if notification.payload == "the end":
                return payloads
            payloads.append(notification.payload)
        raise AssertionError("Notifications do not arrive.")

    yield listen
    own.close()


def test_one_job_is_one_notification_of_its_queue(heard: Heard) -> None:
    note.using(queue="media").enqueue("a")
    assert heard() == ["media"]


def test_it_is_sent_when_the_transaction_commits(heard: Heard) -> None:
    with transaction.atomic():
        note.enqueue("a")
        assert heard() == []
    assert heard() == ["default"]


def test_a_transaction_that_is_rolled_back_sends_nothing(heard: Heard) -> None:
    with transaction.atomic():
        note.enqueue("a")
        note.enqueue_many([{"name": "b"}, {"name": "c"}])
        transaction.set_rollback(True)
    assert heard() == []


def test_many_jobs_of_a_queue_are_one_notification(heard: Heard) -> None:
    note.enqueue_many([{"name": str(number)} for number in range(2500)])
    assert heard() == ["default"]


def test_many_enqueues_in_one_transaction_are_one_notification_of_each_queue(heard: Heard) -> None:
    with transaction.atomic():
        for number in range(10):
            note.enqueue(str(number))
            note.using(queue="media").enqueue(str(number))
    assert sorted(heard()) == ["default", "media"]


def test_a_delayed_job_sends_nothing_but_what_is_due_before_a_worker_looks(heard: Heard) -> None:
    note.using(wait_until=timezone.now() + timedelta(hours=1)).enqueue("later")
    assert heard() == []
    note.using(wait_until=timezone.now() + timedelta(seconds=2)).enqueue("soon")
    assert heard() == ["default"]


def test_an_idle_worker_starts_a_delayed_job_when_it_is_due(
    runjobs: RunJobs, journal: Journal
) -> None:
    runjobs()
    note.enqueue("a")
    journal.wait_for("note", "a")
    # Long enough for a rest of several seconds to have begun.
    time.sleep(2)
    job = note.using(wait_until=timezone.now() + timedelta(seconds=1)).enqueue("soon")
    journal.wait_for("note", "soon")
    job = wait_until_finished([job])[0]
    assert job.started_at is not None
    assert job.wait_until is not None
    assert job.started_at - job.wait_until < timedelta(seconds=1)


def test_a_job_whose_key_is_busy_sends_nothing(heard: Heard) -> None:
    first = hold.enqueue("one", key="a key")
    assert heard() == ["default"]
    hold.enqueue("two", key="a key")
    assert Job.objects.filter(line_rank__isnull=False).exclude(pk=first.pk).exists()
    assert heard() == []


@override_settings(DJANGO_JOBS={"NOTIFY": False})
def test_nothing_is_sent_where_the_setting_says_so(heard: Heard) -> None:
    note.enqueue("a")
    note.enqueue_many([{"name": "b"}, {"name": "c"}])
    jobs.send_event("paid")
    assert heard() == []


def test_what_operators_do_is_sent_too(heard: Heard) -> None:
    job = note.enqueue("a")
    job.cancel()
    heard()
    job.retry()
    assert heard() == [ANY_QUEUE]
    jobs.pause_queue("default")
    assert heard() == []
    jobs.resume_queue("default")
    assert heard() == ["default"]


def test_a_worker_starts_a_job_long_before_it_would_have_polled(
    runjobs: RunJobs, journal: Journal
) -> None:
    runjobs("--poll-interval=300")
    note.enqueue("first")
    journal.wait_for("note", "first")
    for number in range(4):
        note.enqueue(str(number))
        journal.wait_for("note", number)


def test_a_worker_that_is_told_nothing_polls(runjobs: RunJobs, journal: Journal) -> None:
    runjobs("--poll-interval=0.2", DJANGO_JOBS='{"NOTIFY": false}')
    for name in ("first", "second"):
        note.enqueue(name)
        journal.wait_for("note", name)


def test_the_listener_calls_for_its_queues_only() -> None:
    calls: list[float] = []
    listening = Listener("default", ("media",), lambda: calls.append(time.monotonic()))
    listening.start()
    try:
        assert listening.hears.wait(10)
        calls.clear()
        note.using(queue="mail").enqueue("a")
        note.using(queue="media").enqueue("b")
        until(lambda: calls)
        assert len(calls) == 1
    finally:
        listening.stop()
        listening._thread.join(5)


def test_the_listener_listens_again_when_its_connection_was_cut() -> None:
    calls: list[float] = []
    listening = Listener("default", None, lambda: calls.append(time.monotonic()))
    listening.start()
    try:
        assert listening.hears.wait(10)
        before = len(calls)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        # It has the worker look for jobs each time that it begins to listen.
        until(lambda: len(calls) > before)
        assert listening.hears.wait(10)
        calls.clear()
        note.enqueue("a")
        until(lambda: calls)
    finally:
        listening.stop()
        listening._thread.join(5)


def test_a_pooler_that_swallows_notifications_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener_module, "TURN", 0.02)
    monkeypatch.setattr(listener_module, "TEST_SECONDS", 0.06)
    listening = Listener("default", None, lambda: None)
    # As a pooler in transaction mode: what one hears is not what one listens to.
    monkeypatch.setattr(listening, "_hear", lambda payload: None)
    listening.start()
    try:
        until(lambda: "Notifications do not arrive" in caplog.text)
        time.sleep(0.2)
        assert caplog.text.count("Notifications do not arrive") == 1
        assert not listening.hears.is_set()
    finally:
        listening.stop()
        listening._thread.join(5)
