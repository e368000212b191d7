"""Have PostgreSQL find the first of many rows by walking an index, whatever its statistics say.

A queue's table grows from nothing to 100,000 rows faster than statistics of it are gathered.
By those of an empty table PostgreSQL takes all that waits for a handful, and collects and sorts
it anew for each claim. The queries here have an index in their order, so they need no sort.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from django.db import NotSupportedError, ProgrammingError, connections, transaction
from django.db.models import QuerySet

# They end with the transaction. A sort that cannot be done without, such as of the first of
# several queues, is reckoned to be so dear that it would be compiled, for seconds.
_SETTINGS = ("enable_sort", "enable_bitmapscan", "jit")
_ON = "; ".join(map("SET LOCAL {} = off".format, _SETTINGS))
# A plan that is made once may be made for an empty table, and is used by a full one.
_ON_PREPARED = (
    f"{_ON}; SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan"
)
_OFF = "; ".join(map("SET LOCAL {} TO DEFAULT".format, _SETTINGS))


@contextmanager
def in_index_order(using: str) -> Iterator[None]:
    """Walk indexes for the queries of this block, in one transaction; other databases do anyway."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        yield
    elif connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute(_ON)
        yield
        with connection.cursor() as cursor:
            cursor.execute(_OFF)
    else:
        with transaction.atomic(using), connection.cursor() as cursor:
            cursor.execute(_ON)
            yield


def fetch(sql: str, parameters: Sequence[Any], *, using: str) -> list[tuple[Any, ...]]:
    """Return the rows of a PostgreSQL query, in one round trip where that is possible."""
    connection = connections[using]
    # Several statements at once take their values from the client only.
    at_once = not (connection.in_atomic_block or connection.features.uses_server_side_binding)  # type: ignore[attr-defined]
    if not at_once:
        with in_index_order(using), connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())
    with connection.cursor() as cursor:
        cursor.execute(f"{_ON}; {sql}", parameters)
        while cursor.nextset():
            pass
        return list(cursor.fetchall())


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement that PostgreSQL plans once for each connection."""

    name: str
    # With $1, $2 and so on for what it is given, of these types.
    sql: str
    types: Sequence[str]

    @property
    def preparation(self) -> str:
        sql = self.sql.replace("%", "%%")
        return f"PREPARE {self.name} ({', '.join(self.types)}) AS {sql}; "

    @property
    def execution(self) -> str:
        return f"EXECUTE {self.name} ({', '.join(['%s'] * len(self.types))})"


# Which of them the driver's connections have.
_prepared: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


def fetch_prepared(
    statement: Prepared, parameters: Sequence[Any], *, using: str
) -> list[tuple[Any, ...]]:
    """Return the rows of a PostgreSQL query, in one round trip, planned as `fetch` has it.

    The connection must be to one and the same session of the server for as long as it lives,
    which it is not behind a pooler that gives each transaction another one.
    """
    connection: Any = connections[using]
    connection.ensure_connection()
    known = _prepared.setdefault(connection.connection, set())
    try:
        return _execute_prepared(statement, parameters, known, connection)
    except (ProgrammingError, NotSupportedError):
        # It has been discarded, or the table has changed since.
        known.discard(statement.name)
        _discard(statement, connection)
        return _execute_prepared(statement, parameters, known, connection)


def _discard(statement: Prepared, connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_prepared_statements WHERE name = %s", [statement.name])
        if cursor.fetchone():
            cursor.execute(f"DEALLOCATE {statement.name}")


def _execute_prepared(
    statement: Prepared, parameters: Sequence[Any], known: set[str], connection: Any
) -> list[tuple[Any, ...]]:
    first = "" if statement.name in known else statement.preparation
    with connection.cursor() as cursor:
        cursor.execute(f"{_ON_PREPARED}; {first}{statement.execution}", parameters)
        known.add(statement.name)
        while cursor.nextset():
            pass
        return list(cursor.fetchall())


def rows_of(queryset: QuerySet[Any, Any]) -> list[tuple[Any, ...]]:
    """Return what a query set of tuples finds now, all of them numbers, texts or times."""
    if connections[queryset.db].vendor != "postgresql":
        return list(queryset.all())
    sql, parameters = queryset.query.get_compiler(queryset.db).as_sql()
    return fetch(sql, parameters, using=queryset.db)
