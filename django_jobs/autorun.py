"""Jobs in the web process: at the ticks of AUTORUN, or after a response.

For sites without a worker. What the process does not get to, another one or a worker does.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_started
from django.db import connections
from django.http import HttpRequest
from django.utils.module_loading import import_string

from django_jobs import conf
from django_jobs.worker.pace import Pace

if TYPE_CHECKING:
    from django_jobs.jobs import RunResult

logger = logging.getLogger("django_jobs.autorun")

# How many jobs are claimed at once after responses, however many are asked for.
MOST_AT_ONCE = 100

Wanted = tuple[str, int]


@dataclass(slots=True)
class Entry:
    """One item of the setting AUTORUN, and when it is due next."""

    pace: Pace
    run: Callable[[], None]


class _Ticks:
    """The background thread of this process, for AUTORUN."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = False

    def start_once(self) -> None:
        if self._started or not _entries() or _is_testing():
            return
        with self._lock:
            first, self._started = not self._started, True
        if first:
            threading.Thread(target=_loop, name="jobs-autorun", daemon=True).start()


class _AfterResponses:
    """The thread that runs what responses have left, one pass after the other, while any has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: Counter[str] = Counter()
        self._running = False

    def add(self, wanted: Sequence[Wanted]) -> None:
        with self._lock:
            for queue, limit in wanted:
                self._wanted[queue] += limit
            starts = bool(wanted) and not self._running
            self._running = self._running or starts
        if starts:
            # Not in the server's thread, which closes the connection after this only.
            threading.Thread(target=self._run, name="jobs-after-response", daemon=True).start()

    def _run(self) -> None:
        try:
            while wanted := self._take():
                self._pass(*wanted)
        finally:
            connections.close_all()

    def _take(self) -> Wanted | None:
        """Return what to run next; None where nothing is left and the thread has to end."""
        with self._lock:
            if self._wanted:
                return self._wanted.popitem()
            self._running = False
            return None

    def _pass(self, queue: str, limit: int) -> None:
        result = _run_pass(queue, min(limit, MOST_AT_ONCE))
        if limit > MOST_AT_ONCE and result is not None and not result.no_jobs_remaining:
            with self._lock:
                self._wanted[queue] += limit - MOST_AT_ONCE


_ticks, _after_responses = _Ticks(), _AfterResponses()


def _after_fork() -> None:
    """Begin anew: a fork has none of the threads, and maybe a lock that nobody will release."""
    global _ticks, _after_responses
    _ticks, _after_responses = _Ticks(), _AfterResponses()


os.register_at_fork(after_in_child=_after_fork)


def _is_testing() -> bool:
    """Whether Django's test environment is set up, which replaces the outbox."""
    return hasattr(mail, "outbox")


def _entries() -> Sequence[Mapping[str, Any]]:
    try:
        return conf.get().AUTORUN
    except ImproperlyConfigured:
        # A check says so; the requests of the site go on.
        return ()


def _loop() -> None:
    entries = list(filter(None, map(_entry, _entries())))
    resting = threading.Event()
    while entries:
        resting.wait(min(entry.pace.seconds_to_next_tick() for entry in entries))
        for entry in entries:
            if entry.pace.is_time():
                entry.run()
                # Ticks that passed meanwhile are left out: one never overlaps itself.
                entry.pace.end_of_pass()


def _entry(given: Mapping[str, Any]) -> Entry | None:
    try:
        return Entry(Pace(given["cron"]), partial(_tick, given))
    except Exception as error:
        logger.error("The entry %r of AUTORUN cannot be used: %s", given["cron"], error)
        return None


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
    # That of Django, where a framework wraps it in its own.
    request = getattr(request, "_request", request)
    wanted: list[Wanted] | None = vars(request).get("_jobs_after_response")
    if wanted is None:
        wanted = []
        vars(request).update(
            _jobs_after_response=wanted, close=partial(_close, request.close, wanted)
        )
    wanted.append((queue, limit))


def _close(close: Callable[[], None], wanted: list[Wanted]) -> None:
    """Close a request, as Django does when the response has been sent, and go to its jobs.

    The signal request_finished does not say of which request, nor is it sent, under ASGI, in
    the context of one.
    """
    from django_jobs.models import database_alias
    from django_jobs.worker.runner import must_run_inline

    close()
    left = wanted.copy()
    wanted.clear()
    if not must_run_inline(database_alias()):
        _after_responses.add(left)
        return
    # In a test that is one transaction, another thread would see nothing of it.
    for queue, limit in left:
        _run_pass(queue, limit)


def _run_pass(queue: str, limit: int) -> RunResult | None:
    from django_jobs import jobs

    try:
        return jobs.run(queue=queue, limit=limit)
    except Exception:
        logger.exception("Running jobs after the response failed")
        return None


def _request_started(**kwargs: Any) -> None:
    _ticks.start_once()


def connect() -> None:
    request_started.connect(_request_started, dispatch_uid="django_jobs.autorun")
