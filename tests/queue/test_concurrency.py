from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs import Concurrency, jobs, task
from django_jobs.exceptions import InvalidInputError
from django_jobs.models import Gate, Job, JobStatus
from django_jobs.queue import concurrency, lifecycle, operate, rescue
from tests.queue.support import ERROR, add, add_many, claim, claim_one, end, end_lease, pks

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def test_one_job_of_a_key_runs_and_the_others_wait() -> None:
    first, second = add("k"), add("k")
    assert pks(claim()) == [first.pk]
    assert claim() == []
    end(Job.objects.get(pk=first.pk))
    assert pks(claim()) == [second.pk]


def test_as_many_jobs_of_a_key_run_as_its_limit_says() -> None:
    added = add_many(5, "k", limit=3)
    claimed = claim()
    assert pks(claimed) == pks(added[:3])
    end(claimed[1])
    assert pks(claim()) == [added[3].pk]
    assert claim() == []


def test_jobs_of_a_key_come_by_priority_and_then_by_age() -> None:
    running = add("k")
    claim()
    old, new, urgent = add("k"), add("k"), add("k", priority=5)
    order = []
    end(Job.objects.get(pk=running.pk))
    while found := claim():
        order += pks(found)
        end(found[0])
    assert order == [urgent.pk, old.pk, new.pk]


def test_a_higher_priority_overtakes_one_that_is_at_the_front_already() -> None:
    add("k")
    urgent = add("k", priority=1)
    assert pks(claim()) == [urgent.pk]


def test_a_job_added_as_the_key_becomes_free_does_not_overtake_those_that_wait() -> None:
    first = add("k")
    claim()
    waiting = add("k")
    # The first has ended; who let go of it has not looked again yet.
    end_without_looking_again(first)
    add("k")
    concurrency.look_again([first], using="default")
    assert pks(claim()) == [waiting.pk]


def end_without_looking_again(job: Job) -> None:
    rows = Job.objects.filter(pk=job.pk)
    rows.update(status=JobStatus.SUCCESSFUL, processing_token=None, processing_until=None)


def test_a_busy_key_does_not_block_other_jobs() -> None:
    busy = add_many(12, "k")
    other = add()
    assert sorted(pks(claim(10))) == sorted([busy[0].pk, other.pk])


def test_a_key_that_many_delayed_jobs_share_does_not_block_other_jobs() -> None:
    add_many(30, "k", wait_until=timezone.now() - timedelta(minutes=1))
    other = add()
    claimed = claim(10)
    assert len(claimed) == 2
    assert other.pk in pks(claimed)


def test_a_key_is_one_across_queues_and_tasks() -> None:
    add("k", queue="one", slug="a")
    add("k", queue="two", slug="b")
    (claimed,) = claim(queue=None)
    assert claim(queue=None) == []
    end(claimed)
    assert len(claim(queue=None)) == 1


def test_a_job_at_the_front_of_a_paused_queue_does_not_hold_the_key() -> None:
    add("k", queue="paused")
    operate.pause_queue("paused", using="default")
    other = add("k", queue="other")
    assert pks(claim(queue=None)) == [other.pk]


def test_a_key_that_becomes_free_goes_to_a_queue_that_is_worked_on() -> None:
    running = add("k", queue="worked on")
    claim(queue="worked on")
    add("k", queue="nobody's")
    waiting = add("k", queue="worked on")
    end(Job.objects.get(pk=running.pk))
    assert pks(claim(queue="worked on")) == [waiting.pk]


def test_a_key_is_compared_as_it_is() -> None:
    for key in ("a", "A", "a ", "ä"):
        add(key)
    assert len(claim()) == 4


def test_delayed_and_retried_jobs_do_not_hold_their_key() -> None:
    add("k", wait_until=timezone.now() + HOUR)
    tried = add("k")
    end(claim_one(), lifecycle.retry(ERROR, HOUR))
    third = add("k")
    assert pks(claim()) == [third.pk]
    assert Job.objects.get(pk=tried.pk).status == JobStatus.READY


def test_a_suspended_job_does_not_hold_its_key() -> None:
    add("k")
    end(claim_one(), lifecycle.suspend(HOUR))
    second = add("k")
    assert pks(claim()) == [second.pk]


def test_jobs_without_a_limit_share_a_key_freely() -> None:
    add_many(3, "k", limit=None)
    assert len(claim()) == 3


def test_a_held_job_costs_the_claim_nothing() -> None:
    add_many(3, "k")
    claim()
    assert Job.objects.filter(gate=Gate.HELD, claim_rank__isnull=True).count() == 2


