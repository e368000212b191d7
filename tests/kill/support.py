"""What the tests that kill workers share."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterable
from contextlib import closing

from django.db import connection

from django_jobs.models import Job, JobStatus
from tests.processes import Process
from tests.testapp.journal import until


def settings(**values: object) -> str:
    """Return the setting DJANGO_JOBS as workers take it from their environment."""
    return json.dumps(values)


def wait_until_finished(jobs: Iterable[Job], *, timeout: float = 60) -> list[Job]:
    """Return the jobs, brought up to date, when all of them are finished."""
    pks = [job.pk for job in jobs]
    unfinished = Job.objects.filter(pk__in=pks).unfinished()
    until(lambda: not unfinished.exists(), timeout=timeout, what=f"the end of jobs {pks[:5]}")
    by_pk = Job.objects.in_bulk(pks)
    return [by_pk[pk] for pk in pks]


def wait_until_status(job: Job, status: JobStatus, *, timeout: float = 60) -> Job:
    def has_it() -> bool:
        job.refresh_from_db()
        return job.status == status

    until(has_it, timeout=timeout, what=f"the status {status} of job {job.pk}")
    return job


def states(job: Job) -> list[str]:
    return list(job.log.values_list("state", flat=True))


def freeze(process: Process) -> None:
    """Stop the process by SIGSTOP, at a moment when it does not lock the SQLite file."""

    def frozen() -> bool:
        process.send_signal(signal.SIGSTOP)
        if connection.vendor != "sqlite" or _is_unlocked(connection.settings_dict["NAME"]):
            return True
        process.send_signal(signal.SIGCONT)
        return False

    until(frozen, what="a moment between two transactions")


def _is_unlocked(name: str) -> bool:
    with closing(sqlite3.connect(name, timeout=0.2)) as file:
        try:
            file.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return False
    return True
