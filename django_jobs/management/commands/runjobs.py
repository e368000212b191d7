from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from datetime import timedelta
from queue import SimpleQueue
from types import FrameType
from typing import Any, Protocol

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS
from django.utils import autoreload

from django_jobs import conf
from django_jobs.management.arguments import cron, positive, queue_names, seconds
from django_jobs.management.console import flush_log, log_to_console
from django_jobs.models import Job, database_alias
from django_jobs.worker.outage import DISCONNECTED
from django_jobs.worker.supervisor import REPLACE_ME, Supervisor
from django_jobs.worker.worker import Options, Worker, resident_bytes

MEGABYTE = 1024 * 1024


class Stoppable(Protocol):
    def stop(self, *, at_once: bool = False) -> None: ...


class Command(BaseCommand):
    help = (
        "Runs jobs until it is stopped. A first SIGTERM or SIGINT lets running jobs end, "
        "a second does not."
    )

    # Checked in `handle`: checks of models ask the database, and a worker that starts before
    # its database waits for it.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_work(parser)
        add_pace(parser)
        add_ends(parser)
        parser.add_argument(
            "--skip-checks", action="store_true", help="Leave the system checks out."
        )
        # What the supervisor tells its workers.
        parser.add_argument("--supervisor-pid", type=int, help="Internal.")

    def handle(self, *args: Any, **options: Any) -> None:
        self._check_project(options)
        check_combinations(options)
        check_memory(options["max_memory"])
        queues = queue_names(options["queue"], all_queues=options["all_queues"])
        log_to_console(self, options["verbosity"])
        if options["processes"] > 1:
            self._supervise(options)
        elif options["autoreload"]:
            autoreload.run_with_reloader(self._work, queues, options)
        else:
            self._work(queues, options)

    def _check_project(self, options: dict[str, Any]) -> None:
        """Run Django's system checks, unless the database is away."""
        if options["skip_checks"]:
            return
        # Not by `conf.get()`, which raises what the checks are to tell.
        settings, _problems = conf.read(conf.raw())
        try:
            self.check(databases=[settings.DATABASE or DEFAULT_DB_ALIAS])
        except DISCONNECTED:
            self.stderr.write("The database does not answer; the system checks are left out.")

    def _work(self, queues: tuple[str, ...] | None, options: dict[str, Any]) -> None:
        worker = Worker(worker_options(queues, options), using=database_alias())
        stop_on_signals(worker)
        self._warn_of_unused(queues)
        self.stdout.write(
            f"Working on {', '.join(queues) if queues else 'all queues'}, "
            f"{worker.options.concurrency} jobs at once. Stop with CONTROL-C."
        )
        # What the project has loaded need not be looked through for garbage again and again,
        # nor what is made of a batch of jobs, which goes without that.
        gc.freeze()
        gc.set_threshold(max(gc.get_threshold()[0], 20 * worker.options.limit))
        worker.run()
        flush_log()
        self.stdout.write(f"Stopped. {worker.held.run} jobs were run.")
        supervised = options["supervisor_pid"] is not None
        replace = worker.wants_replacement and (supervised or worker.leaves_handlers)
        if replace or worker.leaves_handlers:
            # Not through the interpreter's own end, which a handler's thread could hold up,
            # while its job runs elsewhere already.
            self.stdout.flush()
            os._exit(REPLACE_ME if replace else 0)

    def _supervise(self, options: dict[str, Any]) -> None:
        arguments = [*autoreload.get_child_arguments(), "--processes=1"]
        supervisor = Supervisor(
            [*arguments, f"--supervisor-pid={os.getpid()}"],
            options["processes"],
            options["shutdown_timeout"].total_seconds(),
        )
        stop_on_signals(supervisor)
        self.stdout.write(f"Supervising {options['processes']} workers. Stop with CONTROL-C.")
        sys.exit(supervisor.run())

    def _warn_of_unused(self, queues: tuple[str, ...] | None) -> None:
        """Say when a queue is listened to that nothing is on: its name may be mistyped."""
        names = [name for name in queues or () if name != "default"]
        try:
            unused = [name for name in names if not Job.objects.filter(queue=name).exists()]
        except DISCONNECTED:
            # The worker waits for the database, and says so.
            return
        for name in unused:
            self.stderr.write(f"Nothing has been put on the queue {name!r} so far.")


