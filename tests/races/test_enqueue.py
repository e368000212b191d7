from __future__ import annotations

import random

import pytest
from django.db import transaction
from django.db.models import Q

from django_jobs import jobs
from django_jobs.models import Job
from tests.races.conftest import Start
from tests.races.support import Running, at_once
from tests.races.tasks import latest, note, unique

pytestmark = pytest.mark.django_db(transaction=True)


def test_threads_that_enqueue_one_unique_key_at_once_leave_one_job() -> None:
    jobs = at_once(*[lambda: unique.enqueue(name="a")] * 8)
    assert Job.objects.count() == 1
    assert {job.pk for job in jobs} == {Job.objects.get().pk}
    assert sorted(job.was_duplicate for job in jobs) == [False] + [True] * 7


def test_threads_that_enqueue_many_unique_keys_in_different_orders_leave_one_job_each() -> None:
    names = list("abcdefghijklmnopqrst")
    orders = [names, names[::-1]] * 3
    at_once(
        *[
            lambda order=order: unique.enqueue_many([{"name": name} for name in order])
            for order in orders
        ]
    )
    assert sorted(Job.objects.values_list("input__name", flat=True)) == names


def test_processes_that_enqueue_one_unique_key_at_once_leave_one_job(programs: Start) -> None:
    running = programs(*[("enqueue", "race-unique", 20, {"name": "a"})] * 3)
    running.go()
    added = [job for result in running.results() for job in result]
    assert Job.objects.count() == 1
    assert {pk for pk, _duplicate in added} == {Job.objects.get().pk}
    assert [duplicate for _pk, duplicate in added].count(False) == 1


def test_unique_keys_that_come_and_go_are_no_error() -> None:
    def add_and_cancel() -> None:
        for number in range(12):
            names = random.sample("abcdefghijklmnop", 8)
            added = unique.enqueue_many([{"name": name} for name in names])
            assert [job.input["name"] for job in added] == names
            if number % 4 == 0:
                jobs.cancel(Q(slug="race-unique"))

    at_once(*[add_and_cancel] * 6)
    names = list(Job.objects.unfinished().values_list("input__name", flat=True))
    assert len(names) == len(set(names))


def test_threads_that_supersede_each_other_wait_for_each_other() -> None:
    def enqueue_some() -> None:
        for _ in range(12):
            latest.enqueue_many([{"key": key} for key in random.sample("abcd", 3)])
            latest.enqueue(key="a")

    at_once(*[enqueue_some] * 6)
    # Of those that are added at the same moment none may see the others.
    latest.enqueue_many([{"key": key} for key in "abcd"])
    assert sorted(Job.objects.values_list("concurrency_key", flat=True)) == list("abcd")


def test_processes_that_enqueue_at_once_lose_no_job(programs: Start) -> None:
    running = programs(*[("enqueue", "race-note", 40, {"name": "a"})] * 3)
    running.go()
    added = [pk for result in running.results() for pk, _duplicate in result]
    assert len(set(added)) == 120
    assert Job.objects.count() == 120


@pytest.mark.only_on("postgresql", "mysql")
def test_a_job_is_not_claimable_before_its_transaction_commits() -> None:
    with transaction.atomic():
        note.enqueue(name="a")
        assert Running(lambda: jobs.run()).result().no_jobs_remaining
    assert len(jobs.run().job_status) == 1
