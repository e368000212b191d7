"""When a worker works: always, or at the ticks of a cron expression."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from django_jobs.tasks.schedule import next_time


class Pace:
    """With a cron expression, each tick begins a pass, in which at most `limit` jobs run."""

    def __init__(self, cron: str | None, limit: int = 0) -> None:
        self.cron = cron
        self.limit = limit
        self._claimed = 0
        self._next = None if cron is None else self._after_now(cron)

    @property
    def is_continuous(self) -> bool:
        return self.cron is None

    def is_time(self) -> bool:
        return self._next is None or timezone.now() >= self._next

    def left_in_pass(self, most: int) -> int:
        """Return how many more jobs may be claimed in this pass; `most` where there are none."""
        return most if self.cron is None else min(most, self.limit - self._claimed)

    def note_claimed(self, count: int) -> None:
        self._claimed += count

    def end_of_pass(self) -> None:
        """Rest until the next tick. Ticks that passed meanwhile are gone."""
        self._claimed = 0
        if self.cron is not None and self.is_time():
            self._next = self._after_now(self.cron)

    def seconds_to_next_tick(self) -> float:
        """Return how long to rest, at most a minute, in case that the clock is set."""
        left = 0.0 if self._next is None else (self._next - timezone.now()).total_seconds()
        return min(max(left, 0.0), 60.0)

    @staticmethod
    def _after_now(cron: str) -> datetime:
        zone = timezone.get_default_timezone()
        return next_time(timezone.now(), cron=cron, zone=zone)
