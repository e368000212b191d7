from __future__ import annotations

import signal
import sys
import time
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.db import connection
from django.utils import timezone
from rich.console import Console

from demo import printing
from demo.child import WorkerProcess
from demo.load import IMAGES, TENANTS, load
from demo.models import DemoRun
from demo.progress import look, open_display
from demo.report import write_report
from demo.site import HOST, check_port, one_time_password
from demo.summary import summarise

SECONDS_BETWEEN_LOOKS = 0.2


def number_from(least: int) -> Any:
    def number(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise ArgumentTypeError(f"{text!r} is not a number from {least}")
        return int(text)

    return number


class Command(BaseCommand):
    help = (
        "Queues some hundreds of jobs, runs them, and shows what became of them. "
        "Interrupt it as you like: started again, it goes on where it was."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        least = len(TENANTS) + 4
        add("--jobs", type=number_from(least), default=400, help="How many to queue. Default: 400.")
        add(
            "--concurrency",
            type=number_from(1),
            default=4,
            help="Jobs at once in each worker process.",
        )
        add("--workers", type=number_from(1), default=1, help="Worker processes. Default: 1.")
        add(
            "--serve",
            action="store_true",
            help="Serve the site and its admin afterwards, or at once if the demo has been run.",
        )
        add("--port", type=number_from(1), default=8000, help="The port of --serve. Default: 8000.")

    def handle(self, *args: Any, **options: Any) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        self.console = Console(
            no_color=options["no_color"] or None, highlight=False, soft_wrap=True
        )
        self.worker = WorkerProcess(
            "--all-queues",
            f"--concurrency={options['concurrency']}",
            f"--processes={options['workers']}",
        )
        try:
            self.play(options)
        except KeyboardInterrupt:
            self.say_how_to_go_on()
            sys.exit(130)

    def play(self, options: dict[str, Any]) -> None:
        if options["serve"]:
            check_port(options["port"])
        self.migrate()
        run = DemoRun.objects.filter(finished_at=None).last()
        if run or not options["serve"] or not DemoRun.objects.exists():
            self.work_off(run, options["jobs"])
        if options["serve"]:
            self.serve(options["port"])

    def migrate(self) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        place = settings.DATABASES["default"]
        self.console.print(f"Database: {connection.vendor}, {place['NAME']}")

    def work_off(self, run: DemoRun | None, jobs: int) -> None:
        run = self.resume(run) if run else self.queue(jobs)
        waiting = run.unfinished_jobs().count()
        seconds = self.watch(run)
        DemoRun.objects.filter(pk=run.pk).update(finished_at=timezone.now())
        self.report(run, waiting, seconds)

    def resume(self, run: DemoRun) -> DemoRun:
        left, total = run.unfinished_jobs().count(), run.jobs().count()
        self.console.print(
            f"The last run was cut off with {left} of its {total} jobs unfinished. "
            "Going on with those."
        )
        if running := run.jobs().running().count():
            lease = settings.DJANGO_JOBS["LEASE"].total_seconds()
            self.console.print(
                f"{running} of them are marked as running. If their worker is dead, they come back "
                f"when its lease ends, in {lease:.0f} s at the most."
            )
        return run

    def queue(self, jobs: int) -> DemoRun:
        self.console.print(f"Uploading images, signing up users, asking for {len(TENANTS)} imports")
        started = time.monotonic()
        run = load(jobs)
        self.console.print(
            f"  {run.jobs().count()} jobs queued in {time.monotonic() - started:.1f} s "
            f"({len(IMAGES)} pictures, over and over): no upload waited for its thumbnails."
        )
        return run

    def watch(self, run: DemoRun) -> float:
        """Run a worker until every job of the run is finished; return the seconds it took."""
        self.console.print("Running them. Stop with CONTROL-C, or kill -9: nothing is lost.")
        started = time.monotonic()
        with self.worker, open_display(self.console) as display:
            while True:
                snapshot = look(run, time.monotonic() - started)
                display.show(snapshot)
                if not snapshot.unfinished:
                    return snapshot.seconds
                if self.worker.has_died:
                    raise CommandError(
                        f"The worker ended early. Start the demo again to go on. Its last words, "
                        f"in {self.worker.log}:\n{self.worker.last_words()}"
                    )
                time.sleep(SECONDS_BETWEEN_LOOKS)

    def report(self, run: DemoRun, finished: int, seconds: float) -> None:
        summary = summarise(run)
        path = write_report(run, summary)
        printing.print_summary(self.console, summary, finished, seconds)
        printing.print_places(self.console, path, Path(settings.BASE_DIR))
        if summary.unexpected:
            raise CommandError(f"{len(summary.unexpected)} jobs failed that should not have.")

    def serve(self, port: int) -> None:
        password = one_time_password("admin")
        self.console.print(
            f"\nThe site:  http://{HOST}:{port}/\n"
            f"The admin: http://{HOST}:{port}/admin/\n"
            f"Log in as admin with the password {password}\n"
            "(shown this once: each start makes a new one).\n"
            "A worker is running: upload an image and reload. Stop with CONTROL-C.",
            markup=False,
        )
        with self.worker:
            call_command("runserver", f"{HOST}:{port}", use_reloader=False, skip_checks=True)

    def say_how_to_go_on(self) -> None:
        run = DemoRun.objects.filter(finished_at=None).last()
        if run is None:
            self.console.print("\nStopped.")
            return
        self.console.print(
            f"\nStopped with {run.unfinished_jobs().count()} of {run.jobs().count()} jobs left. "
            f"They are kept. To go on:\n  {printing.command('demo')}",
        )
