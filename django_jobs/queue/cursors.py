"""Cursors for the few statements that are run again and again."""

from __future__ import annotations

from typing import Any

from django.db import connections


def cursor_that_prepares(using: str) -> Any:
    """Return a cursor of PostgreSQL that prepares its statements, where the project lets it.

    A project does so by the option `prepare_threshold` of its database. Django sets it to None,
    for poolers that give each transaction another connection lose what is prepared.
    """
    connection: Any = connections[using]
    connection.ensure_connection()
    prepares = getattr(connection.connection, "prepare_threshold", None) is not None
    # Django's own cursors put the values into the statement, which is another one each time;
    # where it is logged, it should be.
    if not prepares or connection.queries_logged:
        return connection.cursor()
    from psycopg import Cursor

    return connection._prepare_cursor(Cursor(connection.connection))
