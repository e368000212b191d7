from __future__ import annotations

import logging
import signal
from argparse import ArgumentTypeError
from datetime import timedelta
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_jobs.models import database_alias
from django_jobs.worker.worker import Options, Worker


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ArgumentTypeError("must be at least 1")
    return number


def seconds(text: str) -> timedelta:
    duration = float(text)
    if not 0 < duration < float("inf"):
        raise ArgumentTypeError("must be more than 0")
    return timedelta(seconds=duration)


class Command(BaseCommand):
    help = "Runs jobs until it is stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--queue", action="append", default=[], metavar="NAME",
            help="A queue to take jobs from; may be repeated, or name several with commas "
            "between. Default: default.",
        )  # fmt: skip
        parser.add_argument("--all-queues", action="store_true", help="Take jobs from all queues.")
        parser.add_argument(
            "--concurrency", type=positive, default=10, metavar="N",
            help="How many jobs to run at once. Default: 10.",
        )  # fmt: skip
        parser.add_argument(
            "--limit", type=positive, default=100, metavar="N",
            help="How many jobs to claim at once, at the most. Default: 100.",
        )  # fmt: skip
        parser.add_argument(
            "--sequential", action="store_true", help="Run one job after the other."
        )
        parser.add_argument("--once", action="store_true", help="Run what is due, then exit.")
        parser.add_argument(
            "--until-empty", action="store_true",
            help="Exit when no job of the queues is due, running or to be retried.",
        )  # fmt: skip
        parser.add_argument(
            "--poll-interval", type=seconds, metavar="S",
            help="How long to wait when nothing is due. Default: the setting POLL_INTERVAL.",
        )  # fmt: skip
        parser.add_argument(
            "--shutdown-timeout", type=seconds, default=timedelta(seconds=30), metavar="S",
            help="How long running jobs may take when the worker is stopped. Default: 30.",
        )  # fmt: skip
        parser.add_argument(
            "--max-jobs", type=positive, metavar="N", help="Exit when this many jobs have run."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        log_to_console(self, options["verbosity"])
        worker = Worker(self._options(options), using=database_alias())
        self._stop_on_signals(worker)
        names = ", ".join(worker.options.queues or ()) or "all queues"
        self.stdout.write(
            f"Working on {names}, {worker.options.concurrency} jobs at once. Stop with CONTROL-C."
        )
        worker.run()
        self.stdout.write(f"Stopped. {worker.jobs_run} jobs were run.")

    def _options(self, options: dict[str, Any]) -> Options:
        if options["all_queues"] and options["queue"]:
            raise CommandError("Give either --queue or --all-queues, not both.")
        if options["once"] and options["until_empty"]:
            raise CommandError("Give either --once or --until-empty, not both.")
        names = [name.strip() for given in options["queue"] for name in given.split(",")]
        if options["queue"] and not all(names):
            raise CommandError("--queue needs a name.")
        queues = None if options["all_queues"] else tuple(dict.fromkeys(names)) or ("default",)
        return Options(
            queues=queues,
            concurrency=1 if options["sequential"] else options["concurrency"],
            limit=options["limit"],
            once=options["once"],
            until_empty=options["until_empty"],
            poll_interval=options["poll_interval"],
            shutdown_timeout=options["shutdown_timeout"],
            max_jobs=options["max_jobs"],
        )

    def _stop_on_signals(self, worker: Worker) -> None:
        signalled = False

        def stop(number: int, frame: FrameType | None) -> None:
            nonlocal signalled
            worker.stop(at_once=signalled)
            signalled = True

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)


def log_to_console(command: BaseCommand, verbosity: int) -> None:
    """Show the log, unless the project has said where it goes."""
    logger = logging.getLogger("django_jobs")
    if logger.handlers:
        return
    handler = logging.StreamHandler(command.stdout)
    handler.terminator = ""
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
    levels = [logging.WARNING, logging.INFO, logging.INFO, logging.DEBUG]
    logger.setLevel(levels[min(verbosity, 3)])
