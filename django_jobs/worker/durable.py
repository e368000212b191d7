"""The durable verbs: sleep, wait for an event, fan out to child jobs and join them.

Each remembers what it has done in a TaskStatus under a slug of its own. A job that has to
wait leaves the worker: its handler is unwound, and begins from its top when it is woken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.utils.dateparse import parse_datetime

from django_jobs.exceptions import EventTimeoutError
from django_jobs.models import (
    CHILD_SLUG,
    EVENT_SLUG,
    SLEEP_SLUG,
    Event,
    Job,
    TaskStatus,
    Wait,
)
from django_jobs.queue.record import Report
from django_jobs.queue.waits import oldest_event
from django_jobs.tasks.enqueue import prepare
from django_jobs.worker.attempt import Attempt
from django_jobs.worker.decide import Level, Outcome, Raised, Returned
from django_jobs.worker.errors import Suspended
from django_jobs.worker.recorder import write
from django_jobs.worker.steps import log_entry

if TYPE_CHECKING:
    from django_jobs.tasks.task import Call


# A wait that nothing ended is looked at again, in case that a crash lost its wake-up.
LONGEST_WAIT = timedelta(minutes=15)


def sleep(attempt: Attempt, task_id: str, duration: timedelta) -> None:
    attempt.check()
    status = attempt.statuses.get((SLEEP_SLUG, task_id))
    if status is not None and status.complete:
        return
    until = _until(status) or attempt.now() + duration
    if attempt.now() >= until:
        _finish(attempt, SLEEP_SLUG, task_id, Returned(None), {"until": until.isoformat()})
        return
    _remember(attempt, SLEEP_SLUG, task_id, {"until": until.isoformat()})
    _suspend(attempt, [], until)


def wait_for_event(attempt: Attempt, task_id: str, name: str, timeout: timedelta | None) -> Any:
    attempt.check()
    status = attempt.statuses.get((EVENT_SLUG, task_id))
    if status is not None and status.complete:
        return (status.output or {}).get("payload")
    until = _until(status) or (None if timeout is None else attempt.now() + timeout)
    input = {"name": name, "until": None if until is None else until.isoformat()}
    event = _take_event(attempt, task_id, name, input)
    if event is not None:
        return event.payload
    if until is not None and attempt.now() >= until:
        _time_out(attempt, task_id, name, input)
    _remember(attempt, EVENT_SLUG, task_id, input)
    _suspend(attempt, [Wait(job=attempt.job, event=name)], until)
    return None


def _take_event(
    attempt: Attempt, task_id: str, name: str, input: Mapping[str, Any]
) -> Event | None:
    with attempt.choosing_event:
        with attempt.database() as using:
            event = oldest_event(
                name, since=attempt.job.created_at, taken=attempt.taken_events(), using=using
            )
        if event is not None:
            output = {"event": event.pk, "payload": event.payload}
            _finish(attempt, EVENT_SLUG, task_id, Returned(output), input)
    return event


def _time_out(attempt: Attempt, task_id: str, name: str, input: Mapping[str, Any]) -> None:
    """Fail the wait, so that another attempt waits anew."""
    error = EventTimeoutError(f"The event {name!r} did not come in time.")
    _finish(attempt, EVENT_SLUG, task_id, Raised(error), {**input, "until": None})
    attempt.note_failure(error, Level(None, 1))
    raise error


def enqueue_child(attempt: Attempt, task_id: str, call: Call[..., Any], input: Any) -> Job:
    attempt.check()
    status = attempt.statuses.get((CHILD_SLUG, task_id))
    if status is None:
        status = _insert_child(attempt, task_id, call, input)
    return _children(attempt, [int(status.output or 0)])[0]


def _insert_child(
    attempt: Attempt, task_id: str, call: Call[..., Any], input: Mapping[str, Any]
) -> TaskStatus:
    """Add the child and the memory of it in one transaction."""
    child = prepare(call.declaration, input, call.options.merged(parent=attempt.job))
    status = TaskStatus(
        job=attempt.job, task_slug=CHILD_SLUG, task_id=task_id, input=child.input, complete=True,
        total_tried=1,
    )  # fmt: skip
    report = Report(job=attempt.job, children=[(child, status)])
    attempt.insist(write(attempt.runtime.recorder, report))
    attempt.remember(status)
    return status


def wait_for(attempt: Attempt, children: Iterable[Job]) -> list[Job]:
    attempt.check()
    joined = _children(attempt, [child.pk for child in children])
    left = {child.pk: child for child in joined if not child.is_finished}
    if left:
        _suspend(attempt, [Wait(job=attempt.job, child=child) for child in left.values()], None)
    return joined


def _children(attempt: Attempt, ids: Sequence[int]) -> list[Job]:
    """Return the children as they are now, in this order."""
    with attempt.database() as using:
        found = Job.objects.using(using).in_bulk(ids)
    missing = [pk for pk in ids if pk not in found]
    if missing:
        raise Job.DoesNotExist(f"The child job {missing[0]} was deleted while it was waited for.")
    return [found[pk] for pk in ids]


def _until(status: TaskStatus | None) -> datetime | None:
    stored = (status.input or {}).get("until") if status is not None else None
    return parse_datetime(stored) if stored else None


def _remember(attempt: Attempt, slug: str, task_id: str, input: Mapping[str, Any]) -> None:
    """Write down since when it is waited for, unless it is."""
    before = attempt.statuses.get((slug, task_id))
    if before is not None and before.input == input:
        return
    status = TaskStatus(job=attempt.job, task_slug=slug, task_id=task_id, input=dict(input))
    if before is not None:
        status.total_tried, status.total_failed = before.total_tried, before.total_failed
    attempt.insist(write(attempt.runtime.recorder, Report(job=attempt.job, statuses=[status])))
    attempt.remember(status)


def _finish(
    attempt: Attempt, slug: str, task_id: str, outcome: Outcome, input: Mapping[str, Any]
) -> None:
    before = attempt.statuses.get((slug, task_id))
    returned = isinstance(outcome, Returned)
    status = TaskStatus(
        job=attempt.job, task_slug=slug, task_id=task_id, input=dict(input), complete=returned,
        output=outcome.output if isinstance(outcome, Returned) else None,
        total_tried=(before.total_tried if before else 0) + 1,
        total_failed=(before.total_failed if before else 0) + (not returned),
    )  # fmt: skip
    entry = log_entry(
        attempt, outcome, slug=slug, task_id=task_id, input=dict(input), started_at=attempt.now()
    )
    report = Report(job=attempt.job, statuses=[status], entries=[entry])
    attempt.insist(write(attempt.runtime.recorder, report))
    attempt.remember(status)


def _suspend(attempt: Attempt, waits: Sequence[Wait], until: datetime | None) -> None:
    longest = attempt.now() + LONGEST_WAIT
    # A sleep ends by itself, however long: its end is in the row.
    wake_at = until if until is not None and not waits else min(until or longest, longest)
    attempt.suspend(waits, wake_at)
    raise Suspended
