"""What the demo prints at its end."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from django.conf import settings
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from demo.summary import Story, Summary, is_meant_to_fail
from django_jobs.models import Job

PROBLEMS_SHOWN = 5
FAILURES_SHOWN = 5
COLUMNS = ["Jobs", "Done", "Failed", "Resumed", "Steps run", "Restored"]


def print_summary(console: Console, summary: Summary, finished: int, seconds: float) -> None:
    rate = f" ({finished / seconds:.0f} jobs a second)" if seconds >= 1 else ""
    console.print(f"\n[bold]{finished} jobs finished in {seconds:.1f} s[/bold]{rate}")
    console.print(table_of_lines(summary), soft_wrap=False)
    console.print(
        "Resumed: an attempt failed, the next one went on after the last finished step.\n"
        "Restored: steps that had finished before, and were not run a second time."
    )
    if summary.story:
        print_story(console, summary.story)
    print_failures(console, summary)
    print_problems(console, summary)


def table_of_lines(summary: Summary) -> Table:
    table = Table()
    table.add_column("", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for line in summary.lines:
        numbers = [
            line.jobs, line.succeeded, line.failed,
            line.retried, line.steps_run, line.steps_restored,
        ]  # fmt: skip
        table.add_row(line.slug, *map(str, numbers))
    return table


def print_story(console: Console, story: Story) -> None:
    console.print(f"\n[bold]One that was resumed[/bold]: job {story.job.pk}, {story.job.slug}")
    for number, sentences in enumerate(story.attempts, start=1):
        for index, sentence in enumerate(sentences):
            label = "" if index else f"attempt {number}"
            console.print(f"  {label:<10} {escape(sentence)}")


def print_failures(console: Console, summary: Summary) -> None:
    for job in summary.failures[:FAILURES_SHOWN]:
        why = " on purpose" if is_meant_to_fail(job) else ""
        error = job.error or {}
        console.print(f"\n[bold]Failed for good{why}[/bold]: job {job.pk}, {describe(job)}")
        console.print(f"  {error.get('name')}: {error.get('message')}", markup=False)
    if len(summary.failures) > FAILURES_SHOWN:
        console.print(f"\n... and {len(summary.failures) - FAILURES_SHOWN} more that failed.")


def describe(job: Job) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in job.input.items())
    return escape(f"{job.slug}({given})")


def print_problems(console: Console, summary: Summary) -> None:
    written = sum(report.written for report in summary.reports)
    console.print(
        f"\n[bold]{written} products imported[/bold], {len(summary.problems)} bad lines left out "
        "and reported. Some of them:"
    )
    step = max(1, len(summary.problems) // PROBLEMS_SHOWN)
    for problem in summary.problems[::step][:PROBLEMS_SHOWN]:
        console.print(
            f"  {problem.report.tenant.slug}.csv, line {problem.line}: {problem.reason}"
            f"  <- {problem.content}",
            markup=False,
        )


def print_places(console: Console, report: Path, base: Path) -> None:
    console.print("\n[bold]Where to look[/bold]")
    places = {
        "the images, the imports, the failures": report.as_uri(),
        "the e-mails": settings.MAIL_DIR,
        "the log of the worker": report.with_name("worker.log"),
        "the site and the jobs in the admin": command("demo --serve"),
        "the jobs in the terminal": command("jobs list"),
        "the code, a few short files": base,
    }
    for what, where in places.items():
        console.print(f"  {what:<38} {where}", markup=False)


def command(arguments: str) -> str:
    """Return a command that can be pasted where this one was started."""
    return f"{shlex.join([sys.executable, sys.argv[0]])} {arguments}"
