"""Values of command line arguments, refused with a sentence where they are wrong."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Iterable
from datetime import timedelta

from django.core.management.base import CommandError

from django_jobs.tasks.schedule import cron_problems


def positive(text: str) -> int:
    """Read an integer of at least 1."""
    try:
        number = int(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no integer") from error
    if number < 1:
        raise ArgumentTypeError("it must be at least 1")
    return number


def seconds(text: str) -> timedelta:
    """Read a duration of more than 0 seconds."""
    try:
        number = float(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no number of seconds") from error
    if not 0 < number < 10**9:
        raise ArgumentTypeError("it must be more than 0")
    return timedelta(seconds=number)


def cron(text: str) -> str:
    """Read a cron expression."""
    problems = cron_problems(text)
    if problems:
        raise ArgumentTypeError(" ".join(problems))
    return text


def queue_names(given: Iterable[str], *, all_queues: bool) -> tuple[str, ...] | None:
    """Return the queues of --queue, which may be repeated and hold commas; None for all."""
    names = [name.strip() for argument in given for name in argument.split(",")]
    if all_queues and names:
        raise CommandError("Give either --queue or --all-queues, not both.")
    if not all(names):
        raise CommandError("--queue needs a name.")
    return None if all_queues else tuple(dict.fromkeys(names)) or ("default",)
