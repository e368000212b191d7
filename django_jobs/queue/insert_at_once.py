"""New jobs as one statement, for PostgreSQL, where it also wakes the workers, and for SQLite.

A column that has one value in all of them is a parameter. What varies travels as JSON: for a
list of values for each column, PostgreSQL's driver would take several times as long.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, JSONField

from django_jobs.models import Gate, Job
from django_jobs.queue import notify
from django_jobs.queue.cursors import fetch_prepared
from django_jobs.queue.json import encode
from django_jobs.queue.rows import stored_fields

# Of a job that is due later, the workers will know when they look for themselves.
_NOTIFY = (
    f"CASE WHEN gate = {Gate.OPEN} AND (wait_until IS NULL OR wait_until < "
    f"STATEMENT_TIMESTAMP() + interval '{notify.LONGEST_REST} seconds') "
    f"THEN pg_notify('{notify.CHANNEL}', queue) END"
)


def is_supported(using: str) -> bool:
    """Whether the database reads JSON as rows, and returns the keys of what it inserts."""
    connection = connections[using]
    if connection.vendor == "sqlite":
        return connection.features.can_return_rows_from_bulk_insert
    return connection.vendor == "postgresql"


def insert(jobs: Sequence[Job], *, using: str) -> None:
    """Add the jobs; their keys are in their order."""
    connection = connections[using]
    alike, varying = _columns([vars(job) for job in jobs])
    sql = _statement(tuple(alike), tuple(varying), using, notify.is_supported(using))
    parameters = [_parameter(name, value, connection) for name, value in alike.items()]
    if varying:
        parameters += _documents(varying, connection)
    added = fetch_prepared(sql, parameters, using=using)
    for job, row in zip(jobs, added, strict=True):
        job.id = row[0]
        job._state.adding, job._state.db = False, using


def _columns(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    """Return what is alike in all rows, without what is null, and the columns that vary."""
    alike: dict[str, Any] = {}
    varying: dict[str, tuple[Any, ...]] = {}
    columns = zip(*map(itemgetter(*_stored()), rows), strict=True)
    for name, values in zip(_stored(), columns, strict=True):
        # The input varies by definition: each row needs something in the document.
        if len(rows) > 1 and (name == "input" or _varies(name, values)):
            varying[name] = values
        elif values[0] is not None:
            alike[name] = values[0]
    return alike, varying


def _varies(name: str, values: tuple[Any, ...]) -> bool:
    """Whether the values are perhaps not stored alike; True is 1, but not in JSON."""
    first = values[0]
    if _is_json(name) and first not in (None, {}):
        return any(value is not first for value in values)
    return values.count(first) != len(values)


@cache
def _stored() -> dict[str, Field[Any, Any]]:
    """Return the columns of a new job."""
    return {field.attname: field for field in stored_fields(Job) if not field.primary_key}


def _is_json(name: str) -> bool:
    return isinstance(_stored()[name], JSONField)


def _parameter(name: str, value: Any, connection: BaseDatabaseWrapper) -> Any:
    """Return the value as the driver takes it; of JSON, the text."""
    if connection.vendor == "sqlite":
        return _stored()[name].get_db_prep_save(value, connection)
    return encode(value) if _is_json(name) else value


def _documents(varying: Mapping[str, Sequence[Any]], connection: BaseDatabaseWrapper) -> list[str]:
    """Return a list of values for each column; for SQLite one of rows, with the text of JSON."""
    if connection.vendor == "sqlite":
        columns = [
            [_parameter(name, value, connection) for value in values]
            for name, values in varying.items()
        ]
        return [json.dumps([*zip(*columns, strict=True)])]
    # Of the columns that are not JSON themselves, only times are strange to it.
    return [json.dumps(values, default=str) for values in varying.values()]


@cache
def _statement(alike: tuple[str, ...], varying: tuple[str, ...], using: str, notifies: bool) -> str:
    quote = connections[using].ops.quote_name
    columns = ", ".join(map(quote, (*alike, *varying)))
    expressions, source = _read(varying, using) if varying else ([], "")
    returned = f"id, {_NOTIFY}" if notifies else "id"
    return (
        f"INSERT INTO {quote(Job._meta.db_table)} ({columns}) "
        f"SELECT {', '.join(['%s'] * len(alike) + expressions)}{source} RETURNING {returned}"
    )


def _read(varying: Sequence[str], using: str) -> tuple[list[str], str]:
    """Return what reads the columns of the documents, and where they stand."""
    connection = connections[using]
    if connection.vendor == "sqlite":
        places = [f"json_extract(value, '$[{place}]')" for place in range(len(varying))]
        return places, " FROM json_each(%s)"
    names = [connection.ops.quote_name(name) for name in varying]
    # Without the length, a text that is too long is refused rather than cut.
    types = [str(_stored()[name].db_type(connection)).split("(")[0] for name in varying]
    lists = ", ".join(["json_array_elements_text(%s::json)"] * len(varying))
    return (
        [f"new.{name}::{kind}" for name, kind in zip(names, types, strict=True)],
        f" FROM ROWS FROM ({lists}) AS new ({', '.join(names)})",
    )
