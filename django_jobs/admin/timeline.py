"""What became of a job, attempt by attempt, as its log tells it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django_jobs.models import (
    CHILD_SLUG,
    SINGLE_TASK_ID,
    Job,
    JobKind,
    JobLog,
    JobStatus,
    LogState,
    TaskStatus,
)

Key = tuple[str, str]
"""A slug and a task id."""

# The width of a whole chart, and the least that can be seen of a bar.
WIDTH = 1000
LEAST = 6
DEEPEST = 6
# How many attempts are shown unfolded.
OPEN = 3


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Scale:
    """The time that a chart is of."""

    begin: datetime
    end: datetime

    def bar(self, begin: datetime, end: datetime) -> Bar:
        left, right = self._place(begin), self._place(end)
        width = max(right - left, LEAST)
        return Bar(x=round(min(left, WIDTH - width), 1), width=round(width, 1))

    def _place(self, moment: datetime) -> float:
        whole = (self.end - self.begin) / timedelta(microseconds=1)
        share = (moment - self.begin) / timedelta(microseconds=1) / whole if whole > 0 else 0.0
        return WIDTH * min(max(share, 0.0), 1.0)


@dataclass(slots=True, kw_only=True)
class Line:
    """A step that ran, or a message."""

    entry: JobLog
    depth: int = 0
    bar: Bar | None = None
    # Whether another step of the same level ran meanwhile.
    is_parallel: bool = False
    # Whether it ran within a step that has not ended, or is not among the entries.
    is_inside: bool = False

    @property
    def is_step(self) -> bool:
        return self.entry.state != LogState.MESSAGE

    @property
    def lasted(self) -> timedelta:
        return max(self.entry.completed_at - self.entry.executed_at, timedelta(0))


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One attempt at the job, with what was logged in it; number 0 is none, but between them."""

    number: int
    entries: list[JobLog] = field(default_factory=list)
    # The entry of the job's own handler.
    own: JobLog | None = None
    outcome: str = ""
    began_at: datetime | None = None
    ended_at: datetime | None = None
    is_last: bool = False
    # Whether it is among the few last, which are shown at once.
    is_open: bool = False
    lines: list[Line] = field(default_factory=list)
    # Steps of earlier attempts whose results were used, or could have been.
    kept: list[TaskStatus] = field(default_factory=list)
    bar: Bar | None = None

    @property
    def lasted(self) -> timedelta | None:
        if self.began_at is None or self.ended_at is None:
            return None
        return max(self.ended_at - self.began_at, timedelta(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    attempts: list[Attempt]
    # From the enqueue to the first attempt; None where that is not among the entries.
    queued: Bar | None
    waited: timedelta | None


def timeline(
    job: Job, entries: Sequence[JobLog], statuses: Sequence[TaskStatus], *, now: datetime,
    from_the_start: bool = True, to_the_end: bool = True,
) -> Timeline:  # fmt: skip
    """Put together what these entries of the log, oldest first, say of the job.

    Pass false where there are entries before the first, or after the last of them.
    """
    attempts = _attempts(job, entries)
    for attempt in attempts:
        _date(attempt)
    if to_the_end:
        _add_the_present(job, attempts)
    for attempt in attempts:
        attempt.lines = list(_lines(attempt, now))
    for attempt in attempts[-OPEN:]:
        attempt.is_open = True
    _add_kept(attempts, statuses, from_the_start=from_the_start)
    return _to_scale(job, attempts, now, from_the_start=from_the_start)


def _attempts(job: Job, entries: Sequence[JobLog]) -> list[Attempt]:
    attempts: list[Attempt] = []
    seen: set[Key] = set()
    for entry in entries:
        key = _key(entry)
        current = attempts[-1] if attempts else None
        # A retry by an operator counts from 1 again.
        if current is None or current.number != entry.attempt or current.own or key in seen:
            current = Attempt(number=entry.attempt)
            attempts.append(current)
            seen = set()
        if key is not None:
            seen.add(key)
        if _is_own(job, entry):
            current.own = entry
        else:
            current.entries.append(entry)
    return attempts


def _key(entry: JobLog) -> Key | None:
    """Return what step an entry is of, None for a message."""
    is_message = entry.state == LogState.MESSAGE
    return None if is_message else (entry.task_slug, entry.task_id)


def _is_own(job: Job, entry: JobLog) -> bool:
    own_id = SINGLE_TASK_ID if job.kind == JobKind.TASK else ""
    return _key(entry) == (job.slug, own_id)


def _date(attempt: Attempt) -> None:
    dated = [*attempt.entries, *([attempt.own] if attempt.own else [])]
    attempt.began_at = min(entry.executed_at for entry in dated)
    attempt.ended_at = max(entry.completed_at for entry in dated)
    attempt.outcome = _outcome(attempt)


def _add_the_present(job: Job, attempts: list[Attempt]) -> None:
    """Tell the last attempt what the job itself knows, and add one that has logged nothing."""
    under_way = job.status in (JobStatus.RUNNING, JobStatus.WAITING)
    if under_way and not (attempts and _is_going_on(job, attempts[-1])):
        attempts.append(Attempt(number=job.total_tried + 1, began_at=job.started_at))
    if not attempts or not attempts[-1].number:
        return
    last = attempts[-1]
    last.is_last = True
    if job.status != JobStatus.READY:
        last.outcome = job.status
        last.ended_at = job.completed_at if job.is_finished else None


def _is_going_on(job: Job, last: Attempt) -> bool:
    """Whether what was logged last is of the attempt that runs."""
    if last.own is not None or last.number != job.total_tried + 1:
        return False
    is_new = job.started_at and last.ended_at and last.ended_at < job.started_at
    return not (is_new and last.outcome == JobStatus.FAILED)


def _outcome(attempt: Attempt) -> str:
    if attempt.own is not None:
        succeeded = attempt.own.state == LogState.SUCCEEDED
        return JobStatus.SUCCESSFUL if succeeded else JobStatus.FAILED
    states = [entry.state for entry in attempt.entries if entry.state != LogState.MESSAGE]
    return JobStatus.FAILED if states[-1:] == [LogState.FAILED] else ""


def _lines(attempt: Attempt, now: datetime) -> Iterator[Line]:
    if attempt.began_at is None:
        return
    scale = Scale(attempt.began_at, attempt.ended_at or now)
    inner = _by_outer(attempt.entries)
    yield from _level(inner, None, scale, 0)


def _by_outer(entries: Sequence[JobLog]) -> dict[int | None, list[JobLog]]:
    """Return the entries by that of the step that they are within, in the order they began."""
    tries: dict[Key, list[JobLog]] = defaultdict(list)
    for entry in entries:
        if (key := _key(entry)) is not None:
            tries[key].append(entry)
    inner: dict[int | None, list[JobLog]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: (entry.executed_at, entry.pk)):
        outer = _outer(entry, tries)
        inner[None if outer is None else outer.pk].append(entry)
    return inner


def _outer(entry: JobLog, tries: Mapping[Key, Sequence[JobLog]]) -> JobLog | None:
    """Return the entry of the step around one, which is written when that has ended."""
    if entry.state == LogState.MESSAGE:
        named = (entry.task_slug, entry.task_id)
    else:
        named = (entry.parent_task_slug, entry.parent_task_id)
    around = (
        outer
        for outer in tries.get(named, ())
        if outer.executed_at <= entry.executed_at <= outer.completed_at and outer is not entry
    )
    return next(around, None)


def _level(
    inner: Mapping[int | None, Sequence[JobLog]], outer: int | None, scale: Scale, depth: int
) -> Iterator[Line]:
    entries = inner.get(outer, ())
    parallel = _overlapping(entries)
    for entry in entries:
        line = Line(entry=entry, depth=min(depth, DEEPEST), is_parallel=entry.pk in parallel)
        line.is_inside = outer is None and bool(entry.parent_task_id)
        if line.is_step:
            line.bar = scale.bar(entry.executed_at, entry.completed_at)
        yield line
        if line.is_step:
            yield from _level(inner, entry.pk, scale, depth + 1)


def _overlapping(entries: Sequence[JobLog]) -> set[int]:
    """Return the steps that ran while another one of these did."""
    found: set[int] = set()
    latest: JobLog | None = None
    for entry in entries:
        # What the package waits for is not run, and dated by another clock.
        if entry.state == LogState.MESSAGE or entry.task_slug.startswith("ctx."):
            continue
        if latest is not None and entry.executed_at < latest.completed_at:
            found |= {latest.pk, entry.pk}
        if latest is None or entry.completed_at > latest.completed_at:
            latest = entry
    return found


def _add_kept(
    attempts: Sequence[Attempt], statuses: Sequence[TaskStatus], *, from_the_start: bool
) -> None:
    """Note for each attempt which steps had succeeded before it."""
    latest = {
        _key(entry): place
        for place, attempt in enumerate(attempts)
        for entry in attempt.entries
        if entry.state == LogState.SUCCEEDED
    }
    before = len(attempts) if from_the_start else -1
    # Children are enqueued without an entry in the log.
    steps = [step for step in statuses if step.complete and step.task_slug != CHILD_SLUG]
    for place, attempt in enumerate(attempts):
        if attempt.number:
            attempt.kept = [
                step for step in steps if latest.get((step.task_slug, step.task_id), before) < place
            ]


def _to_scale(
    job: Job, attempts: list[Attempt], now: datetime, *, from_the_start: bool
) -> Timeline:
    scale = Scale(job.created_at, job.completed_at or now)
    for attempt in attempts:
        if attempt.number and attempt.began_at is not None:
            attempt.bar = scale.bar(attempt.began_at, attempt.ended_at or now)
    first = next((attempt.began_at for attempt in attempts if attempt.bar), job.started_at)
    if not from_the_start or (first is None and job.is_finished):
        return Timeline(attempts=attempts, queued=None, waited=None)
    waited = max((first or now) - job.created_at, timedelta(0))
    queued = scale.bar(job.created_at, first or now)
    return Timeline(attempts=attempts, queued=queued, waited=waited)
