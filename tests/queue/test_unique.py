from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from django_jobs import jobs, task
from django_jobs.exceptions import DuplicateJobError, InvalidInputError
from django_jobs.models import Job, JobStatus
from django_jobs.queue import lifecycle, operate
from tests.queue.support import ERROR, claim_one, end, pks

pytestmark = pytest.mark.django_db


def by_name(**options: Any) -> Any:
    @task(slug="by-name", unique=lambda input: input["name"], **options)
    def by_name(name: str | None, other: int = 0) -> None:
        pass

    return by_name


def test_an_unfinished_job_with_the_key_is_returned_instead() -> None:
    unique = by_name()
    first = unique.enqueue(name="a", other=1)
    again = unique.enqueue(name="a", other=2)
    assert (first.was_duplicate, again.was_duplicate) == (False, True)
    assert again.pk == first.pk == Job.objects.get().pk
    assert again.input == {"name": "a", "other": 1}
    assert not unique.enqueue(name="b").was_duplicate


def test_the_keys_of_two_tasks_do_not_meet() -> None:
    unique = by_name()

    @task(slug="other", unique=lambda input: "a")
    def other() -> None:
        pass

    unique.enqueue(name="a")
    assert not other.enqueue().was_duplicate


def test_keys_are_compared_as_they_are() -> None:
    unique = by_name()
    added = unique.enqueue_many([{"name": name} for name in ("a", "A", "a ", "ä", "")])
    assert not any(job.was_duplicate for job in added)


def test_a_key_of_none_is_not_unique() -> None:
    unique = by_name()
    assert not any(job.was_duplicate for job in unique.enqueue_many([{"name": None}] * 2))
    assert not unique.enqueue(name=None).was_duplicate


def test_true_stands_for_the_slug_and_the_whole_input() -> None:
    @task(slug="whole", unique=True)
    def whole(day: date, number: int = 0) -> None:
        pass

    whole.enqueue(number=1, day=date(2030, 1, 1))
    assert whole.enqueue(day=date(2030, 1, 1), number=1).was_duplicate
    assert jobs.enqueue(whole, {"day": "2030-01-01", "number": 1}).was_duplicate
    assert not whole.enqueue(day=date(2030, 1, 1), number=2).was_duplicate


def test_the_order_of_nested_keys_does_not_make_another_input() -> None:
    @task(slug="whole", unique=True)
    def whole(options: dict[str, int]) -> None:
        pass

    whole.enqueue(options={"a": 1, "b": 2})
    assert whole.enqueue(options={"b": 2, "a": 1}).was_duplicate


def test_duplicates_within_one_call_are_told_by_their_order() -> None:
    unique = by_name()
    unique.enqueue(name="old")
    added = unique.enqueue_many([{"name": name} for name in ("a", "old", "b", "a")])
    assert [job.was_duplicate for job in added] == [False, True, False, True]
    assert added[3].pk == added[0].pk
    assert Job.objects.count() == 3


def test_a_duplicate_gets_no_first_log_entries() -> None:
    by_name()
    first = jobs.enqueue("by-name", {"name": "a"}, log=["first"])
    jobs.enqueue("by-name", {"name": "a"}, log=["second"])
    assert [entry.message for entry in first.log] == ["first"]


@pytest.mark.parametrize(
    "change", [lifecycle.succeed(None), lifecycle.fail(ERROR), lifecycle.cancel(ERROR)]
)
def test_the_key_is_free_again_when_the_job_has_finished(change: lifecycle.Change) -> None:
    unique = by_name()
    first = unique.enqueue(name="a")
    running = claim_one()
    assert unique.enqueue(name="a").was_duplicate
    end(running, change)
    again = unique.enqueue(name="a")
    assert not again.was_duplicate
    assert again.pk != first.pk


def test_a_job_that_is_retried_later_keeps_its_key() -> None:
    unique = by_name()
    unique.enqueue(name="a")
    end(claim_one(), lifecycle.retry(ERROR, timedelta(hours=1)))
    assert unique.enqueue(name="a").was_duplicate


def test_retrying_a_finished_job_whose_twin_is_unfinished_is_refused() -> None:
    unique = by_name()
    failed = unique.enqueue(name="a")
    end(claim_one(), lifecycle.fail(ERROR))
    twin = unique.enqueue(name="a")
    with pytest.raises(DuplicateJobError):
        failed.retry()
    failed.refresh_from_db()
    assert (failed.status, failed.error) == (JobStatus.FAILED, ERROR)
    operate.cancel(Job.objects.filter(pk=twin.pk))
    assert failed.retry()


def test_two_finished_twins_are_not_retried_together() -> None:
    unique = by_name()
    twins = []
    for _ in range(2):
        twins.append(unique.enqueue(name="a"))
        end(claim_one(), lifecycle.fail(ERROR))
    with pytest.raises(DuplicateJobError):
        operate.retry(Job.objects.filter(pk__in=pks(twins)))
    assert Job.objects.failed().count() == 2


@pytest.mark.parametrize("key", [3, b"a", ["a"]])
def test_a_key_that_is_no_text_is_refused(key: Any) -> None:
    @task(slug="wrong", unique=lambda input: key)
    def wrong() -> None:
        pass

    with pytest.raises(InvalidInputError, match="unique="):
        wrong.enqueue()
    assert not Job.objects.exists()


def test_a_key_callable_that_raises_stores_nothing() -> None:
    @task(slug="wrong", unique=lambda input: input["absent"])
    def wrong() -> None:
        pass

    with pytest.raises(InvalidInputError, match="KeyError"):
        wrong.enqueue()
    assert not Job.objects.exists()


def test_a_key_may_hold_any_characters() -> None:
    @task(slug="odd", unique=lambda input: "\ud800\x00")
    def odd() -> None:
        pass

    odd.enqueue()
    assert odd.enqueue().was_duplicate
