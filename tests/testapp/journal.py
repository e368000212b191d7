"""What handlers in worker processes tell the test that started them, by way of files.

Each line of the journal is a moment (nanoseconds of the monotonic clock, which all processes
of a machine share), a process id, and words. A handler that waits does so for its gate, a
file that the test makes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

R = TypeVar("R")

VARIABLE = "JOURNAL"
POLL = 0.01
PATIENCE = 60.0


@dataclass(frozen=True, slots=True, order=True)
class Line:
    moment: int
    pid: int
    words: tuple[str, ...]


class Journal:
    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, *words: object) -> None:
        """Append a line; one write, so that lines of several processes do not mix."""
        line = " ".join(map(str, (time.monotonic_ns(), os.getpid(), *words))) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def lines(self, *words: object) -> list[Line]:
        """Return the lines that begin with these words, oldest first."""
        wanted = tuple(map(str, words))
        text = self.path.read_text() if self.path.exists() else ""
        # The last line may be just about to be written.
        whole, _newline, _begun = text.rpartition("\n")
        parts = [line.split(" ") for line in whole.splitlines()]
        lines = [Line(int(moment), int(pid), tuple(rest)) for moment, pid, *rest in parts]
        return sorted(line for line in lines if line.words[: len(wanted)] == wanted)

    def wait_for(self, *words: object, count: int = 1, timeout: float = 60) -> Line:
        """Return the `count`th line that begins with these words, as soon as it is there."""

        def found() -> Line | None:
            lines = self.lines(*words)
            return lines[count - 1] if len(lines) >= count else None

        return until(found, timeout=timeout, what=f"{count} × {words} in {self.lines()}")

    def open(self, gate: str) -> None:
        self._gate(gate).touch()

    def pass_through(self, gate: str) -> None:
        """Wait until the gate is open, to all processes or to this one."""

        def is_open() -> bool:
            return self.is_open(gate) or self.is_open(f"{gate}-{os.getpid()}")

        until(is_open, timeout=PATIENCE, what=f"the gate {gate!r}")

    def is_open(self, gate: str) -> bool:
        return self._gate(gate).exists()

    def _gate(self, name: str) -> Path:
        return self.path.with_name(f"{self.path.name}-{name}")


def current() -> Journal:
    """Return the journal of the test that this process was started by."""
    return Journal(Path(os.environ[VARIABLE]))


def until(condition: Callable[[], R | None], *, timeout: float = 60, what: str = "") -> R:
    """Return what the condition returns as soon as that is true."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or condition} did not come about in {timeout} s.")
        time.sleep(POLL)
    return result
