"""What the pages of the admin have in common."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from django_jobs.describe import redacted
from django_jobs.explain.words import span


class ReadOnly:
    """Looking only; what needs a permission to look at still does."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def as_json(value: Any) -> SafeString | str:
    """Return JSON for people to read, escaped."""
    if value is None:
        return "-"
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False))


def json_field(name: str, label: Any, *, secret: bool = False) -> Callable[[Any, Any], Any]:
    @admin.display(description=label)
    def show(self: Any, obj: models.Model) -> SafeString | str:
        value = getattr(obj, name)
        return as_json(redacted(value) if secret else value)

    return show


def badge(text: Any, tone: str) -> SafeString:
    """Return a word in the colour of its tone, see explain.State.tone."""
    return format_html('<span class="jobs-badge jobs-{}">{}</span>', tone, text)


def jobs_url(**lookups: Any) -> str:
    """Return the address of the list of the jobs with these filters."""
    return f"{reverse('admin:django_jobs_job_changelist')}?{urlencode(lookups)}"


def duration(seconds: float) -> str:
    """Return seconds in a unit that people read."""
    if seconds < 1:
        return gettext("%s ms") % number_format(round(seconds * 1000))
    if seconds < 60:
        return gettext("%s s") % number_format(round(seconds, 1), 1 if seconds < 10 else 0)
    return span(timedelta(seconds=seconds))


def number_of(given: str | None) -> int:
    """Return a number from a form or an address; 0 where it is none that a database can hold."""
    return int(given) if given and given.isdecimal() and len(given) < 19 else 0
