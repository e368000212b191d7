from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Q
from django.test import override_settings
from django.utils import timezone

from django_jobs.models import Job, JobLog, JobStatus, LogState
from django_jobs.queue import operate
from django_jobs.queue.claim import Selection, _candidates
from django_jobs.queue.rows import skip_locked
from tests.queue.support import add, add_many, claim, claim_one, end, pks

pytestmark = pytest.mark.django_db


def test_a_claimed_job_carries_a_lease_and_a_token() -> None:
    before = timezone.now()
    stored = Job.objects.get(pk=add().pk)
    assert (stored.status, stored.processing_token) == (JobStatus.READY, None)
    (claimed,) = claim(lease=60)
    stored.refresh_from_db()
    assert stored.status == claimed.status == JobStatus.RUNNING
    assert isinstance(stored.processing_token, uuid.UUID)
    assert stored.processing_token == claimed.processing_token
    assert stored.processing_until == claimed.processing_until
    assert stored.processing_until is not None
    assert stored.started_at is not None
    lease = timedelta(seconds=60)
    assert stored.processing_until - stored.started_at == lease
    assert timedelta(0) <= stored.processing_until - before - lease < timedelta(seconds=30)


def test_json_that_others_have_written_may_have_spaces_around_it() -> None:
    added = add()
    with connection.cursor() as cursor:
        sql = "UPDATE django_jobs_job SET input = %s WHERE id = %s"
        cursor.execute(sql, [' \n{"a": [1]}\n', added.pk])
    assert claim_one().input == {"a": [1]}


def test_a_claimed_job_is_not_claimed_again() -> None:
    add()
    assert len(claim()) == 1
    assert claim() == []


def test_each_claim_has_a_token_of_its_own() -> None:
    add_many(2)
    assert claim_one().processing_token != claim_one().processing_token


def test_a_higher_priority_comes_first() -> None:
    low, high, usual = add(priority=-5), add(priority=100), add()
    assert pks(claim()) == [high.pk, usual.pk, low.pk]


def test_within_a_priority_what_became_due_first_comes_first() -> None:
    now = timezone.now()
    new = add(created_at=now)
    waited = add(created_at=now, wait_until=now - timedelta(hours=1))
    old = add(created_at=now - timedelta(minutes=1))
    assert pks(claim()) == [waited.pk, old.pk, new.pk]


def test_what_became_due_at_the_same_time_comes_by_id() -> None:
    added = add_many(5, created_at=timezone.now())
    assert pks(claim()) == sorted(pks(added))


def test_no_more_are_claimed_than_the_limit() -> None:
    add_many(5)
    assert len(claim(3)) == 3
    assert len(claim(3)) == 2


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_claims_nothing(limit: int) -> None:
    add()
    assert claim(limit) == []


def test_only_the_queues_asked_for_are_claimed_from() -> None:
    one, two, other = (add(queue=name) for name in ("one", "two", "other"))
    assert pks(claim(queue="one")) == [one.pk]
    assert pks(claim(queues=("one", "two"))) == [two.pk]
    assert pks(claim(queue=None)) == [other.pk]


def test_queues_are_told_apart_by_case_and_by_spaces() -> None:
    add(queue="Mail")
    add(queue="mail ")
    assert claim(queue="mail") == []


def test_a_paused_queue_is_not_claimed_from() -> None:
    add(queue="one")
    two = add(queue="two")
    operate.pause_queue("one", using="default")
    assert claim(queue="one") == []
    assert pks(claim(queue=None)) == [two.pk]
    operate.resume_queue("one", using="default")
    assert len(claim(queue="one")) == 1


def test_a_delayed_job_is_claimed_when_its_time_has_come() -> None:
    late = add(wait_until=timezone.now() + timedelta(hours=1))
    assert claim() == []
    Job.objects.filter(pk=late.pk).update(wait_until=timezone.now() - timedelta(seconds=1))
    assert pks(claim()) == [late.pk]


def test_more_delayed_jobs_than_are_woken_at_once_become_due_together() -> None:
    add_many(1100, wait_until=timezone.now() - timedelta(seconds=1))
    assert len(claim(1100)) == 1100


def test_a_condition_chooses_among_the_due_jobs() -> None:
    add(input={"a": 1})
    wanted = add(input={"a": 2})
    assert pks(claim(where=Q(input__a=2))) == [wanted.pk]
    assert claim(where=Q(input__a=3)) == []
    assert claim(where=Q(pk__in=[])) == []


def test_a_condition_on_many_related_rows_claims_a_job_once() -> None:
    logged = add()
    JobLog.objects.bulk_create(
        JobLog(job=logged, state=LogState.MESSAGE, message="a") for _ in range(3)
    )
    assert pks(claim(where=Q(log_entries__message="a"))) == [logged.pk]


