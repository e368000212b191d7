"""What the benchmark runs. It does nothing, so that the numbers are what a job costs."""

from __future__ import annotations

import time
from pathlib import Path

from django_jobs import Concurrency, JobContext, task, workflow


@task(slug="benchmark.noop")
def noop(number: int = 0) -> None:
    pass


@task(slug="benchmark.pick-up")
def pick_up(enqueued_at: float) -> float:
    """Return how many seconds ago the job was enqueued."""
    return time.time() - enqueued_at


@task(slug="benchmark.in-line", concurrency=Concurrency(key=lambda input, queue: "benchmark"))
def in_line(file: str) -> None:
    """Keep the key, and the jobs in its line waiting, as long as the file exists."""
    while Path(file).exists():
        time.sleep(0.05)


@workflow(slug="benchmark.steps")
def steps(ctx: JobContext, count: int) -> None:
    for number in range(count):
        ctx.inline(f"step-{number}", int)
