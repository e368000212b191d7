"""New jobs as one statement, for PostgreSQL, which also wakes the workers.

A column that has one value in all of them is a parameter. What varies travels as one JSON
document: for a list of values for each column, the driver would take three times as long.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from django.db import connections
from django.db.models import JSONField

from django_jobs.models import Gate, Job
from django_jobs.queue.cursors import cursor_that_prepares
from django_jobs.queue.json import encode
from django_jobs.queue.notify import CHANNEL, is_supported
from django_jobs.queue.rows import stored_fields

_NOTIFY = (
    f"CASE WHEN wait_until IS NULL AND gate = {Gate.OPEN} THEN pg_notify('{CHANNEL}', queue) END"
)


def insert(jobs: Sequence[Job], *, using: str) -> None:
    """Add the jobs; their keys are in their order."""
    rows = [vars(job) for job in jobs]
    alike, varying = _columns(rows)
    sql = _statement(tuple(alike), varying, using, is_supported(using))
    parameters = [*alike.values()]
    if varying:
        # Of the columns that are not JSON themselves, only times are strange to it.
        parameters.append(
            json.dumps([{name: row[name] for name in varying} for row in rows], default=str)
        )
    with cursor_that_prepares(using) as cursor:
        cursor.execute(sql, parameters)
        added = cursor.fetchall()
    for job, (key, *_notified) in zip(jobs, added, strict=True):
        job.id = key
        job._state.adding, job._state.db = False, using


def _columns(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what is alike in all rows, without what is null, and the names of what varies."""
    alike: dict[str, Any] = {}
    varying: list[str] = []
    for name, is_json in _stored().items():
        value = rows[0][name]
        # The input varies by definition: each row needs something in the document.
        if (name == "input" and len(rows) > 1) or _varies([row[name] for row in rows]):
            varying.append(name)
        elif value is not None:
            alike[name] = encode(value) if is_json else value
    return alike, tuple(varying)


def _varies(values: Sequence[Any]) -> bool:
    """Whether the values are perhaps not stored alike; True is 1, but not in JSON."""
    first = values[0]
    return any(value is not first and (value != {} or first != {}) for value in values)


@cache
def _stored() -> dict[str, bool]:
    """Return the columns of a new job, and whether they are JSON."""
    return {
        field.attname: isinstance(field, JSONField)
        for field in stored_fields(Job)
        if not field.primary_key
    }


@cache
def _statement(alike: tuple[str, ...], varying: tuple[str, ...], using: str, notify: bool) -> str:
    connection = connections[using]
    quote = connection.ops.quote_name
    values = ", ".join(["%s"] * len(alike) + [f"new.{quote(name)}" for name in varying])
    # Without the length, a text that is too long is refused rather than cut.
    types = [str(Job._meta.get_field(name).db_type(connection)).split("(")[0] for name in varying]
    columns = [f"{quote(name)} {kind}" for name, kind in zip(varying, types, strict=True)]
    document = f" FROM json_to_recordset(%s::json) AS new ({', '.join(columns)})" if varying else ""
    returned = f"id, {_NOTIFY}" if notify else "id"
    return (
        f"INSERT INTO {quote(Job._meta.db_table)} "
        f"({', '.join(map(quote, (*alike, *varying)))}) SELECT {values}{document} "
        f"RETURNING {returned}"
    )
