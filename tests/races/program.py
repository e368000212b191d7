"""What one process of a race does: ``python -m tests.races.program '["function", …]'``.

It says when it is ready, and begins when it is told to.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import django


def enqueue(slug: str, times: int, input: dict[str, Any]) -> list[tuple[int, bool]]:
    from django_jobs import jobs

    added = [jobs.enqueue(slug, input) for _ in range(times)]
    return [(job.pk, job.was_duplicate) for job in added]


def run_one() -> int:
    from django_jobs import jobs

    return len(jobs.run(limit=1).job_status)


def run_until_empty(limit: int) -> int:
    """Make passes until every job has finished; return how many jobs this process ran."""
    from django_jobs import jobs
    from django_jobs.models import Job

    ran = 0
    while Job.objects.unfinished().exists():
        ran += len(jobs.run(limit=limit, all_queues=True).job_status)
    return ran


def main() -> None:
    django.setup()
    import tests.races.tasks  # noqa: F401

    name, *arguments = json.loads(sys.argv[1])
    functions: dict[str, Callable[..., Any]] = {
        "enqueue": enqueue, "run_one": run_one, "run_until_empty": run_until_empty,
    }  # fmt: skip
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    json.dump(functions[name](*arguments), sys.stdout)


if __name__ == "__main__":
    main()
