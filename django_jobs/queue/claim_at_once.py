"""The claim as one statement, for PostgreSQL.

It spares the worker a transaction of four round trips for each claim. It takes jobs without a
concurrency key, which are most; the others need to be seated one by one.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import connections
from django.db.models import Field, QuerySet

from django_jobs.models import USUAL_ORDER, Gate, Job
from django_jobs.queue import lifecycle
from django_jobs.queue.index_order import fetch
from django_jobs.queue.lifecycle import RUNNING
from django_jobs.queue.prepared import Statement, written_out
from django_jobs.queue.rows import instances, selected_as, stored_fields

# What it sets is what lifecycle.claimed() returns. Of each queue as many are locked as there is
# room for, then the first of all are taken. They are locked before the update looks at them, and
# only once. What is alike in all rows is not returned with each; the time is, in the first.
_STATEMENT = """\
WITH candidate AS MATERIALIZED ({candidates}),
claimed AS (
    UPDATE {table} SET
        status = '{running}', gate = {gate}, slot = 0, processing_token = {token},
        processing_until = STATEMENT_TIMESTAMP() + {lease}, worker_id = {worker},
        started_at = STATEMENT_TIMESTAMP(), updated_at = STATEMENT_TIMESTAMP()
    WHERE id = ANY (ARRAY(SELECT id FROM candidate WHERE concurrency_limit IS NULL))
    RETURNING {columns}
)
SELECT true, CASE row_number() OVER () WHEN 1 THEN STATEMENT_TIMESTAMP() END, claimed.*
FROM claimed
UNION ALL
SELECT false, NULL, {columns} FROM {table}
WHERE id = ANY (ARRAY(SELECT id FROM candidate WHERE concurrency_limit IS NOT NULL))
"""

# What the candidates are put in order by, and what tells whether they have to be seated.
_NEEDED = (*USUAL_ORDER, "concurrency_limit")

_FIRST = "SELECT * FROM ({every}) AS every ORDER BY {order} LIMIT {limit}"

# What a claim is told, and of which type that is.
_GIVEN = {"limit": "bigint", "token": "uuid", "lease": "interval", "worker": "bigint"}

_ALIKE = frozenset({
    "status", "gate", "slot", "processing_token", "processing_until", "worker_id", "started_at",
    "updated_at",
})  # fmt: skip


def is_supported(using: str) -> bool:
    return connections[using].vendor == "postgresql"


def claimed_fields() -> list[Field[Any, Any]]:
    """Return the fields that a claim does not set."""
    return [field for field in stored_fields(Job) if field.attname not in _ALIKE]


def _compiled(candidates: QuerySet[Job]) -> str:
    query = candidates.values(*_NEEDED).query
    sql, parameters = query.get_compiler(candidates.db).as_sql()
    return written_out(sql, parameters, candidates.db)


def _first_of(parts: Sequence[str], limit: str) -> str:
    """Return the query of the first rows of all parts, each of which is in order."""
    if len(parts) == 1:
        return parts[0]
    every = " UNION ALL ".join(map("SELECT * FROM {} AS part".format, parts))
    return _FIRST.format(every=every, order=", ".join(USUAL_ORDER), limit=limit)


class ClaimStatement:
    """Claims the first of what a queryset finds; compiled once, run for every claim."""

    def __init__(self, candidates: Sequence[QuerySet[Job]]) -> None:
        """Take what is to be claimed, as one query set for each queue, all in one order."""
        self.using = candidates[0].db
        self.fields = claimed_fields()
        self._candidates = [_compiled(jobs) for jobs in candidates]
        self.statement = Statement(_GIVEN, self._build, using=self.using)

    def run(
        self, limit: int, *, lease: timedelta, worker_id: int | None
    ) -> tuple[list[Job], list[Job]]:
        """Return who runs now, and who must be seated; both in no order."""
        token = uuid.uuid4()
        given = {"limit": limit, "token": token, "lease": lease, "worker": worker_id}
        rows = self.statement.run_prepared(given)
        if rows is None:
            rows = fetch(self.statement.sql, given, using=self.using)
        if not rows:
            return [], []
        claimed = [row[2:] for row in rows if row[0]]
        keyed = [row[2:] for row in rows if not row[0]]
        alike = {}
        if claimed:
            now = rows[0][1]
            alike = lifecycle.claimed(token=token, worker_id=worker_id, now=now, lease=lease)
        return (
            instances(Job, self.fields, claimed, alike, using=self.using),
            instances(Job, self.fields, keyed, using=self.using),
        )

    def _build(self, given: Mapping[str, str]) -> str:
        operations = connections[self.using].ops
        lock = operations.for_update_sql(skip_locked=True)
        locked = [f"({sql} LIMIT {given['limit']} {lock})" for sql in self._candidates]
        columns = ", ".join(selected_as(field, self.using) for field in self.fields)
        return _STATEMENT.format(
            candidates=_first_of(locked, given["limit"]), columns=columns, **given,
            table=operations.quote_name(Job._meta.db_table), running=RUNNING, gate=Gate.OPEN,
        )  # fmt: skip
