"""What the demo shows while the jobs run: a live display, or plain lines where none can be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from django.db.models import Count, Q
from django.utils import timezone
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from demo.models import DemoRun
from django_jobs.models import Job

SECONDS_BETWEEN_LINES = 2
Status = Job.Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    slug: str
    total: int
    succeeded: int
    failed: int
    running: int
    retrying: int

    @property
    def done(self) -> int:
        return self.succeeded + self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    seconds: float
    rows: list[Row]
    imports: list[str]

    @property
    def unfinished(self) -> int:
        return sum(row.total - row.done for row in self.rows)


class Display(Protocol):
    def show(self, snapshot: Snapshot) -> None: ...


def look(run: DemoRun, seconds: float) -> Snapshot:
    """Read from the database how far the jobs are."""
    rows = (
        run.jobs()
        .values("slug")
        .order_by("slug")
        .annotate(
            total=Count("pk"),
            succeeded=Count("pk", filter=Q(status=Status.SUCCESSFUL)),
            failed=Count("pk", filter=Q(status__in=[Status.FAILED, Status.CANCELLED])),
            running=Count("pk", filter=Q(status=Status.RUNNING)),
            retrying=Count(
                "pk",
                filter=Q(status=Status.READY, total_tried__gt=0, wait_until__gt=timezone.now()),
            ),
        )
    )
    running = run.jobs().filter(slug="import-products", status=Status.RUNNING)
    return Snapshot(
        seconds=seconds,
        rows=[Row(**row) for row in rows],
        imports=[import_line(job) for job in running.order_by("pk") if job.progress],
    )


def import_line(job: Job) -> str:
    progress = job.progress or {}
    of = f" of {progress['total']}" if progress.get("total") else ""
    return f"{job.input['tenant']}: {progress.get('current')}{of} {progress.get('message', '')}"


@contextmanager
def open_display(console: Console) -> Iterator[Display]:
    """Choose the display that this terminal, or what stands for one, can show."""
    if console.is_terminal and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}:
        with Live(console=console, auto_refresh=False) as live:
            yield LiveDisplay(live)
    else:
        yield PlainDisplay(console)


class LiveDisplay:
    def __init__(self, live: Live) -> None:
        self.live = live

    def show(self, snapshot: Snapshot) -> None:
        lines = [Text(f"    {line}", style="dim") for line in snapshot.imports]
        clock = Text(f"  {snapshot.seconds:.1f} s", style="dim")
        self.live.update(Group(bars(snapshot.rows), *lines, clock), refresh=True)


class PlainDisplay:
    def __init__(self, console: Console) -> None:
        self.console = console
        self.shown_at = float("-inf")

    def show(self, snapshot: Snapshot) -> None:
        due = snapshot.seconds - self.shown_at >= SECONDS_BETWEEN_LINES
        if not due and snapshot.unfinished:
            return
        self.shown_at = snapshot.seconds
        parts = [f"{row.slug} {row.done}/{row.total}{notes(row)}" for row in snapshot.rows]
        self.console.print(f"  {snapshot.seconds:5.1f} s  {'  '.join(parts)}")


def bars(rows: list[Row]) -> Table:
    table = Table.grid(padding=(0, 2))
    for row in rows:
        table.add_row(
            f"  {row.slug}",
            ProgressBar(total=row.total, completed=row.done, width=30),
            f"{row.done}/{row.total}",
            Text(notes(row).strip(), style="dim"),
        )
    return table


def notes(row: Row) -> str:
    counts = {"running": row.running, "to retry": row.retrying, "failed": row.failed}
    said = [f"{count} {what}" for what, count in counts.items() if count]
    return f" ({', '.join(said)})" if said else ""
