"""A machine whose clock is wrong, by the seconds in CLOCK_OFFSET."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from django.utils import timezone

VARIABLE = "CLOCK_OFFSET"


def set_wrong() -> None:
    """Let Django's clock in this process be wrong; to be called before models are imported."""
    offset = timedelta(seconds=float(os.environ.get(VARIABLE, 0)))
    right = timezone.now
    if offset:

        def wrong() -> datetime:
            return right() + offset

        timezone.now = wrong
