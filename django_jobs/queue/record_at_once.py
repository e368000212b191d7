"""The record of steps, and of jobs that have succeeded, as one statement, for PostgreSQL.

What varies travels as JSON documents: for a list of values for each column, the driver would
take three times as long. Whose claim does not hold is left out, with its steps and its log.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from django.db import connections
from django.db.models import Model
from django.db.models.expressions import RawSQL
from django.db.models.sql import UpdateQuery

from django_jobs.fields import DatabaseNow
from django_jobs.models import SINGLE_TASK_ID, Job, JobLog, LogState, TaskStatus
from django_jobs.queue.json import encode
from django_jobs.queue.lifecycle import RUNNING, Change, succeed
from django_jobs.queue.prepared import Statement, written_out
from django_jobs.queue.rows import stored_fields

# What is written anew of a step that is known already.
STEP_RESULT = ["input", "output", "complete", "total_tried", "total_failed"]

# The rows are found by an array of their ids, which is always by the primary key; for a join the
# planner may go through the whole table.
_STATEMENT = """\
WITH report AS MATERIALIZED (
    SELECT * FROM json_to_recordset({reports})
        AS report (id bigint, token uuid, ends boolean, output jsonb)
),
ended AS (
    {update} FROM report
    WHERE {job}.id = ANY (ARRAY(SELECT id FROM report WHERE ends))
        AND {job}.id = report.id AND {job}.processing_token = report.token
        AND {job}.status = '{running}'
    RETURNING {job}.id
),
runs_on AS MATERIALIZED (
    SELECT {job}.id FROM {job} JOIN report
        ON {job}.id = report.id AND {job}.processing_token = report.token
    WHERE {job}.id = ANY (ARRAY(SELECT id FROM report WHERE NOT ends))
        AND {job}.status = '{running}'
    FOR UPDATE OF {job}
),
held AS MATERIALIZED (SELECT id FROM ended UNION ALL SELECT id FROM runs_on),
logged AS (
    INSERT INTO {log} ({log_columns}) SELECT {log_columns}
    FROM ROWS FROM (json_to_recordset({entries}) AS ({log_types})) WITH ORDINALITY AS entry
    WHERE job_id IN (SELECT id FROM held)
    ORDER BY ordinality
),
stepped AS (
    INSERT INTO {step} ({step_columns}) SELECT {step_columns}
    FROM json_to_recordset({steps}) AS status ({step_types})
    WHERE job_id IN (SELECT id FROM held)
    ON CONFLICT (job_id, task_slug, task_id) DO UPDATE SET {step_update}
)
SELECT array_agg(id), STATEMENT_TIMESTAMP() FROM held
"""


_GIVEN = {"reports": "json", "entries": "json", "steps": "json"}

# The entry of the log is made of the row of the job.
_SUCCESSES = """\
WITH report AS MATERIALIZED (
    SELECT * FROM unnest({ids}, {tokens}, {began}, {ended}, {outputs})
        AS report (id, token, began, ended, output)
),
ended AS (
    {update} FROM report
    WHERE {job}.id = ANY (ARRAY(SELECT id FROM report))
        AND {job}.id = report.id AND {job}.processing_token = report.token
        AND {job}.status = '{running}'
    RETURNING {job}.id, total_tried, slug, input, {job}.output, report.began, report.ended
),
logged AS (
    INSERT INTO {log} ({log_columns}) SELECT {log_values} FROM ended
)
SELECT array_agg(id), STATEMENT_TIMESTAMP() FROM ended
"""

_GIVEN_SUCCESSES = {
    "ids": "bigint[]",
    "tokens": "uuid[]",
    "began": "float8[]",
    "ended": "float8[]",
    "outputs": "jsonb[]",
}

# What the log says of a success, by the column of the log.
SUCCESS_ENTRY = {
    "job_id": "id",
    "attempt": "total_tried",
    "task_slug": "slug",
    "task_id": f"'{SINGLE_TASK_ID}'",
    "executed_at": "to_timestamp(began)",
    "completed_at": "to_timestamp(ended)",
    "input": "input",
    "output": "output",
    "state": f"'{LogState.SUCCEEDED.value}'",
    "message": "''",
    "parent_task_slug": "''",
    "parent_task_id": "''",
}


def is_supported(using: str) -> bool:
    return connections[using].vendor == "postgresql"


def write(
    changes: Iterable[tuple[Job, Change | None]], entries: Iterable[JobLog],
    statuses: Iterable[TaskStatus], *, using: str,
) -> tuple[Collection[int], datetime]:  # fmt: skip
    """Write what became of jobs and steps; return whose claim held, and the database's time.

    A change is that of success; a job without one runs on. Each job is named once.
    """
    reports = [
        {
            "id": job.id,
            "token": str(job.processing_token),
            "ends": change is not None,
            "output": change and change.output,
        }
        # In one order, so that two workers cannot wait for each other.
        for job, change in sorted(changes, key=lambda pair: pair[0].id)
    ]
    latest = {(status.job_id, status.task_slug, status.task_id): status for status in statuses}
    given = {
        "reports": encode(reports),
        "entries": encode([_log_row(entry) for entry in entries]),
        "steps": encode([_row(status) for status in latest.values()]),
    }
    return _run(_statement(using), given)


def write_successes(
    successes: Iterable[tuple[Job, Any, float, float]], *, using: str
) -> tuple[Collection[int], datetime]:
    """Write that jobs have succeeded, with an entry in the log of each; see write().

    Of each job come its output, and when its handler began and ended, in seconds since the
    epoch.
    """
    # In one order, so that two workers cannot wait for each other.
    jobs, outputs, began, ended = zip(*sorted(successes, key=_id_of_first), strict=True)
    # Jobs that were claimed together share their token.
    text_of = lru_cache(str)
    given = {
        "ids": _array(str(job.id) for job in jobs),
        "tokens": _array(text_of(job.processing_token) for job in jobs),
        "began": _array(map(str, began)),
        "ended": _array(map(str, ended)),
        "outputs": _in_json(outputs),
    }
    return _run(_statement_of_successes(using), given)


def _run(statement: Statement, given: Mapping[str, Any]) -> tuple[Collection[int], datetime]:
    rows = statement.run_prepared(given)
    if rows is None:
        with connections[statement.using].cursor() as cursor:
            cursor.execute(statement.sql, given)
            rows = cursor.fetchall()
    held, now = rows[0]
    return frozenset(held or ()), now


def _id_of_first(of: tuple[Job, Any, float, float]) -> int:
    return of[0].id


def _array(values: Iterable[str]) -> str:
    """Return the literal of an array; for a list, the driver would take ten times as long."""
    return f"{{{','.join(values)}}}"


def _in_json(values: Sequence[Any]) -> list[str | None] | None:
    """Return the values as they are encoded, None for none at all."""
    if all(value is None for value in values):
        return None
    return [None if value is None else encode(value) for value in values]


def update_to_success(using: str) -> tuple[str, Sequence[Any]]:
    """Return the UPDATE that marks jobs as successful, up to its SET clause."""
    update: Any = Job.objects.using(using).all().query.chain(UpdateQuery)
    success: Any = succeed(RawSQL("report.output", ()))
    update.add_update_values(success.values(DatabaseNow()))
    sql, parameters = update.get_compiler(using).as_sql()
    return sql, parameters


@cache
def _statement_of_successes(using: str) -> Statement:
    quote = connections[using].ops.quote_name
    parts = {
        "update": written_out(*update_to_success(using), using), "running": RUNNING,
        "job": quote(Job._meta.db_table), "log": quote(JobLog._meta.db_table),
        "log_columns": ", ".join(map(quote, SUCCESS_ENTRY)),
        "log_values": ", ".join(SUCCESS_ENTRY.values()),
    }  # fmt: skip
    return Statement(
        _GIVEN_SUCCESSES, lambda given: _SUCCESSES.format(**parts, **given), using=using
    )


@cache
def _statement(using: str) -> Statement:
    quote = connections[using].ops.quote_name
    log_columns, log_types = _columns(JobLog, using)
    step_columns, step_types = _columns(TaskStatus, using)
    parts = {
        "update": written_out(*update_to_success(using), using), "running": RUNNING,
        "job": quote(Job._meta.db_table), "log": quote(JobLog._meta.db_table),
        "log_columns": log_columns, "log_types": log_types,
        "step": quote(TaskStatus._meta.db_table),
        "step_columns": step_columns, "step_types": step_types,
        "step_update": ", ".join(f"{quote(name)} = EXCLUDED.{quote(name)}" for name in STEP_RESULT),
    }  # fmt: skip
    return Statement(_GIVEN, lambda given: _STATEMENT.format(**parts, **given), using=using)


def _columns(model: type[Model], using: str) -> tuple[str, str]:
    """Return the columns of what is inserted, and the same with their types."""
    connection = connections[using]
    fields = [field for field in stored_fields(model) if not field.primary_key]
    names = [connection.ops.quote_name(str(field.column)) for field in fields]
    kinds = [
        f"{name} {field.db_type(connection)}" for name, field in zip(names, fields, strict=True)
    ]
    return ", ".join(names), ", ".join(kinds)


def _log_row(entry: JobLog) -> dict[str, Any]:
    values = _row(entry)
    for name in ("executed_at", "completed_at"):
        # With all their digits.
        values[name] = values[name].isoformat()
    return values


def _row(instance: Model) -> dict[str, Any]:
    """Return what is not null of the columns."""
    values = {name: value for name, value in vars(instance).items() if value is not None}
    del values["_state"]
    return values
