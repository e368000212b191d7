"""Schedules: when a task is due, by cron expression and time zone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

_SECOND = timedelta(seconds=1)
_WITHOUT_SECONDS = 5
_WITH_SECONDS = 6
# Any day will do to find out whether an expression has a next time at all.
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to enqueue a task.

    `cron` has 5 fields, or 6 with the seconds first, or is `@hourly`, `@daily`, `@weekly`,
    `@monthly` or `@yearly`. `timezone` is the name of a zone, by default the setting
    TIME_ZONE. With `catch_up` every time missed in an outage is made up, not only the last.
    """

    cron: str
    _: KW_ONLY
    queue: str | None = None
    input: Mapping[str, Any] | None = None
    timezone: str | None = None
    before_schedule: Callable[[Any], SkipSchedule | EnqueueSchedule | None] | None = None
    after_schedule: Callable[[Any], object] | None = None
    catch_up: bool = False

    def __post_init__(self) -> None:
        _check("cron", self.cron, str, "a cron string")
        _check("queue", self.queue, str | None, "the name of a queue")
        _check("input", self.input, Mapping | None, "a mapping of names to values")
        _check("timezone", self.timezone, str | None, "the name of a time zone")
        _check("catch_up", self.catch_up, bool, "True or False")
        for name in ("before_schedule", "after_schedule"):
            hook = getattr(self, name)
            if hook is not None and not callable(hook):
                raise TypeError(f"{name!r} of Schedule must be a callable of the context.")

    @classmethod
    def many(cls, value: str | Schedule | Sequence[str | Schedule] | None) -> tuple[Schedule, ...]:
        """Return what the option `schedule` means: nothing, one schedule or several."""
        if value is None:
            return ()
        if isinstance(value, str | Schedule):
            value = (value,)
        if not isinstance(value, list | tuple):
            raise TypeError(
                "'schedule' must be a cron string, a Schedule or a list of them, "
                f"not {type(value).__name__}."
            )
        return tuple(cls._one(item) for item in value)

    @classmethod
    def _one(cls, item: object) -> Schedule:
        if isinstance(item, Schedule):
            return item
        if isinstance(item, str):
            return cls(item)
        raise TypeError(
            "'schedule' must hold cron strings and Schedule objects only, "
            f"not {type(item).__name__}."
        )

    def problems(self) -> list[str]:
        """Return a sentence for each value that cannot be used."""
        return [*cron_problems(self.cron), *zone_problems(self.timezone)]


@dataclass(frozen=True, slots=True)
class SkipSchedule:
    """Returned by `before_schedule`: enqueue nothing this time."""

    reason: str = "before_schedule skipped it."


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueueSchedule:
    """Returned by `before_schedule`: enqueue, with this input or this time where given."""

    input: Mapping[str, Any] | None = None
    wait_until: datetime | None = None


def _check(name: str, value: object, wanted: Any, noun: str) -> None:
    if not isinstance(value, wanted):
        raise TypeError(f"{name!r} of Schedule must be {noun}, not {type(value).__name__}.")


def cron_problems(cron: str) -> list[str]:
    """Return a sentence if a cron expression cannot be used."""
    if problem := _shape_problem(cron):
        return [f"The cron expression {cron!r} {problem}."]
    try:
        next_time(_SOME_DAY, cron=cron, zone=UTC)
    except CroniterBadDateError:
        return [f"The cron expression {cron!r} never comes true."]
    except Exception as error:
        return [f"The cron expression {cron!r} is not valid: {str(error).rstrip('.')}."]
    return []


def _shape_problem(cron: str) -> str | None:
    """Return what croniter would accept but schedules do not."""
    fields = cron.split()
    if cron.strip().startswith("@"):
        return None
    if len(fields) not in (_WITHOUT_SECONDS, _WITH_SECONDS):
        return f"must have 5 fields, or 6 with the seconds first, but has {len(fields)}"
    if any(part[:1].lower() in ("h", "r") for field in fields for part in field.split(",")):
        return "must not have the random fields 'H' and 'R', which differ in every process"
    return None


def zone_problems(timezone: str | None) -> list[str]:
    """Return a sentence if there is no such time zone."""
    if timezone is None:
        return []
    try:
        ZoneInfo(timezone)
    except (LookupError, ValueError, OSError):
        return [f"There is no time zone {timezone!r}; use a name such as 'Europe/Berlin'."]
    return []


def next_time(after: datetime, *, cron: str, zone: str | tzinfo) -> datetime:
    """Return the first due time after `after`, in UTC.

    Cron reads the clock on the wall. Times that the clock jumps over in spring are due
    together, once, at the moment of the jump; of times it shows twice in autumn only the
    first is due. So `*/15 * * * *` is due at 01:45, at the jump (which is 03:00) and at 03:15
    in spring, and not in the second hour from 02:00 to 02:45 in autumn.

    Raises ValueError if the expression never comes true.
    """
    return next(_times(after, cron=cron, zone=zone))


def next_times(
    after: datetime, *, cron: str, zone: str | tzinfo, count: int
) -> list[datetime]:  # fmt: skip
    """Return the first `count` due times after `after`, in UTC; see next_time()."""
    return list(islice(_times(after, cron=cron, zone=zone), count))


def times_between(
    after: datetime, until: datetime, *, cron: str, zone: str | tzinfo, limit: int
) -> list[datetime]:
    """Return the first `limit` due times after `after` and not after `until`, in UTC."""
    times = takewhile(lambda time: time <= until, _times(after, cron=cron, zone=zone))
    return list(islice(times, limit))


def latest_time(until: datetime, *, cron: str, zone: str | tzinfo) -> datetime:
    """Return the last due time that is not after `until`, in UTC."""
    zone = _zone(zone)
    start = _wall_clock(until.astimezone(zone)) + _overlap(until, zone) + _SECOND
    walls = _cron(cron, start)
    while True:
        time = _instant(walls.get_prev(datetime), zone)
        if time <= until:
            return time


def _times(after: datetime, *, cron: str, zone: str | tzinfo) -> Iterator[datetime]:
    """Yield every due time after `after`.

    croniter only counts wall clocks here, so that its own idea of transitions is not asked.
    """
    zone = _zone(zone)
    walls = _cron(cron, _wall_clock(after.astimezone(zone)))
    latest = after
    while True:
        time = _instant(walls.get_next(datetime), zone)
        if time > latest:
            latest = time
            yield time


def _cron(expression: str, start: datetime) -> croniter:
    return croniter(expression.strip(), start, second_at_beginning=True)


def _zone(zone: str | tzinfo) -> tzinfo:
    return ZoneInfo(zone) if isinstance(zone, str) else zone


def _wall_clock(local: datetime) -> datetime:
    return local.replace(microsecond=0, tzinfo=None, fold=0)


def _overlap(time: datetime, zone: tzinfo) -> timedelta:
    """Return how far the clock went back, if it shows `time` for the second time."""
    local = time.astimezone(zone)
    first, second = local.replace(fold=0).utcoffset(), local.utcoffset()
    return first - second if first and second else timedelta(0)


def _instant(wall: datetime, zone: tzinfo) -> datetime:
    """Return when the clock shows `wall` for the first time, or jumps over it."""
    time = wall.replace(tzinfo=zone).astimezone(UTC)
    if time.astimezone(zone).replace(tzinfo=None) == wall:
        return time
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _jump(before, time, zone)


def _jump(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """Return the second, between two of either side, at which the offset changes."""
    old = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + timedelta(seconds=(after - before) // _SECOND // 2)
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after
