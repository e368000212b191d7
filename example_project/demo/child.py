"""The worker of a command: a child process that never outlives it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from django.conf import settings

SHUTDOWN_TIMEOUT = 10


class WorkerProcess:
    """Runs with these flags of `runjobs`, in this environment or in that of the command."""

    def __init__(self, *flags: str, env: Mapping[str, str] | None = None) -> None:
        self.env = env
        self.log = Path(settings.VAR_DIR) / "worker.log"
        self.command = [
            sys.executable,
            str(settings.BASE_DIR / "manage.py"),
            "demo_worker",
            *flags,
            f"--shutdown-timeout={SHUTDOWN_TIMEOUT}",
        ]

    def __enter__(self) -> Self:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(  # noqa: S603
                self.command,
                env=self.env,
                stdin=subprocess.PIPE,  # its end tells the worker that the command has gone
                stdout=log,
                stderr=log,
                start_new_session=True,  # the command passes CONTROL-C on, the terminal does not
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the running jobs end; a CONTROL-C meanwhile stops them at once."""
        self.process.terminate()
        try:
            self.wait()
        except KeyboardInterrupt:
            self.process.terminate()
            self.wait()

    def wait(self) -> None:
        try:
            self.process.wait(SHUTDOWN_TIMEOUT + 5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def has_died(self) -> bool:
        return self.process.poll() is not None

    def last_words(self) -> str:
        return "".join(self.log.read_text(errors="replace").splitlines(keepends=True)[-15:])
