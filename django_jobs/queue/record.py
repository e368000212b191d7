"""What workers write about jobs, each write held back by the job's claim token.

A worker that lost its claim, to a rescue or a cancellation, writes nothing.
"""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import ModuleType
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connections, transaction

from django_jobs import signals
from django_jobs.fields import DatabaseNow
from django_jobs.models import SINGLE_TASK_ID, Job, JobLog, JobStatus, LogState, TaskStatus, Wait
from django_jobs.queue import (
    concurrency,
    enqueue,
    lifecycle,
    operate,
    record_at_once,
    record_on_sqlite,
    waits,
)
from django_jobs.queue.json import encode
from django_jobs.queue.lifecycle import CANCELLED, UNCLAIMED, Change
from django_jobs.queue.record_at_once import STEP_RESULT
from django_jobs.queue.rows import new
from django_jobs.queue.transient import retried


class Standing(enum.Enum):
    """How a worker stands to a job that it claimed."""

    HELD = "the claim is its own"
    CANCELLED = "the job was cancelled while it ran"
    LOST = "the claim is somebody else's, or the job is gone"


# Not frozen, which would make it three times as dear.
@dataclass(slots=True, kw_only=True)
class Report:
    """What a worker wants written about a job that it runs."""

    job: Job
    # What becomes of the job; None while it runs on.
    change: Change | None = None
    entries: Sequence[JobLog] = ()
    # When the handler of a task began and ended, in seconds since the epoch: where it has
    # succeeded, its log says so, and that is all there is to report.
    ran: tuple[float, float] | None = None
    statuses: Sequence[TaskStatus] = ()
    # Columns that do not touch the claim, such as the progress.
    values: Mapping[str, Any] = field(default_factory=dict)
    # Child jobs to add, each with the step that remembers it.
    children: Sequence[tuple[Job, TaskStatus]] = ()
    # What a job that leaves the worker waits for, and the events that it has had.
    waits: Sequence[Wait] = ()
    taken_events: Collection[int] = ()
    # Whether it has waited before, and there is something to clear away.
    had_to_wait: bool = False
    delete: bool = False
    # Set when it is written, so that a second try of its batch does not write it again.
    stored: bool = False

    @property
    def writes(self) -> bool:
        return bool(self.change or self.entries or self.statuses or self.values or self.children)

    def spell_out(self) -> None:
        """Put the entry in place of what `ran` says of it."""
        if self.ran is None or self.change is None:
            return
        job = self.job
        entry = {
            "job_id": job.id,
            "attempt": job.total_tried + 1,
            "task_slug": job.slug,
            "task_id": SINGLE_TASK_ID,
            "executed_at": moment(self.ran[0]),
            "completed_at": moment(self.ran[1]),
            "input": job.input,
            "output": self.change.output,
            "state": LogState.SUCCEEDED,
        }
        self.entries = [*self.entries, new(JobLog, entry)]
        self.ran = None

    @property
    def is_plain(self) -> bool:
        """Whether it tells of steps or of success, or of nothing at all."""
        if self.change is not None and self.change.status is not JobStatus.SUCCESSFUL:
            return False
        return not (self.values or self.children or self.had_to_wait or self.delete)


def moment(seconds: float) -> datetime:
    """Return the time so long after the epoch, as Django's `now` would have."""
    return datetime.fromtimestamp(seconds, tz=UTC if settings.USE_TZ else None)


def record(reports: Sequence[Report], *, using: str) -> list[Standing]:
    """Write what the reports say of jobs whose claim holds; return how each stands.

    The jobs of those are brought up to date in memory. For a job that was cancelled nothing
    is written but that its handler has left, where the report is that of its end.
    """
    standings = store(reports, using=using)
    follow_up(reports, standings, using=using)
    return standings


