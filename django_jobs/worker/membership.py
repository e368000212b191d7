"""The row by which a worker process is known."""

from __future__ import annotations

import threading

from django_jobs.fields import DatabaseNow
from django_jobs.models import Worker
from django_jobs.worker import identity


class Membership:
    """A new row at each start: no process is ever taken for another one."""

    def __init__(self, queues: tuple[str, ...] | None, using: str) -> None:
        self.queues = queues
        self.using = using
        self.id: int | None = None
        self._left = False
        self._lock = threading.Lock()

    def join(self) -> None:
        own = identity.own()
        row = Worker(
            host=own.host,
            pid=own.pid,
            boot_id=own.boot_id,
            pid_namespace=own.pid_namespace,
            process_start=own.process_start,
            queues=list(self.queues or ()),
            started_at=DatabaseNow(),
            last_heartbeat_at=DatabaseNow(),
        )
        row.save(force_insert=True, using=self.using)
        self.id = row.pk

    def beat(self, jobs_running: int) -> None:
        """Say that the worker lives; join again where its row was deleted for its silence."""
        with self._lock:
            if self._left:
                return
            rows = Worker.objects.using(self.using).filter(pk=self.id)
            if not rows.update(last_heartbeat_at=DatabaseNow(), jobs_running=jobs_running):
                self.join()

    def leave(self) -> None:
        with self._lock:
            self._left = True
            Worker.objects.using(self.using).filter(pk=self.id).delete()
