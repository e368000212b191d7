"""Threads and processes that do something at the same moment."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import connections

from tests.processes import ROOT

R = TypeVar("R")

PATIENCE = 60


def at_once(*functions: Callable[[], R]) -> list[R]:
    """Call the functions in threads, all at the same moment; return what they returned.

    What the first of them raised is raised.
    """
    barrier = threading.Barrier(len(functions))
    threads = [Running(function, barrier) for function in functions]
    return [thread.result() for thread in threads]


class Running:
    """A function that runs in a thread with connections of its own."""

    def __init__(self, function: Callable[[], Any], barrier: threading.Barrier | None = None):
        self._function = function
        self._barrier = barrier
        self._returned: Any = None
        self._raised: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            if self._barrier is not None:
                self._barrier.wait(PATIENCE)
            self._returned = self._function()
        except BaseException as error:
            self._raised = error
        finally:
            connections.close_all()

    def result(self) -> Any:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "The thread hangs."
        if self._raised is not None:
            raise self._raised
        return self._returned


class Programs:
    """Processes that each call a function of `tests.races.program` at the same moment."""

    def __init__(self, calls: Sequence[tuple[Any, ...]], env: dict[str, str]) -> None:
        self._processes = [self._start(call, env) for call in calls]

    def _start(self, call: tuple[Any, ...], env: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.races.program", json.dumps(call)],
            cwd=ROOT, env=env, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def wait_until_ready(self) -> None:
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate(timeout=5)[1]

    def go(self) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()

    def results(self) -> list[Any]:
        """Return what the functions returned, when all processes have ended."""
        return [self._result(process) for process in self._processes]

    def _result(self, process: subprocess.Popen[str]) -> Any:
        output, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
        return json.loads(output)

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
