"""Which process of which machine this is."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# In /proc/PID/stat, counted from the field behind the command's name.
_START_TIME_FIELD = 19


@dataclass(frozen=True, slots=True)
class Identity:
    """Names one process for ever; empty strings where the system does not tell.

    Host name and process id alone do not: containers share them, and they are used again.
    """

    host: str
    pid: int
    boot_id: str
    pid_namespace: str
    process_start: str

    @property
    def is_certain(self) -> bool:
        return bool(self.boot_id and self.pid_namespace and self.process_start)


def own() -> Identity:
    pid = os.getpid()
    return Identity(
        host=socket.gethostname(),
        pid=pid,
        boot_id=boot_id(),
        pid_namespace=pid_namespace(),
        process_start=process_start(pid),
    )


@cache
def boot_id() -> str:
    return _read(Path("/proc/sys/kernel/random/boot_id"))


def pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def process_start(pid: int) -> str:
    """Return when the process started, in ticks since boot; "" where it is gone."""
    _, _, fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")
    words = fields.split()
    # A zombie runs no more, though its parent has not taken note.
    if len(words) <= _START_TIME_FIELD or words[0] in ("Z", "X"):
        return ""
    return words[_START_TIME_FIELD]


def is_gone(pid: int, start: str) -> bool:
    """Whether the process of this pid that started then is no more, beyond doubt."""
    now = process_start(pid)
    if now:
        return now != start
    # It may be one that this user is not shown, as where /proc is mounted with hidepid.
    return not _is_hidden(pid)


def _is_hidden(pid: int) -> bool:
    if Path(f"/proc/{pid}").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(path: Path) -> str:
    try:
        # The name of a command may be cut within a character.
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
