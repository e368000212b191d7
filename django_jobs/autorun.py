"""Jobs in the web process: at the ticks of AUTORUN, or after a response.

For sites without a worker. What the process does not get to, another one or a worker does.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.core import mail
from django.core.signals import request_finished, request_started
from django.db import connections
from django.http import HttpRequest
from django.utils.module_loading import import_string

from django_jobs import conf
from django_jobs.worker.pace import Pace

logger = logging.getLogger("django_jobs.autorun")

# What to run when the response of this request has been sent.
_after_response: ContextVar[tuple[str, int] | None] = ContextVar("after_response", default=None)
_one_at_a_time = threading.Lock()


@dataclass(slots=True)
class Entry:
    """One item of the setting AUTORUN, and when it is due next."""

    pace: Pace
    run: Callable[[], None]


class _Process:
    """The background thread of this process; a fork begins without one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.started = False

    def start_once(self) -> None:
        if self.started or not conf.get().AUTORUN or _is_testing():
            return
        with self.lock:
            first, self.started = not self.started, True
        if first:
            threading.Thread(target=_loop, name="jobs-autorun", daemon=True).start()


_process = _Process()


def _after_fork() -> None:
    global _process, _one_at_a_time
    _process, _one_at_a_time = _Process(), threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def _is_testing() -> bool:
    """Whether Django's test environment is set up, which replaces the outbox."""
    return hasattr(mail, "outbox")


def _loop() -> None:
    entries = [
        Entry(Pace(str(entry["cron"])), partial(_tick, entry)) for entry in conf.get().AUTORUN
    ]
    resting = threading.Event()
    while True:
        resting.wait(min(entry.pace.seconds_to_next_tick() for entry in entries))
        for entry in entries:
            if entry.pace.is_time():
                entry.run()
                # Ticks that passed meanwhile are left out: one never overlaps itself.
                entry.pace.end_of_pass()


def _tick(entry: Mapping[str, Any]) -> None:
    """Run one pass; an error in it does not end the next."""
    from django_jobs import jobs

    try:
        if not _should_run():
            return
        which = {
            "queue": entry.get("queue", "default"),
            "all_queues": entry.get("all_queues", False),
        }
        if not entry.get("disable_scheduling", False):
            jobs.handle_schedules(**which)
        jobs.run(limit=entry.get("limit", 10), **which)
    except Exception:
        logger.exception("A pass of AUTORUN failed")
    finally:
        connections.close_all()


def _should_run() -> bool:
    should = conf.get().SHOULD_AUTORUN
    if isinstance(should, str):
        should = import_string(should)
    return should is None or bool(should())


def run_after_response(request: HttpRequest, queue: str = "default", limit: int = 10) -> None:
    """Run due jobs in this process once the response to `request` has been sent."""
    _after_response.set((queue, limit))


def _request_started(**kwargs: Any) -> None:
    _after_response.set(None)
    _process.start_once()


def _request_finished(**kwargs: Any) -> None:
    wanted = _after_response.get()
    if wanted is None:
        return
    _after_response.set(None)
    # In a thread of its own: servers close the connection only when this has returned.
    threading.Thread(
        target=_run_after, args=wanted, name="jobs-after-response", daemon=True
    ).start()


def _run_after(queue: str, limit: int) -> None:
    from django_jobs import jobs

    try:
        with _one_at_a_time:
            jobs.run(queue=queue, limit=limit)
    except Exception:
        logger.exception("Running jobs after the response failed")
    finally:
        connections.close_all()


def connect() -> None:
    request_started.connect(_request_started, dispatch_uid="django_jobs.autorun")
    request_finished.connect(_request_finished, dispatch_uid="django_jobs.autorun")
