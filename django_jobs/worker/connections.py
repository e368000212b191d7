"""Leave no connection of a thread in the state that user code left it in."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.db.backends.signals import connection_created

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class _Opened(threading.local):
    """The connections that a thread has opened. To ask Django for them costs more than a job."""

    def __init__(self) -> None:
        self.connections: list[BaseDatabaseWrapper] = []


_opened = _Opened()


def connect() -> None:
    connection_created.connect(_note_opened, dispatch_uid="django_jobs.worker.connections")


def _note_opened(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if not any(opened is connection for opened in _opened.connections):
        _opened.connections.append(connection)


def opened_connections() -> Sequence[BaseDatabaseWrapper]:
    """Return the connections of this thread that are open, now and later."""
    return _opened.connections


def tidy_connections() -> None:
    """Leave no transaction of this thread open, and no connection that cannot be used."""
    if not _opened.connections:
        return
    for connection in list(_opened.connections):
        # Where even closing fails, because a handler has closed what is below, it is gone.
        with suppress(Exception):
            if _is_in_transaction(connection):
                _abandon_transaction(connection)
            connection.close_if_unusable_or_obsolete()
        if connection.connection is None:
            _opened.connections.remove(connection)


class Tidied:
    """Leaves no transaction open, whose locks the record would wait for."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        tidy_connections()


class NoTransactionLeft:
    """Abandons what the block leaves open, whose locks the record of it would wait for."""

    def __enter__(self) -> None:
        self.before = _in_transactions()

    def __exit__(self, *error: object) -> None:
        for connection in _in_transactions():
            if connection not in self.before:
                with suppress(Exception):
                    _abandon_transaction(connection)


def _in_transactions() -> list[BaseDatabaseWrapper]:
    return [connection for connection in _opened.connections if _is_in_transaction(connection)]


def _is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    return connection.in_atomic_block or not connection.autocommit


def _abandon_transaction(connection: BaseDatabaseWrapper) -> None:
    """Close a connection although it is in a transaction, which `close` alone puts off."""
    connection.in_atomic_block = False
    connection.atomic_blocks.clear()
    connection.savepoint_ids.clear()
    connection.run_on_commit.clear()
    connection.needs_rollback = False
    connection.close()
