"""Retries: how often, how long to wait, and after which errors."""

from __future__ import annotations

import random as randomness
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import Any, Literal, get_args

Backoff = Literal["fixed", "exponential"]
ErrorClasses = type[BaseException] | tuple[type[BaseException], ...]

# What an exponential backoff without `max_delay` grows to.
LONGEST_WAIT = timedelta(days=366)
# No single wait may be longer; keeps "now + wait" within what a datetime can hold.
LONGEST_DELAY = timedelta(days=36_525)
# Doubling more often than this passes every cap.
_MOST_DOUBLINGS = 100


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a failed task is tried again, and when.

    `delay` and `max_delay` are seconds or a timedelta.
    """

    attempts: int = 0
    _: KW_ONLY
    backoff: Backoff = "fixed"
    delay: float | timedelta = 0
    max_delay: float | timedelta | None = None
    jitter: bool = False
    should_restore: bool | Callable[[Any, Any], bool] = True
    retry_on: ErrorClasses | None = None
    give_up_on: ErrorClasses = ()

    def __post_init__(self) -> None:
        _check_attempts(self.attempts)
        _check_backoff(self.backoff)
        _duration("delay", self.delay)
        if self.max_delay is not None:
            _duration("max_delay", self.max_delay)
        if not isinstance(self.jitter, bool):
            raise TypeError("'jitter' of Retry must be True or False.")
        if not isinstance(self.should_restore, bool) and not callable(self.should_restore):
            raise TypeError("'should_restore' of Retry must be True, False or a callable.")
        if self.retry_on is not None:
            _check_classes("retry_on", self.retry_on)
        _check_classes("give_up_on", self.give_up_on)

    @classmethod
    def of(cls, value: int | Retry | None) -> Retry | None:
        """Return what the option `retries` means: `3` is `Retry(attempts=3)`."""
        if value is None or isinstance(value, Retry):
            return value
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(
                f"'retries' must be an integer, a Retry or None, not {type(value).__name__}."
            )
        return cls(attempts=value)

    def allows(self, error: BaseException, failures: int) -> bool:
        """Return whether to try again after `failures` failed attempts, this one included."""
        if failures > self.attempts or isinstance(error, self.give_up_on):
            return False
        return self.retry_on is None or isinstance(error, self.retry_on)

    def wait(self, failures: int, *, random: Callable[[], float] = randomness.random) -> timedelta:
        """Return how long to wait after `failures` failed attempts, the latest included."""
        whole = self._uncapped(failures)
        if self.max_delay is not None:
            whole = min(whole, _duration("max_delay", self.max_delay))
        return whole * (0.5 + random() / 2) if self.jitter else whole

    def _uncapped(self, failures: int) -> timedelta:
        delay = _duration("delay", self.delay)
        if self.backoff == "fixed":
            return delay
        doublings = min(max(failures - 1, 0), _MOST_DOUBLINGS)
        seconds = delay.total_seconds() * 2**doublings
        longest = LONGEST_WAIT if self.max_delay is None else LONGEST_DELAY
        return max(delay, timedelta(seconds=min(seconds, longest.total_seconds())))

    def to_json(self) -> dict[str, Any]:
        """Return the arithmetic as JSON, for a job that brings its own retries."""
        if self.retry_on is not None or self.give_up_on != () or callable(self.should_restore):
            raise ValueError(
                "Retries with 'retry_on', 'give_up_on' or a callable 'should_restore' cannot be "
                "stored with a job; declare them on the task."
            )
        max_delay = self.max_delay
        return {
            "attempts": self.attempts,
            "backoff": self.backoff,
            "delay": _duration("delay", self.delay).total_seconds(),
            "max_delay": None
            if max_delay is None
            else _duration("max_delay", max_delay).total_seconds(),
            "jitter": self.jitter,
            "should_restore": self.should_restore,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Retry:
        """Return the retries that `to_json` described, ignoring keys of later versions."""
        known = ("attempts", "backoff", "delay", "max_delay", "jitter", "should_restore")
        return cls(**{name: data[name] for name in known if name in data})


def _check_attempts(attempts: object) -> None:
    if isinstance(attempts, bool) or not isinstance(attempts, int):
        raise TypeError(f"'attempts' of Retry must be an integer, not {type(attempts).__name__}.")
    if attempts < 0:
        raise ValueError(f"'attempts' of Retry must not be negative, but is {attempts}.")


def _check_backoff(backoff: object) -> None:
    if backoff not in get_args(Backoff):
        raise ValueError(f"'backoff' of Retry must be 'fixed' or 'exponential', not {backoff!r}.")


def _duration(name: str, value: object) -> timedelta:
    """Return seconds or a timedelta as a timedelta, refusing what no wait can be."""
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        raise TypeError(
            f"{name!r} of Retry must be seconds or a timedelta, not {type(value).__name__}."
        )
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not seconds >= 0:  # as NaN is not
        raise ValueError(f"{name!r} of Retry must not be negative, but is {value}.")
    if seconds > LONGEST_DELAY.total_seconds():
        raise ValueError(f"{name!r} of Retry must not be longer than a hundred years.")
    return value if isinstance(value, timedelta) else timedelta(seconds=value)


def _check_classes(name: str, classes: object) -> None:
    members = classes if isinstance(classes, tuple) else (classes,)
    for member in members:
        if not (isinstance(member, type) and issubclass(member, BaseException)):
            raise TypeError(
                f"{name!r} of Retry must be an exception class or a tuple of them, not {member!r}."
            )
