"""Options of a task that are more than a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from django_jobs.exceptions import InvalidInputError

LONGEST_KEY = 255

ConcurrencyKey = Callable[[dict[str, Any], str], str | None]


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Which jobs must not run at the same time.

    `key` is `callable(input, queue) -> str or None`; at most `limit` jobs with one key run at
    any moment. With `supersedes`, enqueueing deletes what waits under the same key.
    """

    key: ConcurrencyKey
    _: KW_ONLY
    exclusive: bool = True
    supersedes: bool = False
    limit: int = 1

    def __post_init__(self) -> None:
        if not callable(self.key):
            raise TypeError("'key' of Concurrency must be a callable of input and queue.")
        for name in ("exclusive", "supersedes"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name!r} of Concurrency must be True or False.")
        if isinstance(self.limit, bool) or not isinstance(self.limit, int):
            raise TypeError("'limit' of Concurrency must be an integer.")
        if self.limit < 1:
            raise ValueError(f"'limit' of Concurrency must be at least 1, but is {self.limit}.")

    @classmethod
    def of(cls, value: ConcurrencyKey | Concurrency | None) -> Concurrency | None:
        """Return what the option `concurrency` means: a bare callable is the key."""
        if value is None or isinstance(value, Concurrency):
            return value
        if not callable(value):
            raise TypeError(
                "'concurrency' must be a callable, a Concurrency or None, "
                f"not {type(value).__name__}."
            )
        return cls(key=value)

    def compute(self, input: dict[str, Any], queue: str, *, where: str = "The task") -> str | None:
        """Return the key of a job with this stored input, None where nothing restricts it.

        Raises InvalidInputError, which names `where`, if the callable fails.
        """
        try:
            key: object = self.key(input, queue)
        except Exception as error:
            raise _invalid(
                where, f"cannot be computed, the callable raised {type(error).__name__}"
            ) from error
        if key is None or key == "":
            return None
        if not isinstance(key, str):
            raise _invalid(where, f"must be text or None, not {type(key).__name__}")
        if problem := _problem(key):
            raise _invalid(where, problem)
        return key


def _problem(key: str) -> str | None:
    if len(key) > LONGEST_KEY:
        return f"must not be longer than {LONGEST_KEY} characters, but has {len(key)}"
    if "\x00" in key:
        return "holds a NUL character, which databases refuse"
    if any("\ud800" <= character <= "\udfff" for character in key):
        return "holds half of a surrogate pair, which is no character"
    return None


def _invalid(where: str, problem: str) -> InvalidInputError:
    return InvalidInputError(
        f"{where} cannot take this input: its concurrency key {problem}.",
        {"__all__": [f"Its concurrency key {problem}."]},
    )
