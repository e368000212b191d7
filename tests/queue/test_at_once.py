"""What PostgreSQL is told in one statement is what the others are told in several."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_jobs.models import Job, JobLog, JobStatus, LogState, TaskStatus
from django_jobs.queue import lifecycle, record_at_once
from django_jobs.queue.prepared import own_session
from django_jobs.queue.record import Report, Standing, record, store
from django_jobs.queue.rows import stored_fields
from tests.queue.support import add, add_many, claim, claim_one, pks

pytestmark = pytest.mark.django_db

only_on_postgresql = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="The statement is PostgreSQL's."
)


def stored(instance: Any) -> dict[str, Any]:
    return {field.attname: getattr(instance, field.attname) for field in stored_fields(Job)}


def success(job: Job, output: Any = None, **entry: Any) -> Report:
    entries = [JobLog(job=job, **{"state": LogState.SUCCEEDED, **entry})]
    return Report(job=job, change=lifecycle.succeed(output), entries=entries)


@pytest.mark.parametrize("key", [None, "k"])
def test_a_claimed_job_is_in_memory_as_it_is_stored(key: str | None) -> None:
    add(key, meta={"a": [1, "ü"]}, input={"n": 0.1}, priority=5, total_tried=2, unique_key="u")
    claimed = claim_one()
    assert stored(claimed) == stored(Job.objects.get())
    assert (claimed._state.db, claimed._state.adding) == ("default", False)


def test_a_job_that_has_succeeded_is_in_memory_as_it_is_stored() -> None:
    add_many(2)
    claimed = claim()
    record([success(job, {"b": job.pk}) for job in claimed], using="default")
    for job in claimed:
        assert stored(job) == stored(Job.objects.get(pk=job.pk))
        assert (job.status, job.output) == (JobStatus.SUCCESSFUL, {"b": job.pk})


def test_jobs_with_and_without_a_key_are_claimed_in_one_order() -> None:
    low = add(priority=-1)
    keyed = add("k", priority=1)
    waiting = add("k")
    high = add(priority=2)
    assert pks(claim()) == [high.pk, keyed.pk, low.pk]
    waiting.refresh_from_db()
    assert waiting.status == JobStatus.READY


def test_no_more_are_claimed_than_asked_for_where_some_have_a_key() -> None:
    added = [add("k"), add(), add("k"), add(), add(), add("other")]
    assert pks(claim(3)) == [added[0].pk, added[1].pk, added[3].pk]
    assert pks(claim(1)) == [added[4].pk]


@pytest.mark.parametrize(
    "text", ["", "ü\N{GRINNING FACE}", "'\"\\%s%%{}", "\\u0041\\\\", "a\nb\tc", '{"a": null}']
)
def test_any_text_is_recorded_as_it_is(text: str) -> None:
    add()
    claimed = claim_one()
    output: dict[str, Any] = {text: [text, None, True, 1, 0.1, {}]}
    report = success(claimed, output, message=text, input=output, task_slug=text, level=20)
    status = TaskStatus(job=claimed, task_slug="s", task_id=text, input=[text], output=output)
    report.statuses = [status]
    before = report.entries[0]
    assert record([report], using="default") == [Standing.HELD]
    assert Job.objects.get().output == output
    entry = JobLog.objects.get()
    assert (entry.message, entry.input, entry.task_slug) == (text, output, text)
    assert (entry.executed_at, entry.completed_at) == (before.executed_at, before.completed_at)
    assert (entry.output, entry.error, entry.data, entry.level) == (None, None, None, 20)
    step = TaskStatus.objects.get()
    assert (step.task_id, step.input, step.output) == (text, [text], output)


def test_the_log_of_a_job_keeps_its_order() -> None:
    add_many(5)
    reports = [Report(job=job) for job in claim()]
    for report in reports:
        report.entries = [
            JobLog(job=report.job, state=LogState.MESSAGE, message=str(number))
            for number in range(10)
        ]
    record(reports, using="default")
    for report in reports:
        messages = report.job.log.values_list("message", flat=True)
        assert list(messages) == [str(number) for number in range(10)]


def test_what_is_stored_is_not_stored_again_when_its_batch_is_tried_again() -> None:
    add_many(3)
    first, step, other = claim()
    reports = [success(first), Report(job=step, entries=[JobLog(job=step, message="once")])]
    if not record_at_once.is_supported("default"):
        pytest.skip("All is stored in one transaction, or nothing.")
    store(reports, using="default")
    before = list(JobLog.objects.values())
    assert store([*reports, Report(job=other)], using="default") == [Standing.HELD] * 3
    assert list(JobLog.objects.values()) == before


def test_a_step_of_a_lost_job_is_not_recorded_and_those_of_others_are() -> None:
    add_many(2)
    held, lost = claim()
    Job.objects.filter(pk=lost.pk).update(processing_token=uuid.uuid4())
    reports = [
        Report(
            job=job,
            entries=[JobLog(job=job, state=LogState.SUCCEEDED)],
            statuses=[TaskStatus(job=job, task_slug="s", task_id="1")],
        )
        for job in (held, lost)
    ]
    assert record(reports, using="default") == [Standing.HELD, Standing.LOST]
    assert list(JobLog.objects.values_list("job", flat=True)) == [held.pk]
    assert list(TaskStatus.objects.values_list("job", flat=True)) == [held.pk]


@only_on_postgresql
def test_steps_and_successes_of_several_jobs_are_one_statement() -> None:
    add_many(6)
    claimed = claim()
    reports = [success(job, job.pk) for job in claimed[:3]]
    reports += [
        Report(job=job, statuses=[TaskStatus(job=job, task_slug="s", task_id="1")])
        for job in claimed[3:]
    ]
    with CaptureQueriesContext(connection) as queries:
        assert record(reports, using="default") == [Standing.HELD] * 6
    assert len(queries) == 1


@only_on_postgresql
def test_who_only_asks_how_he_stands_is_answered_along_with_others() -> None:
    add_many(3)
    asking, cancelled, working = claim()
    step = TaskStatus(job=working, task_slug="s", task_id="1")
    with CaptureQueriesContext(connection) as queries:
        reports = [Report(job=asking), Report(job=working, statuses=[step])]
        assert record(reports, using="default") == [Standing.HELD] * 2
    assert len(queries) == 1
    cancelled.cancel()
    reports = [Report(job=cancelled), Report(job=working, statuses=[step])]
    assert record(reports, using="default") == [Standing.CANCELLED, Standing.HELD]


@only_on_postgresql
def test_to_ask_how_one_stands_writes_nothing() -> None:
    add()
    claimed = claim_one()
    with CaptureQueriesContext(connection) as queries:
        assert record([Report(job=claimed)], using="default") == [Standing.HELD]
    assert [query["sql"].split()[0] for query in queries] == ["SELECT"]
    assert "FOR UPDATE" not in queries[0]["sql"]


STATEMENTS = [record_at_once._statement, record_at_once._statement_of_successes]


@only_on_postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("statement_for", STATEMENTS, ids=["steps", "successes"])
@pytest.mark.parametrize("prepared", [False, True], ids=["planned now", "planned before"])
def test_a_record_finds_its_jobs_by_their_ids(statement_for: Any, prepared: bool) -> None:
    """To go through the whole table for each batch would be the end of a long history."""
    statement = statement_for("default")
    nothing = {name: "[]" if kind == "json" else None for name, kind in statement.types.items()}
    if prepared:
        own_session("default")
        statement.run_prepared(nothing)
    Job.objects.bulk_create(
        Job(slug="work", status=JobStatus.SUCCESSFUL) for _number in range(2000)
    )
    with connection.cursor() as cursor:
        if prepared:
            cursor.execute("SET plan_cache_mode = force_generic_plan")
        else:
            cursor.execute("ANALYZE django_jobs_job")
        run = statement.execution if prepared else statement.sql
        cursor.execute(f"EXPLAIN {run}", nothing)
        plan = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute("RESET plan_cache_mode")
    assert "Seq Scan on django_jobs_job" not in plan, plan
    if prepared:
        # Of each job with each report: it was planned before there were many.
        assert "Nested Loop" not in plan, plan


@only_on_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_session_of_ones_own_records_by_what_it_has_prepared() -> None:
    add_many(5)
    own_session("default")
    for _time in range(2):
        first, second = claim(2)
        first_job = Report(job=first, change=lifecycle.succeed({"a": "%s {x} '"}), ran=(1.5, 2.5))
        step = TaskStatus(job=second, task_slug="s", task_id="1", output="%(ids)s")
        with CaptureQueriesContext(connection) as queries:
            reports = [first_job, Report(job=second, statuses=[step])]
            assert record(reports, using="default") == [Standing.HELD] * 2
        assert len(queries) == 2
        first.refresh_from_db()
        assert (first.status, first.output) == (JobStatus.SUCCESSFUL, {"a": "%s {x} '"})
        assert first.log_entries.get().completed_at.timestamp() == 2.5
        assert second.task_statuses.get().output == "%(ids)s"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'django_jobs_%'"
        )
        assert cursor.fetchone()[0] >= 3


@pytest.fixture
def server_side_binding() -> Iterator[None]:
    """Have Django's cursors send the values apart from the statement."""
    connection.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(connection.settings_dict["OPTIONS"], "server_side_binding", True)
        patch.setattr(connection.features, "uses_server_side_binding", True, raising=False)
        yield
        connection.close()


@only_on_postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("own", [False, True], ids=["any session", "a session of one's own"])
def test_claims_and_records_do_without_the_server_binding_their_values(
    server_side_binding: None, own: bool
) -> None:
    add_many(2)
    if own:
        own_session("default")
    first, second = claim(2)
    step = TaskStatus(job=second, task_slug="s", task_id="1", output={"a": "%s"})
    reports = [success(first, "done"), Report(job=second, statuses=[step])]
    assert record(reports, using="default") == [Standing.HELD] * 2
    assert Job.objects.get(pk=first.pk).output == "done"
    assert second.task_statuses.get().output == {"a": "%s"}
