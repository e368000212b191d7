from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_jobs import jobs
from django_jobs.management.arguments import cron
from django_jobs.management.console import flush_log, log_to_console
from django_jobs.models import database_alias
from django_jobs.worker.outage import DISCONNECTED, Outage
from django_jobs.worker.pace import Pace


class Command(BaseCommand):
    help = "Enqueues what the schedules say is due, once or at the ticks of --cron."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--queue", metavar="NAME", help="Only the schedules of this queue.")
        parser.add_argument("--all-queues", action="store_true", help="Those of all; the default.")
        parser.add_argument("--cron", type=cron, metavar="CRON", help="Go on, at these ticks.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["queue"] and options["all_queues"]:
            raise CommandError("Give either --queue or --all-queues, not both.")
        log_to_console(self, options["verbosity"])
        if options["cron"] is None:
            self._handle_once(options["queue"])
        else:
            self._handle_at_ticks(options["queue"], Pace(options["cron"]))

    def _handle_once(self, queue: str | None) -> None:
        result = jobs.handle_schedules(queue=queue)
        flush_log()
        for job in result.queued:
            self.stdout.write(f"Enqueued job {job.pk} {job.slug}.")
        for slug, reason in result.skipped:
            self.stdout.write(f"Skipped {slug}: {reason}")
        for slug, reason in result.errored:
            self.stderr.write(f"Failed {slug}: {reason}")

    def _handle_at_ticks(self, queue: str | None, pace: Pace) -> None:
        stopped = threading.Event()

        def stop(number: int, frame: FrameType | None) -> None:
            stopped.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        outage = Outage(database_alias(), "the scheduler")
        pause = pace.seconds_to_next_tick()
        while not stopped.wait(pause):
            try:
                if pace.is_time():
                    self._handle_once(queue)
            except DISCONNECTED as error:
                pause = outage.note(error)
            else:
                outage.end()
                pace.end_of_pass()
                pause = pace.seconds_to_next_tick()
