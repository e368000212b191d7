from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction

from django_jobs import Concurrency, InvalidInputError, jobs, task
from django_jobs.models import Job, JobLog
from django_jobs.tasks.enqueue import Options

pytestmark = pytest.mark.django_db


def test_options_that_are_not_given_are_the_tasks_own() -> None:
    @task(queue="media", priority=7)
    def note() -> None: ...

    job = note.using(queue=None, priority=None).enqueue()
    assert (job.queue, job.priority) == ("media", 7)
    assert note.using(priority=0).enqueue().priority == 0


def test_an_unknown_option_of_a_call_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(TypeError, match=r"'colour' is no option of a call. It takes queue"):
        Options().merged(colour="red")


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_concurrency_key_is_computed_from_the_stored_input_and_the_queue(
    exclusive: bool,
) -> None:
    def key(input: dict[str, Any], queue: str) -> str:
        return f"{queue}:{input['n']}"

    @task(concurrency=Concurrency(key, exclusive=exclusive, limit=3))
    def keyed(n: int) -> None: ...

    job = keyed.using(queue="high").enqueue(n=3)
    job.refresh_from_db()
    assert job.concurrency_key == "high:3"
    assert job.concurrency_limit == (3 if exclusive else None)


@pytest.mark.parametrize("wrong", [lambda input: 7, lambda input: 1 / 0])
def test_a_unique_that_does_not_answer_with_text_is_an_invalid_input(wrong: Any) -> None:
    @task(slug="once", unique=wrong)
    def once() -> None: ...

    with pytest.raises(InvalidInputError, match="unique= of 'once'"):
        once.enqueue()
    assert not Job.objects.exists()


def test_tasks_do_not_share_their_unique_keys() -> None:
    @task(unique=lambda input: "same")
    def one() -> None: ...

    @task(unique=lambda input: "same")
    def other() -> None: ...

    assert not one.enqueue().was_duplicate
    assert not other.enqueue().was_duplicate
    assert one.enqueue().was_duplicate


def test_messages_given_with_a_job_are_in_its_log() -> None:
    @task(slug="noted")
    def note() -> None: ...

    job = jobs.enqueue("noted", log=["one", {"message": "two", "data": {"n": 2}}])
    assert list(job.log.values_list("state", "message", "data")) == [
        ("message", "one", None),
        ("message", "two", {"n": 2}),
    ]


@pytest.mark.parametrize("entry", [7, {"data": 1}, {"message": 7}, "a\x00", {"message": "\ud800"}])
def test_a_message_that_cannot_be_stored_keeps_the_job_from_being(entry: Any) -> None:
    @task(slug="noted")
    def note() -> None: ...

    with pytest.raises(InvalidInputError):
        jobs.enqueue("noted", log=[entry])
    assert not Job.objects.exists()
    assert not JobLog.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_job_exists_exactly_if_the_transaction_commits() -> None:
    @task
    def note() -> None: ...

    with transaction.atomic():
        note.enqueue()
        transaction.set_rollback(True)
    assert not Job.objects.exists()
    with transaction.atomic():
        note.enqueue()
    assert Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_enqueue_on_commit_validates_at_once_and_waits_for_the_commit() -> None:
    @task
    def note(n: int) -> None: ...

    with transaction.atomic():
        with pytest.raises(InvalidInputError):
            note.enqueue_on_commit(**{"m": 1})
        note.enqueue_on_commit(n=1)
        assert not Job.objects.exists()
    assert [job.input for job in Job.objects.all()] == [{"n": 1}]
    with transaction.atomic():
        note.enqueue_on_commit(n=2)
        transaction.set_rollback(True)
    assert Job.objects.count() == 1
    assert not connection.run_on_commit
