"""Real worker processes, for the tests that kill them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POLL = 0.02


class Process:
    """A ``manage.py`` command running in a process group of its own, its output in a file."""

    def __init__(self, *args: str, env: dict[str, str], output: Path) -> None:
        self.output_path = output
        with output.open("wb") as file:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "django", *args],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell has what it runs in the background ignore it, tests and all.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def output(self) -> str:
        return self.output_path.read_text(errors="replace")

    def wait_for(self, pattern: str, *, timeout: float = 60) -> re.Match[str]:
        """Return the first match of this pattern in the output, as soon as it is there."""
        deadline = time.monotonic() + timeout
        while True:
            # Asked before the output is read, so that the last words of a process are seen.
            ended = self.popen.poll() is not None
            if match := re.search(pattern, self.output):
                return match
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"{self._state()} and {pattern!r} is not in:\n{self.output}")
            time.sleep(POLL)

    def wait(self, *, timeout: float = 60) -> int:
        """Return the exit status once the process has ended."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self._state()} after {timeout} s:\n{self.output}") from None

    def send_signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        """End the process by SIGKILL and wait until it is gone."""
        self.popen.kill()
        self.popen.wait()

    def stop(self, *, grace: float = 5) -> None:
        """Ask the process to end, then end it and whatever it has started."""
        self.popen.terminate()
        try:
            self.popen.wait(grace)
        except subprocess.TimeoutExpired:
            self.popen.kill()
        self._kill_group()
        self.popen.wait()

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _state(self) -> str:
        status = self.popen.poll()
        return "The process is running" if status is None else f"The process ended with {status}"
