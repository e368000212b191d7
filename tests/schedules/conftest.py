from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest


class Clock:
    """What `timezone.now()` says, until it is set forward."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)

    def set(self, text: str) -> None:
        """Set it to a moment in UTC."""
        self.now = datetime.fromisoformat(text).replace(tzinfo=UTC)

    def forward(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("django.utils.timezone.now", lambda: clock.now)
    return clock