@pytest.mark.parametrize(
    "change",
    [
        lifecycle.succeed(None),
        lifecycle.fail(ERROR),
        lifecycle.retry(ERROR, HOUR),
        lifecycle.retry(ERROR, timedelta(0)),
        lifecycle.postpone(HOUR, "later"),
        lifecycle.cancel(ERROR),
        lifecycle.suspend(HOUR),
        lifecycle.give_back(),
    ],
    ids=lambda change: f"{change.status} {change.delay}",
)
def test_no_place_is_lost_when_a_job_leaves_its_worker(change: lifecycle.Change) -> None:
    add("k")
    second = add("k", priority=1)
    running = claim_one()
    assert running.pk == second.pk
    end(running, change)
    assert Job.objects.filter(held_key__isnull=False).count() == 0
    assert len(claim()) == 1


def test_no_place_is_lost_when_the_lease_ends() -> None:
    lost, waiting = add("k"), add("k")
    end_lease(claim_one())
    rescue.take_over(using="default")
    (claimed,) = claim()
    assert claimed.pk == lost.pk
    end(claimed)
    assert pks(claim()) == [waiting.pk]


def test_cancelling_the_job_at_the_front_lets_the_next_one_through() -> None:
    first, second = add("k"), add("k")
    operate.cancel(Job.objects.filter(pk=first.pk))
    assert pks(claim()) == [second.pk]


def test_a_cancelled_job_holds_its_key_until_its_handler_has_left() -> None:
    add("k")
    second = add("k")
    running = claim_one()
    operate.cancel(Job.objects.filter(pk=running.pk))
    assert claim() == []
    end(running)
    assert pks(claim()) == [second.pk]


def test_a_cancelled_job_lets_go_of_its_key_when_its_lease_is_over() -> None:
    add("k")
    second = add("k")
    running = claim_one()
    operate.cancel(Job.objects.filter(pk=running.pk))
    end_lease(running)
    rescue.take_over(using="default")
    assert pks(claim()) == [second.pk]
    assert Job.objects.get(pk=running.pk).status == JobStatus.CANCELLED


def test_a_cancelled_job_that_is_retried_after_its_lease_frees_its_key() -> None:
    add("k")
    running = claim_one()
    second = add("k", queue="other")
    operate.cancel(Job.objects.filter(pk=running.pk))
    end_lease(running)
    assert operate.retry(Job.objects.filter(pk=running.pk)) == 1
    assert pks(claim(queue="other")) == [second.pk]


def test_repair_lets_the_next_one_through_where_the_running_row_was_deleted() -> None:
    add("k")
    second = add("k")
    running = claim_one()
    running.delete()
    assert concurrency.repair(using="default") is None
    assert pks(claim()) == [second.pk]


def test_repair_lets_the_next_one_through_where_the_front_row_was_deleted() -> None:
    first, second = add("k"), add("k")
    first.delete()
    assert claim() == []
    concurrency.repair(using="default")
    assert pks(claim()) == [second.pk]


def test_repair_visits_all_lines_in_portions() -> None:
    for key in ("a", "b", "c"):
        for queue in ("one", "two"):
            add(key, queue=queue).delete()
            add_many(2, key, queue=queue)
    Job.objects.update(gate=Gate.HELD)
    after: concurrency.Line | None = ("", "")
    portions = 0
    while after is not None:
        after = concurrency.repair(using="default", after=after, lines=2)
        portions += 1
    assert portions >= 3
    # The first of each line is at the front.
    assert Job.objects.filter(claim_rank__isnull=False).count() == 6
    assert len(claim(queue=None)) == 3


def test_repair_lets_nobody_through_whose_key_is_busy() -> None:
    add_many(3, "k")
    claim()
    concurrency.repair(using="default")
    assert Job.objects.filter(gate=Gate.HELD).count() == 2


def test_thousands_behind_a_busy_key_do_not_slow_the_claim_of_others() -> None:
    for _ in range(5):
        add_many(1000, "k", wait_until=timezone.now() - timedelta(minutes=1))
    other = add()
    assert other.pk in pks(claim(10))
    assert len(claim(10)) == 0
    another = add()
    with CaptureQueriesContext(connection) as behind_thousands:
        assert pks(claim(10)) == [another.pk]
    Job.objects.all().delete()
    another = add()
    with CaptureQueriesContext(connection) as alone:
        assert pks(claim(10)) == [another.pk]
    assert len(behind_thousands) == len(alone)


# Keys of tasks.


def of_key(**options: Any) -> Any:
    @task(
        slug="keyed", concurrency=Concurrency(lambda input, queue: input.get("key", "k"), **options)
    )
    def keyed(key: Any = "k") -> None:
        pass

    return keyed


