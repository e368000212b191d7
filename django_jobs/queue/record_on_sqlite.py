"""The record of jobs that have succeeded as two statements, for SQLite.

What varies travels as one JSON document: a statement for each job would take four times as long.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, tzinfo
from functools import cache
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections, transaction

from django_jobs.models import Job, JobLog
from django_jobs.queue.lifecycle import RUNNING
from django_jobs.queue.record_at_once import SUCCESS_ENTRY, update_to_success

_REPORT = """\
WITH report AS (
    SELECT
        json_extract(value, '$[0]') AS job, json_extract(value, '$[1]') AS token,
        json_extract(value, '$[2]') AS began, json_extract(value, '$[3]') AS ended,
        json_extract(value, '$[4]') AS output
    FROM json_each(%s)
)
"""

# As text, the time is not parsed for each job.
_END = """\
{report} {update} FROM report
WHERE {job}.id = report.job AND {job}.processing_token = report.token
    AND {job}.status = '{running}'
RETURNING id, updated_at || ''
"""

# The entry of the log is made of the row of the job, once that has ended.
_LOG = """\
{report}, ended AS (
    SELECT {job}.*, report.began, report.ended FROM report JOIN {job} ON {job}.id = report.job
)
INSERT INTO {log} ({log_columns}) SELECT {log_values} FROM ended
"""

_ENTRY = {**SUCCESS_ENTRY, "executed_at": "began", "completed_at": "ended"}

# As Django's backend stores JSON; what is text already is taken as it is.
_encode = DjangoJSONEncoder().encode


def is_supported(using: str) -> bool:
    connection = connections[using]
    # SQLite has RETURNING since 3.35.
    return connection.vendor == "sqlite" and connection.features.can_return_columns_from_insert


def write_successes(
    successes: Iterable[tuple[Job, Any, float, float]], *, using: str
) -> tuple[Collection[int], datetime | None]:
    """Write in one transaction that jobs have succeeded; see record_at_once.write_successes()."""
    connection = connections[using]
    zone = connection.timezone
    rows = [
        (
            job.id, job.processing_token and job.processing_token.hex,
            _time(began, zone), _time(ended, zone),
            None if output is None else _encode(output),
        )
        for job, output, began, ended in successes
    ]  # fmt: skip
    end, parameters, log = _statements(using)
    document = json.dumps(rows)
    with transaction.atomic(using=using), connection.cursor() as cursor:
        cursor.execute(end, [document, *parameters])
        written = cursor.fetchall()
        held = {pk for pk, _now in written}
        if len(held) < len(rows):
            document = json.dumps([row for row in rows if row[0] in held])
        cursor.execute(log, [document])
    now = datetime.fromisoformat(written[0][1]).replace(tzinfo=zone) if written else None
    return held, now


def _time(seconds: float, zone: tzinfo | None) -> str:
    """Return the time so long after the epoch as Django's backend stores it."""
    return str(datetime.fromtimestamp(seconds, zone).replace(tzinfo=None))


@cache
def _statements(using: str) -> tuple[str, Sequence[Any], str]:
    """Return what ends jobs, its parameters after the document, and what logs that."""
    quote = connections[using].ops.quote_name
    update, parameters = update_to_success(using)
    job = quote(Job._meta.db_table)
    end = _END.format(report=_REPORT, update=update, job=job, running=RUNNING)
    log = _LOG.format(
        report=_REPORT, job=job, log=quote(JobLog._meta.db_table),
        log_columns=", ".join(map(quote, _ENTRY)), log_values=", ".join(_ENTRY.values()),
    )  # fmt: skip
    return end, parameters, log
