"""How the page of a job writes what is stored of it."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import Any

from django import template
from django.utils.translation import gettext as _

from django_jobs.admin import base
from django_jobs.describe import redacted
from django_jobs.models import (
    CHILD_SLUG,
    EVENT_SLUG,
    INLINE_SLUG,
    SLEEP_SLUG,
    JobStatus,
    LogState,
    TaskStatus,
)

register = template.Library()

# What is longer than a line is indented, then folded, and in the end cut.
MOST_ON_A_LINE = 80
MOST_UNFOLDED = 240
MOST_SHOWN = 10_000


@register.inclusion_tag("admin/django_jobs/job/_stored.html")
def stored(value: Any, label: str, what: str, of: int | None = None) -> dict[str, Any]:
    """Show JSON, without the values of the fields in REDACT.

    `what` it is, and `of` which row, make the key by which it stays open in a refresh.
    """
    shown = redacted(value)
    line = json.dumps(shown, ensure_ascii=False)
    text = json.dumps(shown, ensure_ascii=False, indent=2)
    return {
        "label": label,
        "key": f"{what}-{of}",
        "is_there": value is not None,
        "line": line if len(line) <= MOST_ON_A_LINE else "",
        "text": text[:MOST_SHOWN],
        "left_out": max(len(text) - MOST_SHOWN, 0),
        "is_folded": len(text) > MOST_UNFOLDED,
    }


@register.filter
def lasted(span: timedelta) -> str:
    return base.duration(span.total_seconds())


@register.filter
def kind_of_step(slug: str) -> str:
    """Return the slug of the task, or in words what the package itself records."""
    words = {
        INLINE_SLUG: _("function"),
        SLEEP_SLUG: _("sleep"),
        EVENT_SLUG: _("event"),
        CHILD_SLUG: _("child job"),
    }
    return words.get(slug, slug)


@register.filter
def level_name(level: int | None) -> str:
    """Return the name of a level of logging; a number between two is the lower one."""
    names = {
        logging.CRITICAL: _("critical"),
        logging.ERROR: _("error"),
        logging.WARNING: _("warning"),
        logging.INFO: _("info"),
    }
    given = logging.INFO if level is None else level
    return next((name for least, name in names.items() if given >= least), _("debug"))


@register.filter
def is_child(step: TaskStatus) -> bool:
    return bool(step.task_slug == CHILD_SLUG)


@register.filter
def word_for(outcome: str) -> Any:
    """Return the label of the status of a job, or of the state of a step."""
    return dict([*JobStatus.choices, *LogState.choices]).get(outcome, outcome)


@register.filter
def tone_of(outcome: str) -> str:
    """Return the class for how an attempt or a step ended."""
    tones = {"successful": "good", "succeeded": "good", "failed": "bad", "running": "busy"}
    return tones.get(outcome, "idle")
