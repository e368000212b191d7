"""The example has settings of its own, so it is tried as its users try it: by commands."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.processes import POLL, ROOT, Process

EXAMPLE = ROOT / "example_project"


class Example:
    """The example project with its files and its SQLite database in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.var = folder
        self.started: list[Process] = []
        self.env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "EXAMPLE_VAR": str(folder),
            "PYTHONPATH": os.pathsep.join([str(EXAMPLE), str(ROOT)]),
            "PYTHONUNBUFFERED": "1",
        }
        for name in ("DATABASE_URL", "DEBUG", "SECRET_KEY", "TERM"):
            self.env.pop(name, None)

    def start(self, *args: str) -> Process:
        output = self.var / f"output-{len(self.started)}.txt"
        process = Process(*args, env=self.env, output=output)
        self.started.append(process)
        return process

    def demo(self, *args: str) -> str:
        """Run the demo to its end and return what it printed."""
        process = self.start("demo", *args)
        assert process.wait(timeout=60) == 0, process.output
        return process.output

    def rows(self, query: str) -> list[tuple]:
        path = self.var / "db.sqlite3"
        with closing(sqlite3.connect(path, timeout=20)) as connection:
            return connection.execute(query).fetchall()

    def number(self, query: str) -> int:
        return self.rows(query)[0][0]

    def wait_for_steps(self, count: int, *, timeout: float = 60) -> None:
        """Wait until so many steps of jobs have succeeded."""
        deadline = time.monotonic() + timeout
        query = "select count(*) from django_jobs_joblog where state = 'succeeded'"
        while self.number(query) < count:
            assert time.monotonic() < deadline, self.started[-1].output
            time.sleep(POLL)

    def stop(self) -> None:
        for process in self.started:
            process.stop()


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Example]:
    example = Example(tmp_path)
    yield example
    example.stop()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """An example whose demo has been run once, from nothing to its end."""
    example = Example(tmp_path_factory.mktemp("example"))
    example.demo("--jobs", "30")
    yield example
    example.stop()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
