from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from django.db import connection, connections

from tests.databases import url_of
from tests.processes import Process
from tests.testapp.journal import VARIABLE, Journal


class RunJobs(Protocol):
    def __call__(self, *args: str, **env: str) -> Process: ...


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("only_on"):
        if connection.vendor not in marker.args:
            pytest.skip(f"runs on {', '.join(marker.args)} only")


@pytest.fixture(scope="session", autouse=True)
def quick_flush() -> Iterator[None]:
    """Empty PostgreSQL's tables by DELETE after a test that commits.

    Django's TRUNCATE makes new files for each table and index, which for tables of a few rows
    is most of the time of such a test.
    """
    if connection.vendor != "postgresql":
        yield
        return
    operations = type(connection.ops)
    truncate = operations.sql_flush

    def sql_flush(
        self: Any, style: Any, tables: list[str], *, reset_sequences: bool = False, **options: Any
    ) -> list[str]:
        if reset_sequences:
            return truncate(self, style, tables, reset_sequences=True, **options)
        return [f"DELETE FROM {self.quote_name(table)}" for table in tables]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "sql_flush", sql_flush)
        yield


@pytest.fixture(autouse=True)
def isolated_registry() -> Iterator[None]:
    """Forget the tasks that a test declares when it ends."""
    from django_jobs.tasks import registry

    with registry.isolated():
        yield


@pytest.fixture
def vendor() -> str:
    """The database that the suite runs on: sqlite, postgresql or mysql."""
    return connection.vendor


@pytest.fixture
def worker_env(transactional_db: None, journal: Journal) -> dict[str, str]:
    """The environment in which another process uses this test's database."""
    return {
        **os.environ,
        "DATABASE_URL": url_of(connection.settings_dict),
        "OTHER_DATABASE_URL": url_of(connections["other"].settings_dict),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """What the handlers of this test write down, here and in the workers that it starts."""
    path = tmp_path / "journal"
    monkeypatch.setenv(VARIABLE, str(path))
    return Journal(path)


@pytest.fixture
def runjobs(worker_env: dict[str, str], tmp_path: Path) -> Iterator[RunJobs]:
    """Start ``manage.py runjobs`` with these arguments; it ends with the test."""
    started: list[Process] = []

    def start(*args: str, **env: str) -> Process:
        output = tmp_path / f"runjobs-{len(started)}.log"
        process = Process("runjobs", *args, env=worker_env | env, output=output)
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()
