"""What every scenario measures with: worker processes, and the times that jobs were given."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.core.management import CommandError
from django.db.models import Count, Max, Min, QuerySet

from benchmark.sizes import Sizes
from demo.child import WorkerProcess
from django_jobs.models import Job

SECONDS_BETWEEN_LOOKS = 0.1
# The advice for many short jobs: see docs/how-to/run-workers.md.
FOR_SHORT_JOBS = "--limit=500"
# Two lines of the log for each job take longer than the job.
QUIET = "--verbosity=0"


@dataclass(frozen=True, slots=True)
class Bench:
    sizes: Sizes
    # The database in which it happens.
    url: str
    # Called with what is being done.
    say: Callable[[str], None]

    def worker(self, *flags: str) -> WorkerProcess:
        """Return a worker with the defaults of DJANGO_JOBS, to be entered as a context."""
        env = {
            **os.environ,
            "DATABASE_URL": self.url,
            "DJANGO_SETTINGS_MODULE": "benchmark.settings",
        }
        return WorkerProcess(*flags, QUIET, env=env)

    def drain(self, *flags: str, after: int = 0) -> float:
        """Start a worker; return how many jobs a second it ran, of those added later."""
        jobs = Job.objects.filter(pk__gt=after)
        self.say(f"running {jobs.count():,} jobs")
        with self.worker(FOR_SHORT_JOBS, *flags) as worker:
            wait_for(jobs, worker)
        return jobs_per_second(jobs)


def wait_until(condition: Callable[[], bool], worker: WorkerProcess) -> None:
    while not condition():
        if worker.has_died:
            raise CommandError(f"The worker ended early. Its last words:\n{worker.last_words()}")
        time.sleep(SECONDS_BETWEEN_LOOKS)


def wait_for(jobs: QuerySet[Job], worker: WorkerProcess) -> None:
    # From the end: the last ones are the last to finish, and found at once until then.
    unfinished = jobs.filter(completed_at=None).order_by("-pk")
    wait_until(lambda: not unfinished.exists(), worker)


def jobs_per_second(jobs: QuerySet[Job]) -> float:
    """From the first claim to the last record, by the clock of the database."""
    span = jobs.aggregate(first=Min("started_at"), last=Max("completed_at"), count=Count("pk"))
    return span["count"] / (span["last"] - span["first"]).total_seconds()
