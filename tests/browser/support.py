from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from django.db import connections

from django_jobs import testing


def run_jobs() -> None:
    """Run what is due as a worker does, in another thread: this one has the browser's loop."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_run_jobs).result()


def _run_jobs() -> None:
    try:
        testing.run_jobs()
    finally:
        connections.close_all()
