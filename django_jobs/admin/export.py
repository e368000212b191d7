"""The jobs of a list as CSV or JSON, in batches, however many there are."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

from django_jobs.describe import redacted
from django_jobs.models import Job
from django_jobs.queue.json import encode

BATCH = 1_000

COLUMNS = (
    "id", "slug", "kind", "queue", "priority", "status", "concurrency_key", "wait_until",
    "created_at", "started_at", "completed_at", "total_tried", "worker", "parent", "error",
    "input", "output",
)  # fmt: skip
TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}

# With these a cell would be a formula for a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def render(kind: str, jobs: QuerySet[Job]) -> Iterator[str]:
    return _as_csv(jobs) if kind == "csv" else _as_json(jobs)


def _as_csv(jobs: QuerySet[Job]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for record in _records(jobs):
        yield writer.writerow([_cell(value) for value in record.values()])


def _as_json(jobs: QuerySet[Job]) -> Iterator[str]:
    before = "[\n"
    for record in _records(jobs):
        yield before + encode(record)
        before = ",\n"
    yield "[]\n" if before.startswith("[") else "\n]\n"


class _Echo:
    """A file that returns what is written to it."""

    def write(self, line: str) -> str:
        return line


def _records(jobs: QuerySet[Job]) -> Iterator[dict[str, Any]]:
    """Yield the jobs, newest first, each batch looked up when the one before is sent."""
    newest_first = jobs.order_by("-pk")
    batch = list(newest_first[:BATCH])
    while batch:
        for job in batch:
            yield _record(job)
        batch = list(newest_first.filter(pk__lt=batch[-1].pk)[:BATCH])


def _record(job: Job) -> dict[str, Any]:
    error = job.error or {}
    shown = {
        "worker": job.worker_id,
        "parent": job.parent_id,
        "error": f"{error.get('name')}: {error.get('message')}" if error else None,
        "input": redacted(job.input),
    }
    return {name: shown[name] if name in shown else getattr(job, name) for name in COLUMNS}


def _cell(value: Any) -> Any:
    """Return a cell that a spreadsheet takes for text, whatever a job has in it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return f"'{text}" if text.startswith(_FORMULA) else text
