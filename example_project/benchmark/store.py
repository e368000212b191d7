"""The database of the benchmark: made for it beside the project's, and dropped at its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core.management.color import no_style
from django.db import connection


@contextmanager
def own_database() -> Iterator[str]:
    """Yield the URL of an empty database on the project's server; one left over is replaced."""
    given = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = name_beside(given)
    name = connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield url_of(name)
    finally:
        connection.creation.destroy_test_db(given, verbosity=0)


def name_beside(given: str | Path) -> str:
    if connection.vendor == "sqlite":
        return str(settings.VAR_DIR / "benchmark.sqlite3")
    return f"benchmark_{given}"


def url_of(name: str) -> str:
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


def empty() -> None:
    tables = [model._meta.db_table for model in apps.get_app_config("django_jobs").get_models()]
    statements = connection.ops.sql_flush(
        no_style(), tables, reset_sequences=True, allow_cascade=True
    )
    connection.ops.execute_sql_flush(statements)


def analyze() -> None:
    """Bring the statistics of the planner up to date, as the database does by itself in time."""
    statement = {"postgresql": "VACUUM ANALYZE", "sqlite": "ANALYZE"}.get(connection.vendor)
    if statement:
        with connection.cursor() as cursor:
            cursor.execute(statement)


def end_session() -> None:
    """Have what this process has done counted now; PostgreSQL does so up to ten seconds late."""
    connection.close()


def transactions() -> int | None:
    """Return how many transactions there have been in the database, where it tells."""
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database "
            "WHERE datname = current_database()"
        )
        return cursor.fetchone()[0]
