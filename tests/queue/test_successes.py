"""A success, of which only the times are reported, is stored as one that is spelled out."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model

from django_jobs.models import Job, JobLog, JobStatus
from django_jobs.queue import lifecycle
from django_jobs.queue.record import Report, Standing, moment, record
from django_jobs.queue.rows import stored_fields
from tests.queue.support import add, add_many, claim, claim_one

pytestmark = pytest.mark.django_db

BEGAN, ENDED = 1_700_000_000.000001, 1_700_000_003.25


def success(job: Job, output: Any = None, **options: Any) -> Report:
    change = lifecycle.succeed(output)
    return Report(job=job, change=change, ran=(BEGAN, ENDED), **options)


def row_of(model: type[Model], **which: Any) -> dict[str, Any]:
    """Return the row as the database has it, without what differs from job to job."""
    own = {"id", "job_id"}
    if model is Job:
        own |= {"created_at", "due_at", "completed_at", "updated_at"}
    with connection.cursor() as cursor:
        ((column, key),) = which.items()
        cursor.execute(f"SELECT * FROM {model._meta.db_table} WHERE {column} = %s", [key])
        (row,) = cursor.fetchall()
        names = [column[0] for column in cursor.description]
    return {name: value for name, value in zip(names, row, strict=True) if name not in own}


@pytest.mark.parametrize(
    "output", [None, 0, False, "", "ü\N{GRINNING FACE}'%s\\", {}, [None, {"a": 0.1}], "null"]
)
def test_it_is_stored_as_if_it_were_spelled_out(output: Any) -> None:
    add_many(2, input={"ü": [1, "%s"]}, total_tried=2, meta={"a": 1})
    short, long = (success(job, output) for job in claim())
    long.spell_out()
    assert record([short, long], using="default") == [Standing.HELD] * 2
    assert row_of(Job, id=short.job.pk) == row_of(Job, id=long.job.pk)
    assert row_of(JobLog, job_id=short.job.pk) == row_of(JobLog, job_id=long.job.pk)
    assert Job.objects.get(pk=short.job.pk).output == output


@pytest.mark.parametrize("began", [BEGAN, 1_700_000_000.999999, 1_700_000_000.0])
def test_its_times_keep_their_microseconds(began: float) -> None:
    add()
    report = success(claim_one())
    report.ran = (began, ENDED)
    record([report], using="default")
    entry = JobLog.objects.get(executed_at=moment(began), completed_at=moment(ENDED))
    assert entry.executed_at == datetime.fromtimestamp(began, UTC)


def test_jobs_with_and_without_an_output_are_of_one_batch() -> None:
    add_many(4)
    outputs = [None, {"a": None}, None, 0]
    jobs = claim()
    reports = [success(job, output) for job, output in zip(jobs, outputs, strict=True)]
    assert record(reports, using="default") == [Standing.HELD] * 4
    for job, output in zip(jobs, outputs, strict=True):
        entry = JobLog.objects.get(job=job)
        stored = Job.objects.get(pk=job.pk)
        assert (entry.output, stored.output, job.output) == (output, output, output)


def test_a_job_in_memory_is_as_it_is_stored() -> None:
    add()
    job = claim_one()
    record([success(job, [1])], using="default")
    stored = Job.objects.get()
    for field in stored_fields(Job):
        assert getattr(job, field.attname) == getattr(stored, field.attname)


def test_of_a_lost_job_of_a_batch_nothing_is_written() -> None:
    add_many(4)
    first, lost, gone, last = jobs = claim()
    Job.objects.filter(pk=lost.pk).update(processing_token=uuid.uuid4())
    Job.objects.filter(pk=gone.pk).delete()
    before = Job.objects.filter(pk=lost.pk).values().get()
    standings = record([success(job, "x") for job in jobs], using="default")
    assert standings == [Standing.HELD, Standing.LOST, Standing.LOST, Standing.HELD]
    assert Job.objects.filter(pk=lost.pk).values().get() == before
    assert set(JobLog.objects.values_list("job", flat=True)) == {first.pk, last.pk}
    assert lost.status == JobStatus.RUNNING


def test_a_batch_whose_jobs_are_all_lost_is_no_fault() -> None:
    add_many(2)
    jobs = claim()
    Job.objects.update(processing_token=uuid.uuid4())
    assert record([success(job) for job in jobs], using="default") == [Standing.LOST] * 2
    assert not JobLog.objects.exists()


def test_of_a_cancelled_job_of_a_batch_it_is_written_that_its_handler_has_left() -> None:
    add_many(2)
    held, cancelled = claim()
    assert Job.objects.get(pk=cancelled.pk).cancel()
    entries = JobLog.objects.filter(job=cancelled).count()
    standings = record([success(held), success(cancelled, "x")], using="default")
    assert standings == [Standing.HELD, Standing.CANCELLED]
    row = Job.objects.get(pk=cancelled.pk)
    assert (row.status, row.output, row.processing_token) == (JobStatus.CANCELLED, None, None)
    assert JobLog.objects.filter(job=cancelled).count() == entries
    assert JobLog.objects.filter(job=held).count() == 1


def test_one_that_is_deleted_leaves_no_log() -> None:
    add_many(2)
    deleted, kept = claim()
    record([success(deleted, delete=True), success(kept)], using="default")
    assert list(JobLog.objects.values_list("job", flat=True)) == [kept.pk]
    assert list(Job.objects.values_list("pk", flat=True)) == [kept.pk]
