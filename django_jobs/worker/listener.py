"""Hear from PostgreSQL that a job was enqueued, on a connection of its own."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from typing import Any

from django.db import connections

from django_jobs.queue.notify import ANY_QUEUE, CHANNEL
from django_jobs.worker.outage import DISCONNECTED, Outage

logger = logging.getLogger("django_jobs.listener")

# How often the loop looks whether it is to stop.
TURN = 1.0
# How long a notification to oneself may take. A transaction pooler swallows it.
TEST_SECONDS = 5.0


class Listener:
    """Calls `on_notify` for each notification of one of the queues; None means all of them."""

    def __init__(
        self, using: str, queues: tuple[str, ...] | None, on_notify: Callable[[], None]
    ) -> None:
        self.using = using
        self.queues = queues
        self.on_notify = on_notify
        self.hears = threading.Event()
        self._mark = f",{uuid.uuid4()}"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs-listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        outage = Outage(self.using, "the listener")
        while not self._stopped.is_set():
            connection = connections.create_connection(self.using)
            try:
                connection.ensure_connection()
                self._listen(connection.connection, outage)
            except Exception as error:
                if not isinstance(error, DISCONNECTED) and not _is_disconnect(error):
                    logger.exception("The listener failed; jobs are found by polling")
                    return
                self._stopped.wait(outage.note(error))
            finally:
                self.hears.clear()
                connection.close()

    def _listen(self, raw: Any, outage: Outage) -> None:
        """Wait for notifications until the connection breaks or the worker stops."""
        raw.autocommit = True
        raw.execute(f"LISTEN {CHANNEL}")
        raw.execute("SELECT pg_notify(%s, %s)", [CHANNEL, self._mark])
        outage.end()
        waited = 0.0
        # What was enqueued before LISTEN took effect was not heard.
        self.on_notify()
        while not self._stopped.is_set():
            for notification in raw.notifies(timeout=TURN, stop_after=1):
                self._hear(notification.payload)
            if not self.hears.is_set():
                waited += TURN
                self._warn_once(waited)

    def _hear(self, payload: str) -> None:
        if payload == self._mark:
            self.hears.set()
        elif self.queues is None or payload == ANY_QUEUE or payload in self.queues:
            self.on_notify()

    def _warn_once(self, waited: float) -> None:
        if TEST_SECONDS <= waited < TEST_SECONDS + TURN:
            logger.warning(
                "Notifications do not arrive, as behind a pooler in transaction mode: jobs are "
                "found by polling only. Connect workers to PostgreSQL directly, or set "
                "DJANGO_JOBS['NOTIFY'] to False."
            )


def _is_disconnect(error: BaseException) -> bool:
    """Whether psycopg itself, not wrapped by Django here, says that the connection broke."""
    return any(
        kind.__name__ in ("OperationalError", "InterfaceError") for kind in type(error).mro()
    )
