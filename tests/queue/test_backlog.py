"""How much each queue has to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs.models import Event, Job, JobStatus, Wait
from django_jobs.queue import backlog
from tests.queue.support import ERROR, add, add_many, claim

pytestmark = pytest.mark.django_db

HOSTILE = 'O\'Brien; "%s" -- \\'


def backlogs(*known: str) -> dict[str, backlog.Backlog]:
    return backlog.backlogs(known, using="default")


def counts(*known: str) -> dict[str, dict[str, str]]:
    """Return what is not nothing, by queue and state."""
    return {
        queue: {state: str(count) for state, count in found.counts.items() if count}
        for queue, found in backlogs(*known).items()
    }


def suspend(job: Job, **values: Any) -> None:
    Job.objects.filter(pk=job.pk).update(status=JobStatus.WAITING, **values)


def test_a_database_without_jobs_has_no_backlog() -> None:
    assert counts() == {}


def test_a_known_queue_is_told_of_without_jobs() -> None:
    assert counts("mail") == {"mail": {}}


def test_each_state_is_counted_by_queue() -> None:
    later = timezone.now() + timedelta(hours=1)
    add_many(3)
    add(queue=HOSTILE)
    add(queue="mail", wait_until=later)
    add(queue="mail", wait_until=later, error=ERROR)
    add_many(4, "key", queue="media")
    claim(2, queue="media")
    suspend(add(queue="asleep"), wait_until=later)
    assert counts() == {
        "default": {"ready": "3"},
        HOSTILE: {"ready": "1"},
        "mail": {"delayed": "1", "retrying": "1"},
        "media": {"running": "1", "held": "3"},
        "asleep": {"waiting": "1"},
    }


def test_what_waits_for_several_things_is_counted_once() -> None:
    parent, child = add(), add(queue="children")
    suspend(parent)
    Wait.objects.create(job=parent, child=child)
    Wait.objects.create(job=parent, event="payment")
    assert counts()["default"] == {"waiting": "1"}
    suspend(parent, wait_until=timezone.now() + timedelta(hours=1))
    assert counts()["default"] == {"waiting": "1"}


def test_counting_stops_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MOST_COUNTED", 5)
    add_many(5)
    add_many(9, queue="mail")
    later = timezone.now() + timedelta(hours=1)
    add_many(8, queue="later", wait_until=later)
    found = counts()
    assert found["default"]["ready"] == "5"
    assert found["mail"]["ready"] == "5+"
    assert found["later"]["delayed"] == "5+"
    # Nobody has looked at all the delayed jobs: there may be some here.
    assert found["default"]["delayed"] == "0+"


def test_the_oldest_is_found_whatever_its_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MOST_COMPARED", 3)
    add_many(9, priority=50)
    starving = add(priority=-50)
    add(priority=-50)
    add(queue="mail", priority=-50)
    old = timezone.now() - timedelta(hours=5)
    Job.objects.filter(pk=starving.pk).update(created_at=old)
    found = backlogs()["default"].oldest_due_at
    assert found is not None
    assert abs(found - old) < timedelta(milliseconds=1)


def test_the_number_of_queues_with_ready_jobs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MOST_QUEUES", 3)
    for number in range(5):
        add(queue=f"queue-{number}")
    assert sorted(counts()) == ["queue-0", "queue-1", "queue-2"]


def many_queues() -> None:
    for number in range(20):
        add(queue=f"queue-{number}")


@pytest.mark.parametrize("prepare", [add, many_queues])
def test_the_number_of_queries_does_not_depend_on_that_of_the_queues(
    prepare: Callable[[], object],
) -> None:
    prepare()
    with CaptureQueriesContext(connection) as queries:
        backlogs()
    assert len(queries) == 6


def test_events_that_nobody_waits_for_are_no_backlog() -> None:
    Event.objects.create(name="payment")
    assert counts() == {}
