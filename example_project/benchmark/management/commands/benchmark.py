from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmark import report, store
from benchmark.bench import Bench
from benchmark.scenarios import SCENARIOS
from benchmark.sizes import Sizes
from demo.management.commands.demo import number_from


class Command(BaseCommand):
    help = (
        "Measures how fast jobs are enqueued and run, and what a worker costs, in a database of "
        "its own on the server of DATABASE_URL, which it drops at its end."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--only", action="append", choices=SCENARIOS, help="One scenario; may be repeated.")
        add(
            "--jobs",
            type=number_from(20),
            default=20_000,
            help="How many jobs are run; all other sizes are in proportion. Default: 20000.",
        )
        add("--rounds", type=number_from(1), default=3, help="Default: 3.")
        add(
            "--idle-seconds",
            type=number_from(1),
            default=20,
            help="How long the idle worker is watched. Default: 20.",
        )
        add("--json", type=Path, metavar="FILE", help="Write the figures of all rounds there.")
        add("--markdown", action="store_true", help="Print the table as Markdown.")

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        self.console = Console(no_color=options["no_color"] or None, highlight=False)
        sizes = Sizes(options["jobs"], options["idle_seconds"])
        results = report.Results(sizes)
        try:
            with store.own_database() as url:
                self.console.print(report.circumstances(), soft_wrap=True)
                self.measure(url, results, options["only"] or list(SCENARIOS), options["rounds"])
        except KeyboardInterrupt:
            self.console.print("\nStopped. Its database is dropped.")
            sys.exit(130)
        self.show(results, options)

    def measure(self, url: str, results: report.Results, names: list[str], rounds: int) -> None:
        with progress_bar(self.console) as progress:
            bar = progress.add_task("", total=len(names) * rounds)
            for _ in range(rounds):
                for name in names:
                    title = SCENARIOS[name].title

                    def say(what: str, title: str = title) -> None:
                        progress.update(bar, description=f"{title}: {what}")

                    say("starting")
                    store.empty()
                    results.add(name, SCENARIOS[name].run(Bench(results.sizes, url, say)))
                    progress.advance(bar)

    def show(self, results: report.Results, options: dict[str, Any]) -> None:
        if options["json"]:
            results.write(options["json"])
        if options["markdown"]:
            self.stdout.write(results.as_markdown())
        else:
            self.console.print(results.as_table())


def progress_bar(console: Console) -> Progress:
    columns = (
        TimeElapsedColumn(),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
    )
    return Progress(*columns, console=console, transient=True)
