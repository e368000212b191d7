"""Have PostgreSQL find the first of many rows by walking an index, whatever its statistics say.

A queue's table grows from nothing to 100,000 rows faster than statistics of it are gathered.
By those of an empty table PostgreSQL takes all that waits for a handful, and collects and sorts
it anew for each claim. The queries here have an index in their order, so they need no sort.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction
from django.db.models import QuerySet

from django_jobs.queue.cursors import Row, fetch_last

# They end with the transaction. A sort that cannot be done without, such as of the first of
# several queues, is reckoned to be so dear that it would be compiled, for seconds.
_SETTINGS = ("enable_sort", "enable_bitmapscan", "jit")
ON = "; ".join(map("SET LOCAL {} = off".format, _SETTINGS))
_OFF = "; ".join(map("SET LOCAL {} TO DEFAULT".format, _SETTINGS))


@contextmanager
def in_index_order(using: str) -> Iterator[None]:
    """Walk indexes for the queries of this block, in one transaction; other databases do anyway."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        yield
    elif connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute(ON)
        yield
        with connection.cursor() as cursor:
            cursor.execute(_OFF)
    else:
        with transaction.atomic(using), connection.cursor() as cursor:
            cursor.execute(ON)
            yield


def fetch(sql: str, parameters: Sequence[Any] | Mapping[str, Any], *, using: str) -> list[Row]:
    """Return the rows of a PostgreSQL query, in one round trip where that is possible."""
    connection = connections[using]
    if not connection.in_atomic_block:
        return fetch_last(f"{ON}; {sql}", parameters, using=using)
    with in_index_order(using), connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def rows_of(queryset: QuerySet[Any, Any]) -> list[Row]:
    """Return what a query set of tuples finds now, all of them numbers, texts or times."""
    if connections[queryset.db].vendor != "postgresql":
        return list(queryset.all())
    sql, parameters = queryset.query.get_compiler(queryset.db).as_sql()
    return fetch(sql, parameters, using=queryset.db)
