"""How a stock SQLite database serves several processes.

Django's `atomic()` begins a transaction that only reads until it writes. When two such
transactions come to write, SQLite refuses one of them at once, whatever the timeout, with
"database is locked". Begun as writers they wait for each other instead. This is the option
`transaction_mode` that Django's documentation advises for production; it is set here for the
database of the jobs where the project has not chosen for itself, because web requests that
meet a worker are the ones that would be refused.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

BUSY_TIMEOUT_MS = 30_000


def _prepare(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    from django_jobs.models import database_alias

    try:
        holds_jobs = connection.vendor == "sqlite" and connection.alias == database_alias()
    except ImproperlyConfigured:
        # A system check says so, which may need this very connection.
        return
    if not holds_jobs:
        return
    options = connection.settings_dict.get("OPTIONS", {})
    if "transaction_mode" not in options:
        connection.transaction_mode = "IMMEDIATE"  # type: ignore[attr-defined]
    if "timeout" not in options and not connection.is_in_memory_db():  # type: ignore[attr-defined]
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")


def connect() -> None:
    connection_created.connect(_prepare, dispatch_uid="django_jobs.sqlite")
