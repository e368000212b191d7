from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from django_jobs import conf, jobs
from django_jobs.models import FINISHED


class Command(BaseCommand):
    help = "Deletes finished jobs, as long ago as --days says or else the setting RETENTION."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--days", type=float, metavar="N", help="Delete what finished N days ago or earlier."
        )
        parser.add_argument(
            "--status", action="append", choices=[str(status) for status in FINISHED],
            help="Only jobs with this status; may be repeated.",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["days"]
        if days is not None and not 0 <= days < 10**6:
            raise CommandError("--days must not be negative.")
        if days is None and not conf.get().RETENTION:
            raise CommandError("Give --days, or set DJANGO_JOBS['RETENTION'].")
        before = None if days is None else timezone.now() - timedelta(days=days)
        pruned = jobs.prune(before=before, statuses=options["status"] or FINISHED)
        self.stdout.write(f"{pruned} jobs were deleted.")
