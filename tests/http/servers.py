"""Web servers as people run them, in processes of their own."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.processes import ROOT
from tests.testapp.journal import until

GUNICORN = ["gunicorn", "--graceful-timeout", "1", "--timeout", "60", "--bind"]
UVICORN = ["uvicorn", "--factory", "--timeout-graceful-shutdown", "1", "--port"]


class WebServer:
    """A server for `tests.http.site`; `kind` is gunicorn or uvicorn."""

    def __init__(self, kind: str, *args: str, env: dict[str, str], output: Path) -> None:
        self.output_path = output
        self.port = free_port()
        command = {
            "gunicorn": [*GUNICORN, f"127.0.0.1:{self.port}", *args, "tests.http.site:wsgi()"],
            "uvicorn": [*UVICORN, str(self.port), *args, "tests.http.site:asgi"],
        }[kind]
        with output.open("wb") as file:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=ROOT, env=env, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
        until(self._answers, what=f"A server on port {self.port}")

    def _answers(self) -> bool:
        assert self.popen.poll() is None, self.output
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def output(self) -> str:
        return self.output_path.read_text(errors="replace")

    def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Return the status and the whole body, as soon as the client has them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def kill(self) -> None:
        """End the server and its workers at once, as a power cut would."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
