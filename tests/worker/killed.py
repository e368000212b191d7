"""A process that runs one atomic job and is killed at the point that it is told.

Run as `python -m tests.worker.killed POINT JOB_ID`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

POINTS = ("before the write", "after the write", "before the record", "before COMMIT")
AFTER = "after COMMIT"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def declare(point: str = "") -> tuple[Any, Any]:
    from django_jobs import task, workflow
    from tests.testapp.models import Receipt

    @task(slug="killed", atomic=True)
    def killed() -> str:
        plant(point)
        if point == "before the write":
            die()
        Receipt.objects.create(key="paid")
        if point == "after the write":
            die()
        return "paid"

    @workflow(slug="around-killed")
    def around(ctx: Any) -> Any:
        return ctx.run("pay", "killed")

    return killed, around


def plant(point: str) -> None:
    """Make this thread's connection the place where the process dies."""
    from django.db import connection

    def before_the_record(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if sql.startswith(("UPDATE", "INSERT", "WITH")) and "django_jobs_" in sql:
            die()
        return execute(sql, *args)

    commit = connection.commit

    def dying_commit() -> None:
        if point == AFTER:
            commit()
        die()

    if point == "before the record":
        connection.execute_wrappers.append(before_the_record)
    elif point in ("before COMMIT", AFTER):
        connection.commit = dying_commit  # type: ignore[method-assign]


if __name__ == "__main__":
    import django

    django.setup()
    from django_jobs import jobs

    declare(sys.argv[1])
    jobs.run_by_id(int(sys.argv[2]))
