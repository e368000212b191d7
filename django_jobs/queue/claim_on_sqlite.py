"""The look for jobs to claim, for SQLite, as a query that is compiled once.

To compile it, and to have Django make instances of the rows, would be half of the claim's work.
"""

from __future__ import annotations

from datetime import datetime

from django.db import connections
from django.db.models import QuerySet

from django_jobs.models import Job
from django_jobs.queue.claim_at_once import claimed_fields
from django_jobs.queue.rows import instances


def is_supported(using: str) -> bool:
    return connections[using].vendor == "sqlite"


class Candidates:
    """Finds the first of a query set that is annotated with `now`."""

    def __init__(self, candidates: QuerySet[Job]) -> None:
        self.using = candidates.db
        self.fields = claimed_fields()
        query = candidates.values_list("now", *(field.attname for field in self.fields)).query
        self.sql, self.parameters = query.get_compiler(self.using).as_sql()

    def first(self, limit: int) -> list[Job]:
        """Return up to so many, without what the claim will write anew."""
        connection = connections[self.using]
        with connection.cursor() as cursor:
            cursor.execute(f"{self.sql} LIMIT %s", [*self.parameters, limit])
            rows = cursor.fetchall()
        if not rows:
            return []
        now = datetime.fromisoformat(rows[0][0]).replace(tzinfo=connection.timezone)
        values = [row[1:] for row in rows]
        return instances(Job, self.fields, values, {"now": now, "slot": 0}, using=self.using)
