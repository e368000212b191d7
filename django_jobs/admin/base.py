"""What the pages of the admin have in common."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from django_jobs.describe import redacted


class ReadOnly:
    """Looking only; what needs a permission to look at still does."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    extra = 0
    can_delete = False
    show_change_link = False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
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


@admin.display(description=_("error"))
def error_text(self: Any, obj: Any) -> SafeString | str:
    """Return the error as Python would print it."""
    error = obj.error
    if not error:
        return "-"
    text = error.get("traceback") or f"{error.get('name', '')}: {error.get('message', '')}"
    return format_html("<pre>{}</pre>", text)


def level_of(count: int) -> int:
    return messages.SUCCESS if count else messages.WARNING