def add_work(parser: CommandParser) -> None:
    """What to run, and how many at once."""
    add = parser.add_argument
    add(
        "--queue",
        action="append",
        default=[],
        metavar="NAME",
        help="A queue to take jobs from; may be repeated, or name several with commas "
        "between. Default: default.",
    )
    add("--all-queues", action="store_true", help="Take jobs from all queues.")
    add(
        "--concurrency",
        type=positive,
        default=10,
        metavar="N",
        help="How many jobs a process runs at once. Default: 10.",
    )
    add(
        "--processes",
        type=positive,
        default=1,
        metavar="N",
        help="How many worker processes to keep running. Default: 1.",
    )
    add("--sequential", action="store_true", help="Run one job after the other.")
    add(
        "--limit",
        type=positive,
        default=100,
        metavar="N",
        help="How many jobs are claimed at once, at the most. Default: 100.",
    )


def add_pace(parser: CommandParser) -> None:
    """When to work."""
    add = parser.add_argument
    add("--once", action="store_true", help="Run what is due, then exit.")
    add(
        "--until-empty",
        action="store_true",
        help="Exit when no job of the queues is due, running or to be retried.",
    )
    add(
        "--cron",
        type=cron,
        metavar="CRON",
        help="Make one pass, of --limit jobs at the most, at each tick, and rest between.",
    )
    add("--no-schedules", action="store_true", help="Leave schedules to other workers.")
    add(
        "--poll-interval",
        type=seconds,
        metavar="S",
        help="How long to wait when nothing is due. Default: the setting POLL_INTERVAL.",
    )


def add_ends(parser: CommandParser) -> None:
    """When to end, or to be replaced."""
    add = parser.add_argument
    add(
        "--shutdown-timeout",
        type=seconds,
        default=timedelta(seconds=30),
        metavar="S",
        help="How long running jobs may take when the worker is stopped. Default: 30.",
    )
    add(
        "--max-jobs",
        type=positive,
        metavar="N",
        help="Exit, or be replaced, when a process has run this many jobs.",
    )
    add(
        "--max-memory",
        type=positive,
        metavar="MB",
        help="Exit, or be replaced, when a process takes more memory than this.",
    )
    add("--autoreload", action="store_true", help="Restart when the code changes.")


def check_combinations(options: dict[str, Any]) -> None:
    """Refuse what cannot go together."""
    exclusive = ("once", "until_empty", "cron")
    given = [name for name in exclusive if options[name]]
    if len(given) > 1:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise CommandError(f"{names} do not go together. Give one of them.")
    if options["autoreload"] and options["processes"] > 1:
        raise CommandError("--autoreload works with one process. Leave --processes out.")
    if options["sequential"] and options["concurrency"] not in (1, 10):
        raise CommandError("--sequential runs one job after the other. Leave --concurrency out.")


def check_memory(limit: int | None) -> None:
    """Refuse a limit at which a worker would be replaced before its first job, for ever."""
    taken = resident_bytes() // MEGABYTE
    if limit is not None and taken >= limit:
        raise CommandError(
            f"--max-memory {limit} is less than the {taken} MB that an idle worker takes."
        )


def worker_options(queues: tuple[str, ...] | None, options: dict[str, Any]) -> Options:
    memory = options["max_memory"]
    return Options(
        queues=queues,
        concurrency=1 if options["sequential"] else options["concurrency"],
        limit=options["limit"],
        once=options["once"],
        until_empty=options["until_empty"],
        cron=options["cron"],
        schedules=not options["no_schedules"],
        poll_interval=options["poll_interval"],
        shutdown_timeout=options["shutdown_timeout"],
        max_jobs=options["max_jobs"],
        max_memory=None if memory is None else memory * MEGABYTE,
        supervisor_pid=options["supervisor_pid"],
    )


def stop_on_signals(worker: Stoppable) -> None:
    """Stop at a first SIGTERM or SIGINT, at once at a second."""
    if threading.current_thread() is not threading.main_thread():
        # Under the autoreloader, which has handlers of its own.
        return
    signals: SimpleQueue[int] = SimpleQueue()

    def obey() -> None:
        signals.get()
        worker.stop()
        signals.get()
        worker.stop(at_once=True)

    def stop(number: int, frame: FrameType | None) -> None:
        # Nothing else: whatever lock stopping needs, the interrupted code may hold it.
        signals.put(number)

    threading.Thread(target=obey, name="jobs-signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