def follow_up(reports: Sequence[Report], standings: Sequence[Standing], *, using: str) -> None:
    """Wake whoever waited for what was stored. It may be done again, `store` may not."""
    for report, standing in zip(reports, standings, strict=True):
        if report.children and standing is Standing.HELD:
            children = [child for child, _status in report.children if not child._state.adding]
            signals.announce(signals.job_enqueued, children)
    left = [report.job for report in reports if report.change is not None]
    concurrency.look_again(left, using=using)
    waits.wake_parents(left, using=using)
    for report, standing in zip(reports, standings, strict=True):
        if report.waits:
            waits.look_again(report.job, report.taken_events, using=using)
        if standing is Standing.HELD and report.change and report.change.status == CANCELLED:
            operate.cancel(waits.children_to_cancel([report.job], using=using))


@retried
def store(reports: Sequence[Report], *, using: str) -> list[Standing]:
    """Write the reports; see record()."""
    _store_at_once(reports, using)
    rest = [report for report in reports if not report.stored]
    for report in rest:
        report.spell_out()
    standings = iter(_store_together(rest, using) if rest else ())
    return [Standing.HELD if report.stored else next(standings) for report in reports]


def _store_at_once(reports: Sequence[Report], using: str) -> None:
    """Write those of the reports that can be in one statement, and whose claim holds."""
    on_postgresql = record_at_once.is_supported(using)
    if not on_postgresql and not record_on_sqlite.is_supported(using):
        return
    times = Counter(report.job.id for report in reports)
    # Several of one job have to be written in their order.
    alone = [report for report in reports if times[report.job.id] == 1 and not report.stored]
    successes = [report for report in alone if report.ran and not report.delete]
    if successes:
        _store_successes(successes, record_at_once if on_postgresql else record_on_sqlite, using)
    plain = [report for report in alone if not report.ran and report.is_plain]
    # Those that only ask how they stand are answered along with others; alone, they lock nothing.
    if on_postgresql and any(report.writes for report in plain):
        _store_plain(plain, using)


def _store_successes(reports: Sequence[Report], database: ModuleType, using: str) -> None:
    written = database.write_successes(
        [(report.job, report.change.output, *report.ran) for report in reports],  # type: ignore[union-attr, misc]
        using=using,
    )
    _note_stored(reports, *written)


def _store_plain(reports: Sequence[Report], using: str) -> None:
    written = record_at_once.write(
        [(report.job, report.change) for report in reports],
        [entry for report in reports for entry in report.entries],
        [status for report in reports for status in report.statuses],
        using=using,
    )
    _note_stored(reports, *written)


def _note_stored(reports: Sequence[Report], held: Collection[int], now: datetime) -> None:
    values = lifecycle.succeed(None).values(now)
    for report in reports:
        report.stored = report.job.id in held
        if report.stored and report.change is not None:
            _bring_up_to_date(report.job, report.change, values)
            report.job.output = report.change.output


def _store_together(reports: Sequence[Report], using: str) -> list[Standing]:
    """Write the reports in one transaction."""
    if not any(report.writes for report in reports):
        return _stand(reports, _tokens(reports, using, lock=False))
    with transaction.atomic(using=using):
        tokens = _tokens(reports, using, lock=True)
        standings = _stand(reports, tokens)
        held = _with(reports, standings, Standing.HELD)
        _insert_entries(held, using)
        _insert_children(held, using)
        _save_statuses(held, using)
        _change_jobs(held, tokens, using)
        _change_waits(held, using)
        _leave(_with(reports, standings, Standing.CANCELLED), using)
    return standings


@dataclass(frozen=True, slots=True)
class _Row:
    token: UUID | None
    status: str
    now: datetime


def _tokens(reports: Sequence[Report], using: str, *, lock: bool) -> dict[int, _Row]:
    # In one order, so that two workers cannot wait for each other.
    rows = Job.objects.using(using).filter(pk__in={report.job.pk for report in reports})
    rows = rows.order_by("pk")
    if lock:
        rows = rows.select_for_update()
    found = rows.values_list("pk", "processing_token", "status", DatabaseNow())
    return {pk: _Row(token, status, now) for pk, token, status, now in found}


def _stand(reports: Sequence[Report], rows: Mapping[int, _Row]) -> list[Standing]:
    return [_standing(report.job, rows.get(report.job.pk)) for report in reports]


