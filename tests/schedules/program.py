"""One of several processes that handle schedules: ``python -m tests.schedules.program SECONDS``.

It says when it is ready, begins when it is told to, and prints how many jobs it enqueued.
"""

from __future__ import annotations

import sys
import time

import django


def main() -> None:
    django.setup()
    from django_jobs import Schedule, jobs, task

    @task(slug="every-second", schedule=Schedule("* * * * * *", catch_up=True))
    def every_second() -> None: ...

    @task(slug="each-second", schedule=Schedule("* * * * * *"))
    def each_second() -> None: ...

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    ends_at = time.monotonic() + float(sys.argv[1])
    count = 0
    while time.monotonic() < ends_at:
        result = jobs.handle_schedules()
        if result.errored:
            raise SystemExit(str(result.errored))
        count += len(result.queued)
    sys.stdout.write(f"{count}\n")


if __name__ == "__main__":
    main()
