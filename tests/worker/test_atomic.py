"""`atomic=True`: what the handler wrote and the record of its success, both or neither."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from typing import Any

import pytest
from django.db import connection

from django_jobs import RetryLater, jobs, task, workflow
from django_jobs.fields import DatabaseNow
from django_jobs.models import Job, TaskStatus
from tests.processes import ROOT
from tests.testapp.models import Entry, Receipt
from tests.worker.killed import AFTER, POINTS, declare
from tests.worker.support import entries, error_of, run, run_until_finished

pytestmark = pytest.mark.django_db(transaction=True)


def kill(point: str, job: Job, env: dict[str, str]) -> None:
    """Run the job in a process that dies there."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.worker.killed", point, str(job.pk)],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL, child.stderr


def end_lease(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(processing_until=DatabaseNow())


@pytest.mark.parametrize("point", [*POINTS, AFTER])
def test_after_a_kill_the_rows_and_the_record_are_both_there_or_neither(
    point: str, worker_env: dict[str, str]
) -> None:
    killed, _around = declare()
    job = killed.enqueue()
    kill(point, job, worker_env)
    job.refresh_from_db()
    both = point == AFTER
    assert Receipt.objects.exists() == both
    assert (job.status == Job.Status.SUCCESSFUL) == both
    assert entries(job, "state") == (["succeeded"] if both else [])
    if not both:
        end_lease(job)
        assert run(job) == "success"
    # A second run of the handler would have failed, for the receipt is unique.
    assert Receipt.objects.count() == 1
    assert (job.output, job.total_tried) == ("paid", 1)


@pytest.mark.parametrize("point", ["after the write", "before COMMIT", AFTER])
def test_after_a_kill_the_rows_and_the_record_of_a_step_are_both_there_or_neither(
    point: str, worker_env: dict[str, str]
) -> None:
    _killed, around = declare()
    job = around.enqueue()
    kill(point, job, worker_env)
    both = point == AFTER
    assert Receipt.objects.exists() == both
    assert TaskStatus.objects.filter(job=job, complete=True).exists() == both
    end_lease(job)
    assert run(job) == "success"
    assert Receipt.objects.count() == 1
    assert job.output == "paid"
    assert [state for state in entries(job, "state") if state != "message"] == ["succeeded"]


def test_a_failure_rolls_the_rows_back_and_is_recorded() -> None:
    @task(atomic=True, takes_context=True, retries=1)
    def fail(ctx: Any) -> None:
        Entry.objects.create(name="rolled back")
        ctx.log("told")
        raise ValueError

    job = run_until_finished(fail.enqueue())
    assert not Entry.objects.exists()
    assert job.total_tried == 2
    assert entries(job, "state", "message") == [("message", "told"), ("failed", "")] * 2


def test_a_failure_of_a_step_rolls_its_rows_back_only() -> None:
    @task(atomic=True, takes_context=True)
    def write(ctx: Any, name: str) -> None:
        Entry.objects.create(name=name)
        ctx.log(name)
        if name == "bad":
            raise ValueError

    @workflow
    def writing(ctx: Any) -> None:
        ctx.run("a", write, name="good")
        Entry.objects.create(name="between")
        ctx.run("b", write, name="bad")

    job = writing.enqueue()
    run(job)
    assert list(Entry.objects.values_list("name", flat=True)) == ["good", "between"]
    assert sorted(entries(job, "task_id", "state", "message")) == [
        ("a", "message", "good"),
        ("a", "succeeded", ""),
        ("b", "failed", ""),
        ("b", "message", "bad"),
    ]


def test_retry_later_rolls_back_too() -> None:
    @task(atomic=True)
    def later() -> None:
        Entry.objects.create(name="rolled back")
        raise RetryLater(60)

    job = later.enqueue()
    assert run(job) == "error"
    assert not Entry.objects.exists()
    assert job.total_tried == 0


def test_an_output_that_cannot_be_stored_rolls_back() -> None:
    @task(atomic=True)
    def hostile() -> Any:
        Entry.objects.create(name="rolled back")
        return object()

    job = hostile.enqueue()
    run(job)
    assert job.status == Job.Status.FAILED
    assert not Entry.objects.exists()


def test_a_lost_claim_rolls_back() -> None:
    @task(atomic=True, takes_context=True)
    def overtaken(ctx: Any) -> None:
        Entry.objects.create(name="rolled back")
        Job.objects.filter(pk=ctx.job.pk).update(processing_token=uuid.uuid4())

    job = overtaken.enqueue()
    assert run(job) != "success"
    assert not Entry.objects.exists()
    assert job.status != Job.Status.SUCCESSFUL


def test_a_cancelled_job_rolls_back() -> None:
    @task(atomic=True, takes_context=True)
    def cancelled(ctx: Any) -> None:
        Entry.objects.create(name="rolled back")
        raise_from_elsewhere(ctx.job)

    def raise_from_elsewhere(job: Job) -> None:
        Job.objects.filter(pk=job.pk).update(status=Job.Status.CANCELLED)

    job = cancelled.enqueue()
    assert run(job) != "success"
    assert not Entry.objects.exists()


@pytest.mark.only_on("postgresql")
def test_a_commit_that_fails_is_a_failed_attempt() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE testapp_receipt ADD CONSTRAINT late UNIQUE (key) "
            "DEFERRABLE INITIALLY DEFERRED"
        )
        cursor.execute("ALTER TABLE testapp_receipt DROP CONSTRAINT testapp_receipt_key_key")
    try:
        Receipt.objects.create(key="taken")

        @task(atomic=True, retries=1)
        def late() -> None:
            Receipt.objects.create(key="taken")

        @workflow
        def around(ctx: Any) -> None:
            ctx.run("a", late)

        for declared in (late, around):
            job = declared.enqueue()
            assert run(job) == "error"
            assert error_of(job)["name"] == "IntegrityError"
            assert entries(job, "state") == ["failed"]
        assert Receipt.objects.count() == 1
    finally:
        Receipt.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE testapp_receipt DROP CONSTRAINT late")
            cursor.execute(
                "ALTER TABLE testapp_receipt ADD CONSTRAINT testapp_receipt_key_key UNIQUE (key)"
            )


def test_many_atomic_jobs_at_once_all_succeed() -> None:
    @task(atomic=True)
    def read_then_write(n: int) -> None:
        Entry.objects.count()
        Entry.objects.create(name="written", number=n)

    read_then_write.enqueue_many([{"n": n} for n in range(30)])
    result = jobs.run(limit=30)
    assert set(result.job_status.values()) == {"success"}
    assert Entry.objects.count() == 30


@pytest.mark.django_db(transaction=False)
def test_inside_a_transaction_an_atomic_job_rolls_back_to_where_it_began() -> None:
    Entry.objects.create(name="callers")

    @task(atomic=True)
    def fail() -> None:
        Entry.objects.create(name="rolled back")
        raise ValueError

    job = fail.enqueue()
    run(job)
    assert job.status == Job.Status.FAILED
    assert list(Entry.objects.values_list("name", flat=True)) == ["callers"]
