"""Cron expressions as people read them: in words, and by the times that they come to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib import resources
from itertools import chain
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone
from django.utils.dates import MONTHS, WEEKDAYS
from django.utils.translation import get_language, override, to_locale

from django_jobs.tasks.schedule import cron_problems, next_times, zone_problems

try:
    from cron_descriptor import ExpressionDescriptor, Options
except ImportError:  # The extra "admin" is not installed.
    ExpressionDescriptor = None

TIMES_SHOWN = 5

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

# The greatest values of the fields, the seconds first.
_GREATEST = (59, 59, 23, 31, 12, 7)


@dataclass(frozen=True, slots=True)
class Outlook:
    """When a schedule is due."""

    # Empty where there are none.
    words: str
    # In its time zone.
    times: Sequence[datetime]
    zone: str


def outlook(cron: str, zone: str) -> Outlook | None:
    """Return when a schedule is due; None where that cannot be reckoned."""
    zone = zone or settings.TIME_ZONE
    if cron_problems(cron) or zone_problems(zone):
        return None
    times = next_times(timezone.now(), cron=cron, zone=zone, count=TIMES_SHOWN)
    return Outlook(in_words(cron), [time.astimezone(ZoneInfo(zone)) for time in times], zone)


def in_words(cron: str) -> str:
    """Say in the active language what an expression means; "" where there are no true words."""
    cron = ALIASES.get(cron.strip().lower(), cron.strip())
    fields = cron.split()
    if ExpressionDescriptor is None or len(fields) not in (5, 6) or cron_problems(cron):
        return ""
    if any(_steps_too_far(*pair) for pair in zip(fields, _GREATEST[-len(fields) :], strict=True)):
        return ""
    if len(fields) == 6:
        # With the year, so that the first field is not taken for the minutes.
        fields.append("*")
    return _described(" ".join(fields).replace("?", "*"), get_language() or "en")


def _steps_too_far(field: str, greatest: int) -> bool:
    """Whether a step leads out of the field, as in */90: that means something else than it says."""
    return any(int(step) > greatest for step in re.findall(r"/(\d+)", field))


@lru_cache(maxsize=256)
def _described(fields: str, language: str) -> str:
    options = Options()
    options.locale_code = _locale(language)
    options.use_24hour_time_format = True
    try:
        text = str(ExpressionDescriptor(fields, options).get_description())
    except Exception:
        return ""
    return text if options.locale_code == "en_US" else _with_names(text, language)


def _locale(language: str) -> str:
    """Return the locale of the library that speaks the language; English where none does."""
    wanted = to_locale(language)
    known = sorted(
        entry.name.removesuffix(".mo")
        for entry in resources.files("cron_descriptor").joinpath("locale").iterdir()
        if entry.name.endswith(".mo")
    )
    if wanted in known:
        return wanted
    return next((name for name in known if name[:2] == wanted[:2]), "en_US")


def _with_names(text: str, language: str) -> str:
    """Put the names of days and months, which the library leaves in English, into the language."""
    with override("en"):
        english = [str(name) for name in chain(WEEKDAYS.values(), MONTHS.values())]
    with override(language):
        translated = [str(name) for name in chain(WEEKDAYS.values(), MONTHS.values())]
    names = dict(zip(english, translated, strict=True))
    return re.sub(rf"\b({'|'.join(names)})\b", lambda match: names[match[1]], text)
