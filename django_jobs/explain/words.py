"""Times and numbers as people say them."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils.formats import date_format, number_format
from django.utils.timesince import timesince
from django.utils.timezone import localtime
from django.utils.translation import gettext, ngettext


def span(duration: timedelta) -> str:
    """Return a duration in its one or two largest units, such as "40 seconds"."""
    seconds = max(int(duration.total_seconds()), 0)
    if seconds < 60:
        return ngettext("%(number)d second", "%(number)d seconds", seconds) % {"number": seconds}
    anywhere = datetime(2000, 1, 1)
    return timesince(anywhere, anywhere + timedelta(seconds=seconds))


def moment(when: datetime, now: datetime) -> str:
    """Return the time of the day, with the date where it is another day.

    In 24 hours, for "p.m." within a sentence looks like the end of it.
    """
    local = localtime(when)
    time_of_day = date_format(local, "H:i")
    if local.date() == localtime(now).date():
        return time_of_day
    return f"{date_format(local, 'SHORT_DATE_FORMAT')} {time_of_day}"


def capped(count: int, most: int) -> str:
    """Return a count that was not taken further than `most`."""
    number = number_format(min(count, most), force_grouping=True)
    return gettext("%s or more") % number if count > most else number
