from __future__ import annotations

import re
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from django_jobs.models import (
    FINISHED,
    UNFINISHED,
    USUAL_ORDER,
    Gate,
    Job,
    JobKind,
    JobLog,
    JobStatus,
    LogState,
    Queue,
    TaskStatus,
)
from tests.queue.support import ERROR, claim_one, end
from tests.races.support import Running

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def create(**fields: Any) -> Job:
    if fields.get("status") == JobStatus.RUNNING:
        claim = {"processing_token": uuid.uuid4(), "processing_until": timezone.now() + HOUR}
        fields = {**claim, **fields}
    return Job.objects.create(**{"slug": "work", **fields})


def derived(job: Job, *names: str) -> Any:
    values = Job.objects.values_list(*names).get(pk=job.pk)
    return values if len(names) > 1 else values[0]


def update(job: Job, **values: Any) -> None:
    Job.objects.filter(pk=job.pk).update(**values)


def whole_seconds(hours: float = 0) -> datetime:
    return timezone.now().replace(microsecond=0) + hours * HOUR


# What is derived in the database


def test_a_job_is_due_from_its_time_or_else_from_its_creation() -> None:
    now, then = whole_seconds(), whole_seconds(1)
    job = create(created_at=now)
    assert derived(job, "due_at") == now
    update(job, wait_until=then)
    assert derived(job, "due_at") == then


@pytest.mark.parametrize(
    ("values", "rank"),
    [
        ({}, -7),
        ({"gate": Gate.HELD}, None),
        ({"wait_until": whole_seconds(-1)}, None),
        ({"wait_until": whole_seconds(-1), "gate": Gate.DUE}, -7),
        ({"priority": -100}, 100),
        *[({"status": status}, None) for status in JobStatus if status not in ("ready", "running")],
    ],
)
def test_what_may_be_claimed_has_a_rank(values: dict[str, Any], rank: int | None) -> None:
    job = create(priority=7)
    update(job, **values)
    assert derived(job, "claim_rank") == rank


@pytest.mark.parametrize(
    ("values", "wakes"),
    [
        ({}, True),
        ({"status": JobStatus.WAITING}, True),
        ({"gate": Gate.DUE}, False),
        ({"gate": Gate.HELD}, False),
        ({"wait_until": None}, False),
        *[({"status": status}, False) for status in FINISHED],
    ],
)
def test_what_waits_for_a_time_is_woken(values: dict[str, Any], wakes: bool) -> None:
    then = whole_seconds(1)
    job = create(wait_until=then)
    update(job, **values)
    assert derived(job, "wake_at") == (then if wakes else None)


@pytest.mark.parametrize("status", JobStatus)
def test_what_is_unfinished_and_does_not_run_stands_in_line(status: JobStatus) -> None:
    job = create(status=status, concurrency_key="k", concurrency_limit=1)
    expected = "k" if status in (JobStatus.READY, JobStatus.WAITING) else None
    assert derived(job, "line_key") == expected


def test_only_a_job_that_is_held_has_a_rank_in_its_line() -> None:
    job = create(concurrency_key="k", concurrency_limit=1, priority=3)
    assert derived(job, "line_rank") is None
    update(job, gate=Gate.HELD)
    assert derived(job, "line_rank") == -3
    update(job, status=JobStatus.CANCELLED)
    assert derived(job, "line_rank") is None


def test_a_key_is_held_from_the_claim_until_the_token_is_gone() -> None:
    job = create(concurrency_key="k", concurrency_limit=1)
    assert derived(job, "held_key") is None
    claim = {"processing_token": uuid.uuid4(), "processing_until": timezone.now()}
    update(job, status=JobStatus.RUNNING, **claim)
    assert derived(job, "held_key") == "k"
    update(job, status=JobStatus.CANCELLED)
    assert derived(job, "held_key") == "k"
    update(job, processing_token=None)
    assert derived(job, "held_key") is None


def test_a_job_without_a_limit_holds_no_key() -> None:
    job = create(concurrency_key="k", status=JobStatus.RUNNING)
    assert derived(job, "held_key") is None


@pytest.mark.parametrize("status", JobStatus)
def test_a_unique_key_is_taken_by_what_is_unfinished(status: JobStatus) -> None:
    job = create(status=status, unique_key="u")
    assert derived(job, "unfinished_key") == ("u" if status in UNFINISHED else None)


def test_a_job_tells_what_is_derived_as_it_is_stored_now() -> None:
    job = create(priority=7)
    assert job.claim_rank == -7
    update(job, status=JobStatus.CANCELLED)
    assert job.claim_rank is None


