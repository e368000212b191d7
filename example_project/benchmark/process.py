"""What the system tells of a process; nothing where it has no /proc."""

from __future__ import annotations

import os
from pathlib import Path


def cpu_seconds(pid: int) -> float | None:
    stat = _read(pid, "stat")
    if stat is None:
        return None
    # The name of the program, in parentheses, may have spaces.
    user, system = stat[stat.rindex(")") + 2 :].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(pid: int) -> float | None:
    statm = _read(pid, "statm")
    if statm is None:
        return None
    return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024**2


def _read(pid: int, name: str) -> str | None:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return None
