"""That the first of many rows is found by an index, whatever PostgreSQL knows of the table."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models import F

from django_jobs.models import ALL_QUEUES, USUAL_ORDER, Gate, Job, JobStatus
from django_jobs.queue import index_order
from django_jobs.queue.claim import Selection, _first_due_to_wake, _statement_for
from django_jobs.queue.claim import claim as claim_jobs
from django_jobs.queue.prepared import own_session
from tests.queue.support import claim

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.only_on("postgresql")]


def fill(*queues: str, number: int = 3000, **values: object) -> None:
    Job.objects.bulk_create(
        Job(slug="work", queue=queue, **values) for _number in range(number) for queue in queues
    )


def analyze() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE django_jobs_job")


@pytest.fixture
def statistics_of_an_idle_queue() -> None:
    """Finished jobs, and hardly any that waits: what PostgreSQL thinks it will find."""
    fill("default", status=JobStatus.SUCCESSFUL)
    fill("default", number=1)
    analyze()


def plan_of_a_claim(*queues: str) -> str:
    statement = _statement_for(queues or None, "default")
    given = {"limit": 100, "token": uuid.uuid4(), "lease": timedelta(60), "worker": None}
    rows = index_order.fetch(f"EXPLAIN {statement.statement.sql}", given, using="default")
    return "\n".join(row[0] for row in rows)


def claim_prepared(*queues: str, limit: int = 100) -> list[Job]:
    lease = timedelta(minutes=1)
    own_session("default")
    return claim_jobs(Selection(queues=queues or None, lease=lease), limit, using="default")


@pytest.mark.usefixtures("statistics_of_an_idle_queue")
@pytest.mark.parametrize("queues", [["default"], []], ids=["one queue", "all queues"])
def test_a_claim_of_a_queue_that_has_just_grown_sorts_nothing(queues: list[str]) -> None:
    fill("default", "other")
    plan = plan_of_a_claim(*queues)
    assert f"jobs_job_claim_{'queue' if queues else 'any'}" in plan
    assert "Sort" not in plan


@pytest.mark.usefixtures("statistics_of_an_idle_queue")
def test_a_claim_of_several_queues_reads_the_first_of_each() -> None:
    fill("default", "other")
    plan = plan_of_a_claim("default", "other", "none")
    assert plan.count("jobs_job_claim_queue") == 3
    # Nothing but the first of each is put in order.
    assert plan.count("Sort Key") <= 1
    assert "JIT" not in plan


def test_a_claim_of_one_queue_never_walks_past_the_jobs_of_another() -> None:
    fill("busy")
    fill("idle", number=30)
    analyze()
    for queues in (["busy"], ["idle"], ["busy", "idle"]):
        assert "jobs_job_claim_any" not in plan_of_a_claim(*queues)


def test_the_first_of_several_queues_are_claimed_in_the_usual_order() -> None:
    for queue, priority in (("a", 1), ("b", 5), ("c", 9), ("a", 5), ("b", 0)):
        fill(queue, number=1, priority=priority)
    found = [(job.queue, job.priority) for job in claim(3, queues=("a", "b"))]
    assert found == [("b", 5), ("a", 5), ("a", 1)]
    assert [job.queue for job in claim(9, queues=("a", "b", "c"))] == ["c", "b"]


def test_no_queue_is_not_all_queues() -> None:
    fill("default", number=1)
    assert claim(9, queues=()) == []


@pytest.mark.usefixtures("statistics_of_an_idle_queue")
def test_the_next_of_a_key_is_found_by_the_index_of_the_lines() -> None:
    fill("default", concurrency_key="k", concurrency_limit=1, gate=Gate.HELD)
    line = Job.objects.filter(line_rank__isnull=False, line_key="k", queue="default")
    with index_order.in_index_order("default"):
        plan = line.order_by("line_rank", "due_at", "id").values("pk")[:1].explain()
    assert "jobs_job_line" in plan
    assert "Sort" not in plan


def test_to_see_that_nobody_is_to_be_woken_does_not_read_the_table() -> None:
    fill("default", number=10_000)
    with index_order.in_index_order("default"):
        plan = _first_due_to_wake("default").explain()
    assert "jobs_job_wake" in plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize("queues", [["default"], ["default", "other"], []], ids=str)
def test_a_claim_that_was_planned_for_an_empty_table_walks_the_index(queues: list[str]) -> None:
    analyze()
    assert claim_prepared(*queues) == []
    fill("default", "other")
    statement = _statement_for(tuple(queues) or None, "default").statement
    with connection.cursor() as cursor:
        cursor.execute("SET plan_cache_mode = force_generic_plan")
        cursor.execute(
            f"EXPLAIN EXECUTE {statement.name} (100, '{uuid.uuid4()}', '1 minute', NULL)"
        )
        plan = "\n".join(row for (row,) in cursor.fetchall())
        cursor.execute("RESET plan_cache_mode")
    assert f"jobs_job_claim_{'queue' if queues else 'any'}" in plan
    assert "Seq Scan on django_jobs_job" not in plan
    assert plan.count("Sort Key") <= (len(queues) > 1)


def test_a_prepared_claim_takes_what_another_would() -> None:
    fill("default", number=3, priority=1)
    fill("default", "other", number=3, priority=2)
    assert [job.priority for job in claim_prepared("default", limit=4)] == [2, 2, 2, 1]
    assert [job.queue for job in claim_prepared(limit=2)] == ["other", "other"]
    job = claim_prepared("default", limit=1)[0]
    assert job.processing_token == Job.objects.get(pk=job.pk).processing_token
    assert job.status == JobStatus.RUNNING


def test_a_claim_is_prepared_anew_when_the_session_has_forgotten_it_or_the_table_changed() -> None:
    fill("default", number=9)
    assert len(claim_prepared("default", limit=1)) == 1
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    assert len(claim_prepared("default", limit=2)) == 2
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_jobs_job ALTER COLUMN error_group TYPE text")
    try:
        assert len(claim_prepared("default", limit=2)) == 2
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE django_jobs_job ALTER COLUMN error_group TYPE varchar(16)")
    connection.close()
    assert len(claim_prepared("default", limit=9)) == 4


def test_a_claim_opens_a_connection_that_was_closed() -> None:
    fill("default", number=2)
    selection = Selection(queues=("default",), lease=timedelta(minutes=1))
    for _time in range(2):
        connection.close()
        assert len(claim_jobs(selection, 1, wakes=False, using="default")) == 1


def test_a_prepared_claim_in_a_transaction_ends_with_it() -> None:
    fill("default", number=2)
    with transaction.atomic():
        assert len(claim_prepared("default")) == 2
        assert settings() == ["on"] * 3
        transaction.set_rollback(True)
    assert len(claim_prepared("default")) == 2
    assert settings() == ["on"] * 3


def test_the_settings_of_the_planner_end_with_the_query() -> None:
    rows = Job.objects.filter(ALL_QUEUES).order_by(*USUAL_ORDER).values_list("pk", F("priority"))
    fill("default", number=2)
    for _number in range(2):
        assert len(index_order.rows_of(rows)) == 2
        assert settings() == ["on"] * 3
    with transaction.atomic():
        assert len(index_order.rows_of(rows)) == 2
        assert settings() == ["on"] * 3


def settings() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setting FROM pg_settings"
            " WHERE name IN ('enable_sort', 'enable_bitmapscan', 'jit')"
        )
        return [setting for (setting,) in cursor.fetchall()]