def _standing(job: Job, row: _Row | None) -> Standing:
    if row is None or row.token is None or row.token != job.processing_token:
        return Standing.LOST
    return Standing.HELD if row.status == JobStatus.RUNNING else Standing.CANCELLED


def _with(
    reports: Sequence[Report], standings: Sequence[Standing], wanted: Standing
) -> list[Report]:
    return [
        report for report, standing in zip(reports, standings, strict=True) if standing is wanted
    ]


def _insert_entries(reports: Sequence[Report], using: str) -> None:
    entries = [entry for report in reports if not report.delete for entry in report.entries]
    if entries:
        JobLog.objects.using(using).bulk_create(entries)


def _insert_children(reports: Sequence[Report], using: str) -> None:
    for report in reports:
        for child, status in report.children:
            if (known := _known_child(status, using)) is not None:
                status.output = known
                continue
            stored = enqueue.insert([child], using=using)[0]
            status.output = stored.pk


def _known_child(status: TaskStatus, using: str) -> int | None:
    """Return the child that was added by a commit whose answer the connection lost."""
    steps = TaskStatus.objects.using(using).filter(
        job=status.job_id, task_slug=status.task_slug, task_id=status.task_id
    )
    child: int | None = steps.values_list("output", flat=True).first()
    return child


def _save_statuses(reports: Sequence[Report], using: str) -> None:
    latest = {
        (status.job_id, status.task_slug, status.task_id): status
        for report in reports
        if not report.delete
        for status in [*report.statuses, *(status for _child, status in report.children)]
    }
    if not latest:
        return
    features = connections[using].features
    TaskStatus.objects.using(using).bulk_create(
        list(latest.values()),
        update_conflicts=True,
        update_fields=STEP_RESULT,
        unique_fields=["job", "task_slug", "task_id"]
        if features.supports_update_conflicts_with_target
        else None,
    )


def _change_jobs(reports: Sequence[Report], rows: Mapping[int, _Row], using: str) -> None:
    """Write what is alike for several jobs in one statement."""
    groups: dict[str, list[Report]] = defaultdict(list)
    for report in reports:
        if report.change is not None or report.values:
            groups[_likeness(report)].append(report)
    # The end of a job comes after what it reported on its way, such as its progress.
    for group in sorted(groups.values(), key=lambda group: group[0].change is not None):
        jobs = Job.objects.using(using).filter(pk__in=[report.job.pk for report in group])
        if group[0].delete:
            jobs.delete()
            continue
        now = rows[group[0].job.pk].now
        change = group[0].change
        values = {**group[0].values, **(change.values(now) if change else {})}
        jobs.update(**values)
        for report in group:
            _bring_up_to_date(report.job, report.change, values)


def _likeness(report: Report) -> str:
    change = report.change
    alike = change and (
        change.status, change.output, change.error, change.delay,
        change.counts_attempt, change.counts_crash,
    )  # fmt: skip
    return f"{report.delete} {encode([alike, report.values])}"


def _bring_up_to_date(job: Job, change: Change | None, values: Mapping[str, Any]) -> None:
    counters = job.total_tried, job.crashes
    vars(job).update(values)
    job.total_tried, job.crashes = counters
    if change is not None:
        job.total_tried += change.counts_attempt
        job.crashes += change.counts_crash


def _change_waits(reports: Sequence[Report], using: str) -> None:
    ended = [
        report.job.pk
        for report in reports
        if report.had_to_wait and report.change is not None and not report.waits
    ]
    if ended:
        waits.forget(ended, using=using)
    waits.insert([wait for report in reports for wait in report.waits], using=using)


def _leave(reports: Sequence[Report], using: str) -> None:
    """Let go of cancelled jobs whose handlers have ended."""
    ended = [report.job for report in reports if report.change is not None]
    if ended:
        Job.objects.using(using).filter(pk__in=[job.pk for job in ended]).update(**UNCLAIMED)
        for job in ended:
            job.status = JobStatus.CANCELLED
