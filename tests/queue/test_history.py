"""How many jobs ended in the last hour and in the last day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from django_jobs.models import Throughput
from django_jobs.queue import history

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 29, 12, 34, 56, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)


def ended(ago: timedelta, queue: str = "default", **counts: int) -> None:
    minute = (NOW - ago).replace(second=0, microsecond=0)
    Throughput.objects.create(queue=queue, minute=minute, **counts)


def test_the_last_hour_has_a_bar_for_each_minute() -> None:
    ended(timedelta(0), succeeded=3)
    ended(timedelta(minutes=59), failed=2)
    ended(timedelta(minutes=60), succeeded=100)
    bars = history.last_hour(using="default").of()
    assert len(bars) == 60
    assert (bars[0].start, bars[0].failed) == (datetime(2026, 3, 29, 11, 35, tzinfo=UTC), 2)
    assert (bars[-1].start, bars[-1].succeeded) == (NOW.replace(second=0), 3)
    assert sum(bar.total for bar in bars) == 5


def test_the_last_day_has_a_bar_for_each_hour() -> None:
    ended(timedelta(minutes=0), succeeded=1)
    ended(timedelta(minutes=30), succeeded=2, retried=4)
    ended(timedelta(minutes=40), succeeded=8)
    ended(timedelta(hours=24), succeeded=100)
    bars = history.last_day(using="default").of()
    assert [bar.succeeded for bar in bars] == [*[0] * 22, 8, 3]
    assert bars[-1].retried == 4


def test_queues_are_told_apart_and_together() -> None:
    ended(timedelta(0), "default", succeeded=1)
    ended(timedelta(0), "mail", succeeded=2, failed=1)
    ended(timedelta(minutes=5), "mail", failed=1)
    hour = history.last_hour(using="default")
    assert (hour.sum("mail").succeeded, hour.sum("mail").failed) == (2, 2)
    assert (hour.sum().succeeded, hour.sum().failed) == (3, 2)
    assert hour.sum("none").total == 0


def test_a_machine_whose_clock_is_ahead_does_no_harm() -> None:
    ended(timedelta(minutes=-3), succeeded=1)
    ended(timedelta(hours=-3), succeeded=1)
    assert history.last_hour(using="default").sum().total == 0
    assert history.last_day(using="default").sum().total == 1
