from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable

import pytest

from django_jobs.management.console import ConsoleHandler
from tests.conftest import RunJobs
from tests.testapp.tasks import note


class Console(io.StringIO):
    """What was written, and by how many writes."""

    writes = 0
    gone = False

    def write(self, text: str) -> int:
        if self.gone:
            raise BrokenPipeError
        self.writes += 1
        # As the output of a command does.
        return super().write(f"{text}\n")

    @property
    def lines(self) -> list[str]:
        return self.getvalue().splitlines()


@pytest.fixture
def console() -> Console:
    return Console()


@pytest.fixture
def handler(console: Console) -> ConsoleHandler:
    return ConsoleHandler(console)


def log(handler: logging.Handler, text: str) -> None:
    handler.handle(logging.LogRecord("a", logging.INFO, "a.py", 1, "%s", (text,), None))


def wait_for(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)


def test_a_line_is_written_at_once(handler: ConsoleHandler, console: Console) -> None:
    log(handler, "one")
    assert console.lines == ["one"]


def test_a_line_soon_after_it_is_written_without_another(
    handler: ConsoleHandler, console: Console
) -> None:
    for text in ("one", "two", "three"):
        log(handler, text)
    wait_for(lambda: console.lines == ["one", "two", "three"])
    assert console.writes <= 3
    log(handler, "four")
    wait_for(lambda: console.lines[3:] == ["four"])


def test_lines_of_many_threads_are_all_written_in_order_and_together(
    handler: ConsoleHandler, console: Console
) -> None:
    def say(name: str) -> None:
        for number in range(1_000):
            log(handler, f"{name} {number}")

    threads = [threading.Thread(target=say, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handler.flush()
    for name in "abcd":
        own = [line for line in console.lines if line.startswith(name)]
        assert own == [f"{name} {number}" for number in range(1_000)]
    assert len(console.lines) == 4_000
    assert console.writes < 400


def test_a_filter_may_refuse_a_line(handler: ConsoleHandler, console: Console) -> None:
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    log(handler, "secret")
    log(handler, "open")
    assert console.lines == ["open"]


def test_a_console_that_is_gone_does_not_stop_the_work(
    handler: ConsoleHandler, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    console.gone = True
    log(handler, "lost")
    log(handler, "lost, too")
    wait_for(lambda: "BrokenPipeError" in capsys.readouterr().err)
    console.gone = False
    log(handler, "back")
    handler.flush()
    assert console.lines[-1] == "back"


def test_a_worker_has_written_all_lines_when_it_says_that_it_stopped(runjobs: RunJobs) -> None:
    jobs = note.enqueue_many([{"name": "here"}] * 200)
    worker = runjobs("--until-empty")
    assert worker.wait() == 0
    lines = worker.output.splitlines()
    assert lines[-1] == "Stopped. 200 jobs were run."
    for job in jobs:
        own = [line for line in lines if f" Job {job.pk} " in line]
        assert [line.split()[6] for line in own] == ["started,", "succeeded"]