def test_the_key_is_computed_from_input_and_queue_and_stored() -> None:
    @task(slug="keyed", concurrency=lambda input, queue: f"{queue}:{input['n']}")
    def keyed(n: int) -> None:
        pass

    stored = Job.objects.get(pk=keyed.using(queue="q").enqueue(n=3).pk)
    assert (stored.concurrency_key, stored.concurrency_limit) == ("q:3", 1)


@pytest.mark.parametrize("key", [None, ""])
def test_no_key_and_an_empty_one_restrict_nothing(key: str | None) -> None:
    keyed = of_key(supersedes=True)
    keyed.enqueue_many([{"key": key}] * 3)
    assert len(claim()) == 3


@pytest.mark.parametrize("key", [3, ["a"], "a\x00b", "a" * 256])
def test_a_key_that_cannot_be_one_is_refused_and_nothing_stored(key: Any) -> None:
    @task(slug="keyed", concurrency=lambda input, queue: key)
    def keyed() -> None:
        pass

    with pytest.raises(InvalidInputError, match="concurrency key"):
        keyed.enqueue()
    assert not Job.objects.exists()


def test_a_key_callable_that_raises_stores_nothing() -> None:
    @task(slug="keyed", concurrency=lambda input, queue: input["absent"])
    def keyed() -> None:
        pass

    with pytest.raises(InvalidInputError, match="KeyError"):
        keyed.enqueue_many([{}, {}])
    assert not Job.objects.exists()


def test_a_key_that_does_not_exclude_lets_all_run() -> None:
    of_key(exclusive=False).enqueue_many([{}] * 3)
    assert len(claim()) == 3


def test_superseding_deletes_what_waits_under_the_key() -> None:
    keyed = of_key(supersedes=True)
    add("k")
    add("k", queue="other")
    add("k", wait_until=timezone.now() + HOUR)
    tried = add("k", slug="another", priority=9)
    end(claim_one(), lifecycle.retry(ERROR, HOUR))
    sleeping = add("k", priority=9)
    end(claim_one(), lifecycle.suspend(HOUR))
    assert {tried.total_tried, sleeping.total_tried} == {0}
    new = keyed.enqueue()
    assert pks(list(Job.objects.all())) == [new.pk]


def test_superseding_spares_what_runs_and_what_has_ended() -> None:
    keyed = of_key(supersedes=True)
    spared = []
    for change in (lifecycle.succeed(None), lifecycle.fail(ERROR), lifecycle.cancel(ERROR)):
        spared.append(add("k").pk)
        end(claim_one(), change)
    spared.append(add("k").pk)
    operate.cancel(Job.objects.filter(pk=spared[-1]))
    spared.append(add("k").pk)
    claim_one()
    other = add("another").pk
    new = keyed.enqueue()
    assert sorted(pks(list(Job.objects.all()))) == [*spared, other, new.pk]
    assert pks(claim()) == [other]


def test_superseding_is_undone_with_the_transaction() -> None:
    keyed = of_key(supersedes=True)
    old = keyed.enqueue()
    with transaction.atomic():
        keyed.enqueue()
        transaction.set_rollback(True)
    assert pks(list(Job.objects.all())) == [old.pk]


def test_the_last_of_many_supersedes_the_others() -> None:
    keyed = of_key(supersedes=True)
    added = keyed.enqueue_many([{"key": "a"}, {"key": "b"}, {"key": "a"}])
    assert sorted(pks(list(Job.objects.all()))) == pks(added[1:])


def test_superseding_within_one_call_takes_first_log_entries_with_it() -> None:
    of_key(supersedes=True)
    added = jobs.enqueue_many([("keyed", {}), ("keyed", {})], log=["a"])
    (left,) = Job.objects.all()
    assert left.pk == added[1].pk
    assert [entry.message for entry in left.log] == ["a"]


def test_superseding_does_not_delete_the_running_twin_of_a_unique_job() -> None:
    @task(
        slug="keyed", unique=lambda input: input["name"],
        concurrency=Concurrency(lambda input, queue: "k", supersedes=True),
    )  # fmt: skip
    def keyed(name: str) -> None:
        pass

    keyed.enqueue(name="a")
    running = claim_one()
    repeated, new = keyed.enqueue_many([{"name": "a"}, {"name": "b"}])
    assert repeated.was_duplicate
    assert sorted(pks(list(Job.objects.all()))) == [running.pk, new.pk]


def test_superseding_without_exclusion_lets_the_new_one_run_beside_the_old() -> None:
    keyed = of_key(supersedes=True, exclusive=False)
    keyed.enqueue()
    claim_one()
    waiting = keyed.enqueue()
    new = keyed.enqueue()
    assert not Job.objects.filter(pk=waiting.pk).exists()
    assert pks(claim()) == [new.pk]
