"""How many statements the way of a job costs: none of these numbers may grow with the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_jobs import jobs, task
from django_jobs.models import Job, JobLog, LogState
from django_jobs.queue import lifecycle, operate, rescue
from django_jobs.queue.record import Report, record
from tests.queue.support import add, add_many, claim, end_lease

pytestmark = pytest.mark.django_db(transaction=True)


def statements(function: Callable[[], Any]) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        function()
    every = [query["sql"] for query in queries.captured_queries]
    # How many jobs ended is written down every ten seconds only.
    every = [sql for sql in every if "throughput" not in sql]
    return [sql for sql in every if not sql.startswith(("BEGIN", "COMMIT"))]


@pytest.mark.parametrize("number", [1, 50])
def test_a_claim_is_three_statements_at_most(number: int) -> None:
    add_many(number)
    # Is anybody to be woken, who is due, take them.
    assert len(statements(lambda: claim(50))) <= 3


def test_a_claim_that_finds_nothing_is_two_statements() -> None:
    assert len(statements(claim)) == 2


@pytest.mark.parametrize("number", [1, 50])
def test_the_record_of_jobs_that_ended_alike_is_three_statements_at_most(number: int) -> None:
    add_many(number)
    reports = [
        Report(
            job=job, change=lifecycle.succeed(None),
            entries=[JobLog(job=job, state=LogState.SUCCEEDED)],
        )
        for job in claim(50)
    ]  # fmt: skip
    # Lock them, insert the log, write what became of them.
    found = statements(lambda: record(reports, using="default"))
    assert len(found) <= 3, found


@pytest.mark.parametrize("number", [1, 50])
def test_the_record_of_successes_with_outputs_is_two_statements_at_most(
    number: int, vendor: str
) -> None:
    add_many(number)
    reports = [
        Report(job=job, change=lifecycle.succeed(job.pk), ran=(0.0, 0.1)) for job in claim(50)
    ]
    found = statements(lambda: record(reports, using="default"))
    # Elsewhere each output is written by a statement of its own.
    most = {"postgresql": 1, "sqlite": 2}.get(vendor, 2 + number)
    assert len(found) <= most, found


def test_one_pass_over_one_job_is_seven_statements_at_most() -> None:
    @task(slug="plain")
    def plain() -> None:
        pass

    plain.enqueue()
    # Is any lease over; the claim; the record.
    assert len(statements(jobs.run)) <= 7


def test_the_end_of_a_job_with_a_key_costs_one_look_at_its_line() -> None:
    add("k")
    claimed = claim()
    report = Report(job=claimed[0], change=lifecycle.succeed(None))
    assert len(statements(lambda: record([report], using="default"))) <= 3


@pytest.mark.parametrize("behind", [1, 200])
def test_the_line_behind_a_job_does_not_make_its_end_dearer(behind: int) -> None:
    add("k")
    report = Report(job=claim()[0], change=lifecycle.succeed(None))
    add_many(behind, "k")
    assert len(statements(lambda: record([report], using="default"))) <= 8


@pytest.mark.parametrize("number", [1, 50])
def test_adding_many_jobs_of_a_busy_key_costs_the_same_for_any_number(number: int) -> None:
    add("k")
    claim()
    found = statements(lambda: add_many(number, "k"))
    inserts = sum(sql.startswith("INSERT") for sql in found)
    # SQLite limits the parameters of a statement.
    assert inserts <= 1 + number / 25
    assert len(found) - inserts <= 6


@pytest.mark.parametrize("number", [1, 50])
def test_cancelling_costs_the_same_for_any_number(number: int) -> None:
    add_many(number)
    found = statements(lambda: operate.cancel(Job.objects.all()))
    assert len(found) <= 4, found


@pytest.mark.parametrize("number", [1, 50])
def test_taking_over_costs_the_same_for_any_number(number: int) -> None:
    add_many(number)
    end_lease(*claim(50))
    found = statements(lambda: rescue.take_over(using="default"))
    assert len(found) <= 5, found
