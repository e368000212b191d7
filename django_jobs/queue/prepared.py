"""Statements of PostgreSQL that are run again and again, and planned once where that can be.

To plan the claim or a record takes longer than to run it for a few jobs. A plan is kept by a
session of the server. So it needs a connection that stays with one session, as it does not
behind a pooler that gives each transaction another one: `own_session` says that it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

from django.db import NotSupportedError, ProgrammingError, connections

from django_jobs.queue.cursors import Row, fetch_last
from django_jobs.queue.index_order import ON

# A plan that is made once may be made for an empty table, and is used by a full one: what is
# good enough for a handful of rows must not be in it.
_OFF = ("enable_seqscan", "enable_nestloop")
_SETTINGS = "; ".join(
    [ON, *map("SET LOCAL {} = off".format, _OFF), "SET LOCAL plan_cache_mode = force_generic_plan"]
)

# The names of what is prepared in the sessions of the driver's connections.
_own: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
_numbers = count(1)


def own_session(using: str) -> None:
    """Have statements prepared on the connection of this thread."""
    connection: Any = connections[using]
    connection.ensure_connection()
    _own.setdefault(connection.connection, set())


class Statement:
    """A statement with placeholders for what it is given each time."""

    def __init__(
        self, types: Mapping[str, str], build: Callable[[Mapping[str, str]], str], *, using: str
    ) -> None:
        """Take the types of what is given, by name, and what makes the SQL of placeholders."""
        self.types = types
        self.build = build
        self.using = using
        self.name = f"django_jobs_{next(_numbers)}"

    @cached_property
    def sql(self) -> str:
        """What is run with a dictionary of what is given."""
        return self.build(self._by_name)

    @cached_property
    def preparation(self) -> str:
        sql = self.build({name: f"${number}" for number, name in enumerate(self.types, 1)})
        return f"PREPARE {self.name} ({', '.join(self.types.values())}) AS {sql}"

    @cached_property
    def execution(self) -> str:
        return f"EXECUTE {self.name} ({', '.join(self._by_name.values())})"

    @property
    def _by_name(self) -> dict[str, str]:
        return {name: f"%({name})s::{kind}" for name, kind in self.types.items()}

    def run_prepared(self, given: Mapping[str, Any]) -> list[Row] | None:
        """Return the rows, by one round trip; None where the session is not this thread's own."""
        connection: Any = connections[self.using]
        # One that has been closed is opened by whoever owns a session, or by the query.
        known = None if connection.connection is None else _own.get(connection.connection)
        if known is None or connection.in_atomic_block:
            return None
        try:
            return self._execute(given, known)
        except (ProgrammingError, NotSupportedError):
            # It has been discarded, or the table has changed since.
            known.discard(self.name)
            self._discard(connection)
            return self._execute(given, known)

    def _execute(self, given: Mapping[str, Any], known: set[str]) -> list[Row]:
        first = "" if self.name in known else f"{self.preparation}; "
        rows = fetch_last(f"{_SETTINGS}; {first}{self.execution}", given, using=self.using)
        known.add(self.name)
        return rows

    def _discard(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            known = "SELECT name FROM pg_prepared_statements WHERE name = %s"
            cursor.execute(known, [self.name])
            if cursor.fetchone():
                cursor.execute(f"DEALLOCATE {self.name}")


def written_out(sql: str, parameters: Any, using: str) -> str:
    """Return SQL with its parameters in it, to be part of a statement that is given others."""
    composed: str = connections[using].ops.compose_sql(sql, parameters)  # type: ignore[attr-defined]
    return composed.replace("%", "%%")