def test_nothing_is_derived_of_a_job_that_is_not_stored() -> None:
    with pytest.raises(AttributeError, match="claim_rank cannot be read before"):
        _ = Job(slug="work").claim_rank


def test_what_is_derived_is_fetched_only_where_it_is_named() -> None:
    assert "due_at" not in Job.objects.values().query.values_select
    assert "CASE" not in str(Job.objects.all().query)


@pytest.mark.only_on("postgresql", "sqlite")
@pytest.mark.parametrize(
    ("index", "conditions", "order"),
    [
        ("claim_queue", {"queue": "default", "claim_rank__isnull": False}, USUAL_ORDER),
        ("claim_any", {"claim_rank__isnull": False, "id__gt": 0}, USUAL_ORDER),
        ("wake", {"wake_at__lte": whole_seconds()}, ("wake_at",)),
        ("line", {"line_key": "k", "queue": "default"}, ("line_rank", "due_at", "id")),
        ("key_slot", {"held_key__in": ["k", "l"]}, ()),
        ("unique_key", {"unfinished_key__in": ["u", "v"]}, ()),
    ],
)
def test_the_index_of_what_is_derived_serves_its_query(
    index: str, conditions: dict[str, Any], order: tuple[str, ...]
) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # The table is so small that it would be read in whole, and sorted.
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_sort = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
    plan = Job.objects.filter(**conditions).order_by(*order).explain()
    assert f"jobs_job_{index}" in plan
    assert not re.search("Sort Key|TEMP B-TREE", plan)


# What the database refuses


@pytest.mark.parametrize(
    "values",
    [
        {"status": JobStatus.RUNNING},
        {"status": JobStatus.RUNNING, "processing_token": uuid.uuid4()},
        {"status": JobStatus.RUNNING, "processing_until": whole_seconds()},
        *[
            {"status": status, "processing_token": uuid.uuid4()}
            for status in JobStatus
            if status not in (JobStatus.RUNNING, JobStatus.CANCELLED)
        ],
        {"status": JobStatus.READY, "processing_until": whole_seconds()},
    ],
    ids=lambda values: " ".join(values),
)
def test_a_status_that_contradicts_the_claim_is_refused(values: dict[str, Any]) -> None:
    job = create()
    with pytest.raises(IntegrityError), transaction.atomic():
        update(job, **values)


def test_a_job_cancelled_while_it_runs_may_keep_its_token() -> None:
    job = create(status=JobStatus.RUNNING)
    update(job, status=JobStatus.CANCELLED)


def test_a_place_of_a_key_is_taken_once() -> None:
    fields = {"concurrency_key": "k", "concurrency_limit": 2, "status": JobStatus.RUNNING}
    create(**fields)
    create(**fields, slot=1)
    create(**{**fields, "concurrency_key": "K"})
    with pytest.raises(IntegrityError), transaction.atomic():
        create(**fields)


def test_a_unique_key_has_one_unfinished_job() -> None:
    create(unique_key="u", status=JobStatus.FAILED)
    create(unique_key="u")
    with pytest.raises(IntegrityError), transaction.atomic():
        create(unique_key="u", status=JobStatus.WAITING)


def test_jobs_without_keys_do_not_meet() -> None:
    create()
    create()
    create(status=JobStatus.RUNNING)
    create(status=JobStatus.RUNNING)


def test_a_step_of_a_job_has_one_status() -> None:
    job = create()
    for task_id in ("a", "A", "a "):
        TaskStatus.objects.create(job=job, task_slug="s", task_id=task_id)
    with pytest.raises(IntegrityError), transaction.atomic():
        TaskStatus.objects.create(job=job, task_slug="s", task_id="a")


def test_keys_are_found_as_they_were_stored() -> None:
    for name in ("a", "A", "a ", "ä", "\N{GRINNING FACE}"):
        Queue.objects.create(name=name)
        assert Queue.objects.get(name=name).name == name
    assert not Queue.objects.filter(name=" a").exists()


def test_a_key_may_have_255_characters_of_any_kind() -> None:
    key = "\N{GRINNING FACE}" * 255
    job = create(
        slug=key, queue=key, concurrency_key=key, concurrency_limit=1, status=JobStatus.RUNNING
    )
    assert derived(job, "held_key") == key


# The words of the query set


