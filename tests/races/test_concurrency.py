from __future__ import annotations

from itertools import accumulate
from typing import Any
from unittest import mock

import pytest
from django.db import connection, transaction

from django_jobs import jobs
from django_jobs.models import Job, JobStatus
from django_jobs.queue import concurrency
from tests.queue.support import add, claim, claim_one, end, pks
from tests.races.conftest import Start
from tests.races.program import run_until_empty
from tests.races.support import Running, at_once
from tests.races.tasks import latest, note, one_at_a_time, three_at_a_time
from tests.testapp.models import Entry

pytestmark = pytest.mark.django_db(transaction=True)


def most_at_once(key: str) -> int:
    """Return how many jobs of the key ran at once, by the order of what they wrote."""
    steps = Entry.objects.filter(name=key).order_by("pk").values_list("number", flat=True)
    return max(accumulate(steps), default=0)


def test_no_more_jobs_of_a_key_run_at_once_than_its_limit_anywhere(programs: Start) -> None:
    one_at_a_time.enqueue_many([{"key": key} for key in "abababab"])
    three_at_a_time.enqueue_many([{"key": "c"}] * 15)
    running = programs(*[("run_until_empty", 4)] * 2)
    running.go()
    threads = [Running(lambda: run_until_empty(4)) for _ in range(3)]
    ran = [thread.result() for thread in threads] + running.results()
    assert sum(ran) == 23
    assert Job.objects.filter(status=JobStatus.SUCCESSFUL).count() == 23
    assert [most_at_once(key) for key in "ab"] == [1, 1]
    assert most_at_once("c") <= 3
    assert Entry.objects.count() == 2 * 23


def test_one_pass_runs_of_each_key_no_more_than_its_limit() -> None:
    one_at_a_time.enqueue_many([{"key": "a"}] * 12)
    three_at_a_time.enqueue_many([{"key": "b"}] * 5)
    other = note.enqueue(name="other")
    result = jobs.run(limit=10)
    assert result.job_status[other.pk] == "success"
    assert len(result.job_status) == 1 + 3 + 1
    assert Entry.objects.filter(name="other").exists()


def test_jobs_enqueued_while_others_of_the_key_run_are_never_forgotten() -> None:
    def enqueue() -> int:
        for _ in range(10):
            one_at_a_time.enqueue(key="a")
        return 0

    at_once(enqueue, enqueue, *[lambda: len(jobs.run(limit=3).job_status)] * 3)
    run_until_empty(3)
    assert Job.objects.filter(status=JobStatus.SUCCESSFUL).count() == 20
    assert most_at_once("a") == 1


def test_a_job_committed_after_the_one_that_it_waits_for_has_ended_is_claimable() -> None:
    add("k")
    running = claim_one()
    with transaction.atomic():
        waiting = add("k")
        ending = Running(lambda: end(running))
        if connection.vendor != "sqlite":
            # SQLite lets nobody write beside this transaction: there it ends just after it.
            ending.result()
    ending.result()
    assert pks(claim()) == [waiting.pk]


def test_a_job_added_before_the_end_of_another_commits_is_claimable() -> None:
    add("k")
    running = claim_one()
    with transaction.atomic():
        end(running)
        adding = Running(lambda: add("k"))
        if connection.vendor != "sqlite":
            adding.result()
    added = adding.result()
    assert pks(claim()) == [added.pk]


@pytest.mark.only_on("postgresql", "mysql")
def test_a_job_held_back_by_a_claim_while_the_key_becomes_free_is_claimable() -> None:
    add("k")
    running = claim_one()
    # It is at the front of a queue of its own, where nobody has claimed since.
    waiting = add("k", queue="other", wait_until=running.created_at)
    really_hold = concurrency.hold

    def end_first(*args: Any, **kwargs: Any) -> None:
        Running(lambda: end(running)).result()
        really_hold(*args, **kwargs)

    with mock.patch.object(concurrency, "hold", end_first):
        claim(queue="other")
    assert pks(claim(queue="other")) == [waiting.pk]


def test_two_claims_that_take_the_same_place_of_a_key_at_once_share_it_out() -> None:
    for queue in ("a", "b", "c", "d"):
        add("k", queue=queue, limit=2)
    claimed = at_once(*[lambda queue=queue: claim(queue=queue) for queue in ("a", "b", "c", "d")])
    assert sum(len(jobs) for jobs in claimed) == 2
    assert Job.objects.running().count() == 2
    slots = Job.objects.running().values_list("slot", flat=True)
    assert sorted(slots) == [0, 1]


def test_a_claimed_job_is_not_superseded() -> None:
    for _ in range(5):
        old = latest.enqueue(key="a")
        running = Running(lambda: jobs.run(limit=1))
        latest.enqueue(key="a")
        result = running.result()
        left = list(Job.objects.unfinished().values_list("pk", flat=True))
        if old.pk in result.job_status:
            assert Job.objects.get(pk=old.pk).status == JobStatus.SUCCESSFUL
        else:
            assert not Job.objects.filter(pk=old.pk).exists()
        assert len(left) <= 1
        Job.objects.all().delete()
