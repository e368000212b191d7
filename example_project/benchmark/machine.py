"""Where and with what the figures came about: without it they say little."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import django
from django.db import connection

import django_jobs

DRIVERS = {"postgresql": "psycopg", "mysql": "mysqlclient"}


def machine() -> dict[str, str | int]:
    return {
        "processor": processor(),
        "cores": os.cpu_count() or 0,
        "memory GB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3),
        "system": f"{platform.system()} {platform.release()}",
    }


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    found = {
        "django_jobs": django_jobs.__version__,
        "Django": django.__version__,
        "Python": platform.python_version(),
        connection.display_name: ".".join(map(str, connection.get_database_version())),
    }
    driver = DRIVERS.get(connection.vendor)
    if driver:
        found[driver] = _version(driver)
    return found


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