def test_jobs_are_found_by_what_they_do() -> None:
    past, future = timezone.now() - HOUR, timezone.now() + HOUR
    found = {
        "ready": [create(), create(wait_until=past), create(gate=Gate.HELD)],
        "delayed": [create(wait_until=future)],
        "waiting": [create(status=JobStatus.WAITING, wait_until=past)],
        "alive": [create(status=JobStatus.RUNNING)],
        "stuck": [create(status=JobStatus.RUNNING, processing_until=past)],
        "failed": [create(status=JobStatus.FAILED)],
        "cancelled": [create(status=JobStatus.CANCELLED)],
        "successful": [create(status=JobStatus.SUCCESSFUL)],
    }

    def among(*names: str) -> set[Job]:
        return {job for name in names for job in found[name]}

    words = Job.objects
    assert set(words.ready()) == among("ready")
    assert set(words.delayed()) == among("delayed")
    assert set(words.running()) == among("alive", "stuck")
    assert set(words.stuck()) == among("stuck")
    assert set(words.failed()) == among("failed")
    finished = among("failed", "cancelled", "successful")
    assert set(words.finished()) == finished
    assert set(words.unfinished()) == among(*found) - finished


def test_a_query_set_cancels_and_retries() -> None:
    job, other = create(), create(slug="other")
    assert Job.objects.filter(slug="work").cancel() == 1
    job.refresh_from_db()
    other.refresh_from_db()
    assert (job.status, other.status) == (JobStatus.CANCELLED, JobStatus.READY)
    assert Job.objects.filter(slug="work").retry() == 1


# The job itself


def test_the_words_of_the_contract_are_those_of_the_database() -> None:
    assert [status.value for status in Job.Status] == [
        "ready", "running", "waiting", "successful", "failed", "cancelled",
    ]  # fmt: skip
    assert [kind.value for kind in Job.Kind] == ["task", "workflow"]
    assert [state.value for state in JobLog.State] == ["succeeded", "failed", "message"]


@pytest.mark.parametrize("status", JobStatus)
def test_a_failed_or_cancelled_job_has_an_error(status: JobStatus) -> None:
    job = Job(slug="work", status=status)
    assert job.has_error == (status in (JobStatus.FAILED, JobStatus.CANCELLED))
    assert job.is_finished == (status in FINISHED)


def test_the_log_is_oldest_first() -> None:
    job, now = create(), timezone.now()
    for number in range(3):
        JobLog.objects.create(
            job=job, state=LogState.MESSAGE, message=str(number), executed_at=now - number * HOUR
        )
    assert [entry.message for entry in job.log] == ["0", "1", "2"]


def test_the_task_status_is_found_by_slug_and_task_id() -> None:
    job = create(kind=JobKind.WORKFLOW)
    for slug, task_id in (("a", "1"), ("a", "2"), ("b", "1")):
        TaskStatus.objects.create(job=job, task_slug=slug, task_id=task_id, output=slug + task_id)
    assert job.task_status["a"]["2"].output == "a2"
    assert {slug: set(ids) for slug, ids in job.task_status.items()} == {
        "a": {"1", "2"},
        "b": {"1"},
    }


def test_a_single_task_has_the_task_id_1() -> None:
    create(input={"a": 1})
    end(claim_one())
    status = Job.objects.get().task_status["work"]["1"]
    assert (status.input, status.complete, status.total_tried) == ({"a": 1}, True, 1)


def test_what_is_done_to_a_job_shows_on_it() -> None:
    job = create()
    assert job.cancel()
    assert job.status == JobStatus.CANCELLED
    assert not job.cancel()
    assert job.retry()
    assert job.status == JobStatus.READY
    assert not job.retry()


def test_waiting_for_a_finished_job_returns_it_at_once() -> None:
    job = create()
    update(job, status=JobStatus.FAILED, error=ERROR)
    assert job.wait(0) is job
    assert (job.status, job.error) == (JobStatus.FAILED, ERROR)


@pytest.mark.parametrize("timeout", [0, 0.05, timedelta(milliseconds=50)])
def test_waiting_for_longer_than_the_timeout_raises(timeout: float | timedelta) -> None:
    job = create()
    with pytest.raises(TimeoutError, match="still ready"):
        job.wait(timeout)


@pytest.mark.django_db(transaction=True)
def test_waiting_ends_when_the_job_does() -> None:
    job = create()
    waiting = Running(lambda: Job.objects.get(pk=job.pk).wait(30).status)
    end(claim_one())
    assert waiting.result() == JobStatus.SUCCESSFUL


@pytest.mark.only_on("mysql")
def test_keys_have_a_collation_that_compares_bytes() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, collation_name FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = 'django_jobs_job' "
            "AND column_name IN ('slug', 'queue', 'concurrency_key', 'line_key', 'held_key')"
        )
        collations = dict(cursor.fetchall())
    assert len(collations) == 5
    assert all(collation.endswith("bin") for collation in collations.values())
