"""The claim as two statements, for SQLite, of which the first is compiled once.

SQLite has one writer at a time. What does not need its lock, such as to make jobs of the rows,
is done after the commit, for the worker's own records wait for it.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, transaction
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from django_jobs.models import Job
from django_jobs.queue import lifecycle
from django_jobs.queue.claim_at_once import claimed_fields
from django_jobs.queue.rows import instances


def is_supported(using: str) -> bool:
    return connections[using].vendor == "sqlite"


class ClaimStatements:
    """Claims the first of what a queryset finds."""

    def __init__(self, candidates: QuerySet[Job]) -> None:
        """Take what is to be claimed, annotated with `now`."""
        self.using = candidates.db
        self.fields = claimed_fields()
        names = ["now", "pk", "concurrency_limit", *(field.attname for field in self.fields)]
        query = candidates.values_list(*names).query
        self.sql, self.parameters = query.get_compiler(self.using).as_sql()

    def run(
        self, limit: int, *, lease: timedelta, worker_id: int | None
    ) -> tuple[list[Job], list[Job]]:
        """Return who runs now, and who must be seated; see claim_at_once.ClaimStatement.run()."""
        alike: dict[str, Any] = {}
        connection = connections[self.using]
        with transaction.atomic(using=self.using), connection.cursor() as cursor:
            cursor.execute(f"{self.sql} LIMIT %s", [*self.parameters, limit])
            rows = cursor.fetchall()
            ids = [pk for _now, pk, places, *_rest in rows if places is None]
            if ids:
                now = datetime.fromisoformat(rows[0][0]).replace(tzinfo=connection.timezone)
                alike = lifecycle.claimed(
                    token=uuid.uuid4(), worker_id=worker_id, now=now, lease=lease
                )
                # A parameter for each of them would take twice as long.
                among = RawSQL("SELECT value FROM json_each(%s)", [json.dumps(ids)])
                Job.objects.using(self.using).filter(pk__in=among).update(**alike)
        claimed = [row[3:] for row in rows if row[2] is None]
        keyed = [row[3:] for row in rows if row[2] is not None]
        return (
            instances(Job, self.fields, claimed, alike, using=self.using),
            instances(Job, self.fields, keyed, using=self.using),
        )
