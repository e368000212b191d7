from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandParser
from rich.progress import Progress

from demo.management.commands.demo import number_from
from scale.store import fill


class Command(BaseCommand):
    help = (
        "Adds jobs that have never run, as if a busy site had run them for two weeks, to try "
        "the admin with many. Use a database that may be thrown away."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--jobs", type=number_from(1_000), default=100_000, help="Default: 100,000."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        total = options["jobs"]
        with Progress() as progress:
            bar = progress.add_task("Adding jobs", total=total)
            fill(total, report=lambda added: progress.update(bar, completed=added))
