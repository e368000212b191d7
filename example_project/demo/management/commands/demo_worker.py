from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from django_jobs.management.commands import runjobs


class Command(runjobs.Command):
    help = "Runs jobs as runjobs does, until standard input ends. `demo` and `benchmark` start it."

    def handle(self, *args: Any, **options: Any) -> None:
        # With --processes the supervisor watches, and tells the others.
        if options["supervisor_pid"] is None:
            threading.Thread(target=stop_with_the_command, daemon=True).start()
        super().handle(*args, **options)


def stop_with_the_command() -> None:
    """Stop in good order when the process at the other end of standard input is gone."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)
