"""The setting DJANGO_JOBS as one validated object.

The class body below is the list of keys, their types and their defaults.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

SETTING = "DJANGO_JOBS"
STATUSES_THAT_END = ("successful", "failed", "cancelled")
ACCESS_VERBS = ("run", "queue", "cancel", "retry")


def _duration(value: Any) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        raise TypeError("must be a number of seconds or a timedelta")
    duration = value if isinstance(value, timedelta) else timedelta(seconds=value)
    if duration < timedelta(0):
        raise ValueError("must not be negative")
    return duration


def _positive_duration(value: Any) -> timedelta:
    duration = _duration(value)
    if not duration:
        raise ValueError("must be more than 0")
    return duration


def _duration_or_none(value: Any) -> timedelta | None:
    return None if value is None else _duration(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("must be True or False")
    return value


def _at_least_one(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("must be an integer")
    if value < 1:
        raise ValueError("must be at least 1")
    return value


def _text_or_none(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError("must be a string or None")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(name, str) for name in _iterate(value)):
        raise TypeError("must be a list of field names")
    return tuple(value)


def _iterate(value: Any) -> Iterator[Any]:
    try:
        return iter(value)
    except TypeError as error:
        raise TypeError("must be a list") from error


def _hook(value: Any) -> Callable[..., Any] | str | None:
    if value is not None and not callable(value) and not isinstance(value, str):
        raise TypeError("must be a callable or the dotted path of one")
    return value  # type: ignore[no-any-return]


def _access(value: Any) -> dict[str, Callable[..., Any] | str]:
    if not isinstance(value, Mapping):
        raise TypeError("must be a dict")
    for verb, function in value.items():
        if verb not in ACCESS_VERBS:
            raise ValueError(f"knows the keys {', '.join(ACCESS_VERBS)}, not {verb!r}")
        if function is None or _hook(function) is None:
            raise TypeError(f"needs a callable or a dotted path for {verb!r}")
    return dict(value)


def _retention(value: Any) -> dict[str, timedelta]:
    if not isinstance(value, Mapping):
        raise TypeError("must be a dict of a status and a duration")
    unknown = [status for status in value if status not in STATUSES_THAT_END]
    if unknown:
        raise ValueError(f"knows the keys {', '.join(STATUSES_THAT_END)}, not {unknown[0]!r}")
    return {status: _duration(age) for status, age in value.items() if age is not None}


def _processing_order(value: Any) -> Any:
    orders = value.values() if isinstance(value, Mapping) else [value]
    if callable(value) or all(order is None or isinstance(order, str) for order in orders):
        return value
    raise TypeError("must be an ordering string, a dict of queue and string, or a callable")


_AUTORUN_KEYS = {
    "cron": str,
    "queue": str,
    "limit": int,
    "disable_scheduling": bool,
    "all_queues": bool,
}


def _autorun(value: Any) -> tuple[dict[str, Any], ...]:
    if isinstance(value, str | Mapping):
        raise TypeError("must be a list of dicts")
    return tuple(_autorun_entry(entry) for entry in _iterate(value))


def _autorun_entry(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, Mapping) or "cron" not in entry:
        raise TypeError("must be a list of dicts that each have a 'cron'")
    for key, value in entry.items():
        if key not in _AUTORUN_KEYS:
            raise ValueError(f"knows the keys {', '.join(_AUTORUN_KEYS)}, not {key!r}")
        if not isinstance(value, _AUTORUN_KEYS[key]):
            raise TypeError(f"needs a {_AUTORUN_KEYS[key].__name__} for {key!r}")
    return dict(entry)


def _key(read: Callable[[Any], Any], default: Any) -> Any:
    return field(default=default, metadata={"read": read})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    CRON_SECRET: str | None = _key(_text_or_none, None)
    # Functions that take the request and answer whether it may run, queue, cancel, retry.
    ACCESS: Mapping[str, Callable[..., Any] | str] = field(
        default_factory=dict, metadata={"read": _access}
    )
    # The alias of the database that holds the jobs; None leaves it to the routers.
    DATABASE: str | None = _key(_text_or_none, None)
    # How long a worker that is silent keeps its jobs.
    LEASE: timedelta = _key(_positive_duration, timedelta(seconds=60))
    # How many times a job may lose its worker before it fails.
    MAX_CRASHES: int = _key(_at_least_one, 3)
    POLL_INTERVAL: timedelta = _key(_positive_duration, timedelta(seconds=1))
    # How long finished jobs stay, by status; a status that is not named stays for ever.
    RETENTION: Mapping[str, timedelta] = field(default_factory=dict, metadata={"read": _retention})
    DELETE_JOB_ON_COMPLETE: bool = _key(_boolean, False)
    PROCESSING_ORDER: Any = _key(_processing_order, None)
    # Whether log entries of nested tasks name the task that ran them.
    ADD_PARENT_TO_TASK_LOG: bool = _key(_boolean, True)
    # Whether the `tasks` and `workflows` modules of the installed apps are imported.
    AUTODISCOVER: bool = _key(_boolean, True)
    AUTORUN: tuple[dict[str, Any], ...] = _key(_autorun, ())
    SHOULD_AUTORUN: Callable[..., Any] | str | None = _key(_hook, None)
    SCHEDULING: bool = _key(_boolean, True)
    # How long a call of the endpoint `run` may take, unless it says so itself.
    MAX_SECONDS: timedelta | None = _key(_duration_or_none, None)
    # How long a job whose slug no worker knows waits for a deployment to bring it.
    UNKNOWN_TASK_GRACE: timedelta = _key(_duration, timedelta(seconds=60))
    MAX_INPUT_BYTES: int = _key(_at_least_one, 1024 * 1024)
    # Whether workers on PostgreSQL are told of new jobs, and need not wait for their next poll.
    NOTIFY: bool = _key(_boolean, True)
    # Names of input fields that are never shown.
    REDACT: tuple[str, ...] = _key(_names, ())


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one key of the setting."""

    key: str
    message: str


