"""The rows of the schedules that the code declares."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from django_jobs.models import JobSchedule
from django_jobs.queue.json import normalise
from django_jobs.queue.transient import retried
from django_jobs.tasks import registry
from django_jobs.tasks.bounds import check_queue
from django_jobs.tasks.schedule import Schedule
from django_jobs.tasks.task import Declaration

logger = logging.getLogger("django_jobs.schedules")

LONGEST_CRON = 255


@dataclass(frozen=True, slots=True)
class Declared:
    """What a row holds of a schedule; `input` is JSON."""

    cron: str
    queue: str
    timezone: str
    input: str

    @property
    def values(self) -> dict[str, Any]:
        return {
            "cron": self.cron, "declared_cron": self.cron, "queue": self.queue,
            "timezone": self.timezone, "input": json.loads(self.input),
        }  # fmt: skip


# The schedules of each task by their number, None for one that cannot be used.
Declarations = Mapping[str, Sequence[Declared | None]]

# What was last written of the declarations, by database: a process does it once, so that two
# versions of the code that run side by side do not change the rows back and forth.
_written: dict[str, Declarations] = {}


def synchronise(*, using: str) -> list[JobSchedule]:
    """Write the declared schedules down, keeping what an admin paused or changed.

    Return the rows of all schedules, also of those that an admin made.
    """
    declared = {declaration.slug: _schedules_of(declaration) for declaration in registry.every()}
    rows = JobSchedule.objects.using(using).order_by("id")
    stored: dict[str, list[JobSchedule]] = {}
    for row in rows:
        if row.number is not None:
            stored.setdefault(row.slug, []).append(row)
    is_written = _written.get(using) == declared
    for slug, wanted in declared.items():
        own = stored.get(slug, [])
        if own and not is_written:
            own = _rewrite(slug, wanted, using=using)
            rows = rows.all()
        if _create_missing(slug, wanted, own, using):
            rows = rows.all()
    _written[using] = declared
    return list(rows)


def _schedules_of(declaration: Declaration[Any, Any]) -> tuple[Declared | None, ...]:
    return tuple(_declared(declaration, schedule) for schedule in declaration.schedule)


def _declared(declaration: Declaration[Any, Any], schedule: Schedule) -> Declared | None:
    """Return what to store; a check says what is wrong with one that cannot be."""
    if schedule.problems() or len(schedule.cron) > LONGEST_CRON:
        return None
    queue = schedule.queue or declaration.queue
    try:
        check_queue(queue)
        input = _canonical(dict(schedule.input or {}))
    except (TypeError, ValueError) as error:
        logger.error("A schedule of %s cannot be stored: %s", declaration.slug, error)
        return None
    return Declared(schedule.cron, queue, schedule.timezone or "", input)


def stored(row: JobSchedule) -> Declared:
    """Return what the code declared when the row was last written."""
    return Declared(row.declared_cron, row.queue, row.timezone, _canonical(row.input))


def _canonical(input: Any) -> str:
    """Return JSON with its keys in order, which databases do not keep."""
    return json.dumps(normalise(input), sort_keys=True)


@retried
def _rewrite(slug: str, wanted: Sequence[Declared | None], *, using: str) -> list[JobSchedule]:
    """Bring the rows of one task up to date, and delete those of schedules that are gone."""
    objects = JobSchedule.objects.using(using)
    with transaction.atomic(using=using):
        rows = objects.filter(slug=slug, number__isnull=False).order_by("number")
        kept = dict(_match(list(rows.select_for_update()), wanted))
        rows.exclude(pk__in=[row.pk for row in kept.values()]).delete()
        moved = [row.pk for number, row in kept.items() if row.number != number]
        # Two rows may have to change places, which the constraint on numbers forbids.
        objects.filter(pk__in=moved).update(number=None)
        for number, row in kept.items():
            values = _changes(row, wanted[number])
            if values or row.pk in moved:
                objects.filter(pk=row.pk).update(number=number, **values)
            row.number = number
    return list(kept.values())


def _match(
    rows: Sequence[JobSchedule], wanted: Sequence[Declared | None]
) -> Iterator[tuple[int, JobSchedule]]:
    """Yield the row for each number: one that says the same, or else the first that is left.

    So a schedule keeps its row, and its pause, when another one before it comes or goes.
    """
    left, open_numbers = list(rows), []
    for number, declared in enumerate(wanted):
        same = next((row for row in left if declared and stored(row) == declared), None)
        if same is None:
            open_numbers.append(number)
        else:
            left.remove(same)
            yield number, same
    yield from zip(open_numbers, left, strict=False)


def _changes(row: JobSchedule, declared: Declared | None) -> dict[str, Any]:
    if declared is None or stored(row) == declared:
        return {}
    values = declared.values
    if row.is_overridden:
        del values["cron"]
    return values


def _create_missing(
    slug: str, wanted: Sequence[Declared | None], rows: Sequence[JobSchedule], using: str
) -> bool:
    """Add the rows of new schedules; return whether there were any."""
    present = {row.number for row in rows}
    missing = {
        number: declared
        for number, declared in enumerate(wanted)
        if declared is not None and number not in present
    }
    for number, declared in missing.items():
        JobSchedule.objects.using(using).get_or_create(
            slug=slug, number=number, defaults=declared.values
        )
    return bool(missing)


def schedule_of(row: JobSchedule, declaration: Declaration[Any, Any]) -> Schedule | None:
    """Return the declared schedule that a row is of; None for one that is gone."""
    if row.number is None:
        return None
    is_of = stored(row)
    for schedule, declared in zip(declaration.schedule, _schedules_of(declaration), strict=True):
        if declared == is_of:
            return schedule
    # Another version of the code has written the row last.
    return declaration.schedule[row.number] if row.number < len(declaration.schedule) else None
