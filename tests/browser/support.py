from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from django.db import connections
from playwright.sync_api import Locator

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


def press_tab_until(wanted: Locator, most: int = 200) -> None:
    """Go through what can have the focus until this has it; fail where it never does."""
    for _ in range(most):
        wanted.page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"{wanted} is not reached by {most} × Tab.")