def read(raw: Any) -> tuple[Settings, list[Problem]]:
    """Return the settings that `raw` gives, defaults where it is wrong, and what is wrong."""
    if not isinstance(raw, Mapping):
        return Settings(), [Problem(SETTING, f"{SETTING} must be a dict.")]
    readers = {key.name: key.metadata["read"] for key in fields(Settings)}
    values, problems = {}, []
    for key, value in raw.items():
        if key not in readers:
            problems.append(Problem(str(key), _unknown(str(key), list(readers))))
            continue
        try:
            values[key] = readers[key](value)
        except (TypeError, ValueError) as error:
            problems.append(Problem(key, f"{SETTING}[{key!r}] {error}."))
    return Settings(**values), problems


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key.upper(), known, n=1)
    remedy = f"Did you mean {near[0]!r}?" if near else f"It knows {', '.join(known)}."
    return f"{SETTING} has the unknown key {key!r}. {remedy}"


def raw() -> Any:
    """Return the setting as the project wrote it."""
    return getattr(django_settings, SETTING, {})


@cache
def _load() -> Settings:
    settings, problems = read(raw())
    if problems:
        raise ImproperlyConfigured(" ".join(problem.message for problem in problems))
    return settings


def names_task_backend() -> bool:
    """Whether Django's own setting TASKS has tasks stored as jobs."""
    backends = getattr(django_settings, "TASKS", None)
    given = backends.values() if isinstance(backends, Mapping) else ()
    paths = [backend.get("BACKEND") for backend in given if isinstance(backend, Mapping)]
    return any(str(path).startswith("django_jobs.tasks_backend.") for path in paths)


def get() -> Settings:
    """Return the settings in force; raise ImproperlyConfigured where they are wrong."""
    return _load()


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting == SETTING:
        _load.cache_clear()


setting_changed.connect(_reload, dispatch_uid="django_jobs.conf")