def test_a_condition_on_an_absent_parent_is_allowed() -> None:
    lonely = add()
    assert pks(claim(where=Q(parent__slug__isnull=True))) == [lonely.pk]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("created_at", [0, 1, 2]),
        ("-created_at", [2, 1, 0]),
        ("priority", [1, 0, 2]),
        ("-priority", [2, 0, 1]),
    ],
)
def test_a_processing_order_overrides_priority(order: str, expected: list[int]) -> None:
    now = timezone.now()
    added = [
        add(priority=priority, created_at=now + timedelta(seconds=number))
        for number, priority in enumerate([0, -1, 1])
    ]
    assert pks(claim(order=order)) == [added[number].pk for number in expected]


def orders_of_all_forms() -> list[object]:
    return ["-created_at", {"default": "-created_at", None: "id"}, {None: "-created_at"}, by_name]


def by_name(queue: str) -> str | None:
    return {"default": "-created_at"}.get(queue)


@pytest.mark.parametrize("setting", orders_of_all_forms())
def test_the_setting_gives_the_order_of_a_queue(setting: object) -> None:
    now = timezone.now()
    old, new = (
        add(priority=5 - number, created_at=now + number * timedelta(1)) for number in (0, 1)
    )
    with override_settings(DJANGO_JOBS={"PROCESSING_ORDER": setting}):
        assert pks(claim()) == [new.pk, old.pk]


@pytest.mark.parametrize("setting", [{"other": "-created_at"}, by_name, None])
def test_a_queue_that_the_setting_does_not_name_keeps_the_usual_order(setting: object) -> None:
    now = timezone.now()
    old, new = (add(queue="q", created_at=now + number * timedelta(1)) for number in (0, 1))
    with override_settings(DJANGO_JOBS={"PROCESSING_ORDER": setting}):
        assert pks(claim(queue="q")) == [old.pk, new.pk]


@pytest.mark.parametrize("setting", ["-created_at", {"q": "created_at", None: "-created_at"}])
def test_the_setting_gives_the_order_of_several_queues_at_once(setting: object) -> None:
    now = timezone.now()
    old, new = (add(queue="q", created_at=now + number * timedelta(1)) for number in (0, 1))
    with override_settings(DJANGO_JOBS={"PROCESSING_ORDER": setting}):
        assert pks(claim(queue=None)) == [new.pk, old.pk]


def test_the_order_of_a_call_overrides_the_setting() -> None:
    now = timezone.now()
    old, new = (add(created_at=now + number * timedelta(1)) for number in (0, 1))
    with override_settings(DJANGO_JOBS={"PROCESSING_ORDER": "-created_at"}):
        assert pks(claim(order="created_at")) == [old.pk, new.pk]


@pytest.mark.parametrize("order", ["created_at", "-created_at"])
def test_another_order_does_not_let_a_busy_key_block_other_jobs(order: str) -> None:
    now = timezone.now()
    add_many(6, "busy", created_at=now - timedelta(hours=1))
    other = add(created_at=now)
    add_many(6, "busy", created_at=now + timedelta(hours=1))
    first = claim(2, order=order)
    assert other.pk in pks(first)
    assert len(first) == 2
    another = add(created_at=now)
    assert pks(claim(2, order=order)) == [another.pk]


def test_a_condition_does_not_let_a_busy_key_block_other_jobs() -> None:
    add_many(12, "busy")
    other = add()
    first = claim(10, where=Q(slug="work"))
    assert other.pk in pks(first)
    assert len(first) == 2


def test_another_order_decides_who_is_next_when_a_key_becomes_free() -> None:
    now = timezone.now()
    old, middle, new = (add("k", created_at=now + number * timedelta(1)) for number in range(3))
    assert pks(claim(1, order="-created_at")) == [new.pk]
    end(Job.objects.get(pk=new.pk))
    assert pks(claim(1, order="-created_at")) == [middle.pk]
    end(Job.objects.get(pk=middle.pk))
    assert pks(claim(1)) == [old.pk]


def test_a_condition_reaches_a_job_that_is_not_first_in_the_line_of_its_key() -> None:
    add("k")
    second = add("k")
    assert pks(claim(where=Q(pk=second.pk))) == [second.pk]


@pytest.mark.only_on("postgresql")
def test_the_claim_reads_its_index_in_order_among_thousands_of_finished_jobs() -> None:
    now = timezone.now()
    finished = [
        Job(slug="work", status=JobStatus.SUCCESSFUL, completed_at=now, priority=n % 7)
        for n in range(20_000)
    ]
    Job.objects.bulk_create(finished, batch_size=5000)
    Job.objects.bulk_create(
        [Job(slug="work", priority=n % 7) for n in range(5000)], batch_size=5000
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE django_jobs_job")
    selection = Selection(queues=("default",), lease=timedelta(seconds=60))
    plan = skip_locked(_candidates(selection, "default"))[:10].explain()
    assert "jobs_job_claim_queue" in plan
    assert "Sort" not in plan
    selection = Selection(queues=None, lease=timedelta(seconds=60))
    plan = skip_locked(_candidates(selection, "default"))[:10].explain()
    assert "jobs_job_claim_any" in plan
    assert "Sort" not in plan
