"""How the few statements are sent that are run again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections

Row = tuple[Any, ...]


def fetch_prepared(sql: str, parameters: Sequence[Any], *, using: str) -> list[Row]:
    """Return the rows of a statement, which the driver prepares where the project lets it.

    A project does so by the option `prepare_threshold` of its database. Django sets it to None,
    for poolers that give each transaction another connection lose what is prepared.
    """
    connection = _connected(using)
    prepares = getattr(connection.connection, "prepare_threshold", None) is not None
    # Django's own cursors put the values into the statement, which is another one each time;
    # where it is logged, it should be.
    if not prepares or connection.queries_logged:
        cursor = connection.cursor()
    else:
        from psycopg import Cursor

        cursor = connection._prepare_cursor(Cursor(connection.connection))
    with cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def fetch_last(sql: str, parameters: Sequence[Any] | Mapping[str, Any], *, using: str) -> list[Row]:
    """Return the rows of the last of several statements, which are one round trip.

    Several at once take their values from the client only, also where the project has the
    server bind them, by the option `server_side_binding`.
    """
    from psycopg import ClientCursor

    connection = _connected(using)
    with connection._prepare_cursor(ClientCursor(connection.connection)) as cursor:
        cursor.execute(sql, parameters)
        while cursor.nextset():
            pass
        return list(cursor.fetchall())


def _connected(using: str) -> Any:
    """Return the connection, open; another where Django, told to check it, finds it broken."""
    connection: Any = connections[using]
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    return connection
