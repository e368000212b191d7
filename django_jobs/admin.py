"""The admin of the jobs: to look at everything, and to retry and cancel."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.filters import AllValuesFieldListFilter
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_jobs import access
from django_jobs.describe import redacted
from django_jobs.exceptions import DuplicateJobError, InvalidInputError, UnknownTaskError
from django_jobs.models import (
    Job,
    JobLog,
    JobQuerySet,
    JobSchedule,
    Queue,
    TaskStatus,
    Worker,
    database_alias,
)
from django_jobs.tasks import registry
from django_jobs.tasks.schedule import cron_problems, zone_problems
from django_jobs.worker import schedules


def _registered() -> list[tuple[str, str]]:
    return [(declaration.slug, str(declaration.label)) for declaration in registry.every()]


class _ReadOnly:
    """Looking only; what needs a permission to look at still does."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class _Inline(_ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    extra = 0
    can_delete = False
    show_change_link = False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _shown(value: Any) -> SafeString | str:
    """Return JSON for people to read, escaped."""
    if value is None:
        return "-"
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False))


def _field(name: str, label: Any, *, secret: bool = False) -> Callable[[Any, Any], Any]:
    @admin.display(description=label)
    def show(self: Any, obj: models.Model) -> SafeString | str:
        value = getattr(obj, name)
        return _shown(redacted(value) if secret else value)

    return show


@admin.display(description=_("error"))
def _error(self: Any, obj: Any) -> SafeString | str:
    """Return the error as Python would print it."""
    error = obj.error
    if not error:
        return "-"
    text = error.get("traceback") or f"{error.get('name', '')}: {error.get('message', '')}"
    return format_html("<pre>{}</pre>", text)


class TaskStatusInline(_Inline):
    model = TaskStatus
    fields = readonly_fields = (
        "task_slug", "task_id", "complete", "total_tried", "shown_input", "shown_output",
    )  # fmt: skip
    ordering = ("id",)
    shown_input = _field("input", _("input"), secret=True)
    shown_output = _field("output", _("output"))


class JobLogInline(_Inline):
    model = JobLog
    fields = readonly_fields = (
        "executed_at", "completed_at", "attempt", "task_slug", "task_id", "state", "message",
        "shown_data", "shown_input", "shown_output", "shown_error",
    )  # fmt: skip
    ordering = ("id",)
    shown_data = _field("data", _("data"))
    shown_input = _field("input", _("input"), secret=True)
    shown_output = _field("output", _("output"))
    shown_error = _error


@admin.register(Job)
class JobAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("id", "status", "slug", "queue", "created_at", "total_tried")
    list_display_links = ("id", "slug")
    list_filter = (
        "status",
        "kind",
        ("slug", AllValuesFieldListFilter),
        ("queue", AllValuesFieldListFilter),
        "created_at",
    )
    # What is searched for is in get_search_results().
    search_fields = ("id", "concurrency_key")
    search_help_text = _("The id or the concurrency key of a job.")
    ordering = ("-id",)
    show_full_result_count = False
    actions = ("retry", "cancel")
    inlines = (TaskStatusInline, JobLogInline)
    fields = readonly_fields = (
        "slug", "kind", "status", "queue", "priority", "shown_input", "shown_output",
        "shown_error", "shown_meta", "shown_progress", "total_tried", "crashes",
        "concurrency_key", "wait_until", "created_at", "started_at", "completed_at",
        "processing_until", "worker", "parent",
    )  # fmt: skip
    shown_input = _field("input", _("input"), secret=True)
    shown_output = _field("output", _("output"))
    shown_meta = _field("meta", _("meta"))
    shown_progress = _field("progress", _("progress"))
    shown_error = _error

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        where = Q(concurrency_key=term)
        if term.isdecimal():
            where |= Q(pk=int(term))
        return queryset.filter(where), False

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return access.is_allowed("retry", request)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return access.is_allowed("cancel", request)

    @admin.action(description=_("Retry selected jobs"), permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: JobQuerySet) -> None:
        try:
            count = queryset.retry()
        except DuplicateJobError as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        text = ngettext("%(count)d job will run again.", "%(count)d jobs will run again.", count)
        self.message_user(request, text % {"count": count}, _level(count))

    @admin.action(description=_("Cancel selected jobs"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: JobQuerySet) -> None:
        count = queryset.cancel()
        text = ngettext("%(count)d job was cancelled.", "%(count)d jobs were cancelled.", count)
        self.message_user(request, text % {"count": count}, _level(count))


def _level(count: int) -> int:
    return messages.SUCCESS if count else messages.WARNING


@admin.register(Worker)
class WorkerAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("__str__", "queues", "jobs_running", "started_at", "last_heartbeat_at")


@admin.register(Queue)
class QueueAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "paused", "paused_at", "paused_by")


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    """A schedule of a registered task, with an input that the task accepts."""

    slug = forms.ChoiceField(label=_("task or workflow"), choices=_registered)

    class Meta:
        model = JobSchedule
        fields = ("slug", "cron", "queue", "timezone", "input", "enabled")

    def clean_cron(self) -> str:
        return _without(cron_problems(self.cleaned_data["cron"]), self.cleaned_data["cron"])

    def clean_timezone(self) -> str:
        zone = self.cleaned_data["timezone"]
        return _without(zone_problems(zone or None), zone)

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if "slug" in given and "input" in given:
            try:
                given["input"] = registry.get(given["slug"]).input_schema.validate(given["input"])
            except (InvalidInputError, AttributeError, TypeError) as error:
                self.add_error("input", str(error))
        return given


def _without(problems: list[str], value: str) -> str:
    if problems:
        raise ValidationError(problems)
    return value


@admin.register(JobSchedule)
class JobScheduleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = ScheduleForm
    list_display = ("slug", "cron", "origin", "queue", "enabled", "last_run_at", "next_run_at")
    actions = ("run_now",)
    shown_input = _field("input", _("input"), secret=True)

    @admin.display(description=_("origin"))
    def origin(self, schedule: JobSchedule) -> str:
        """Return which of the declaration and the admin is in force."""
        if registry.find(schedule.slug) is None:
            return gettext("the task is gone: nothing is enqueued")
        if schedule.is_overridden:
            return gettext("changed here; declared: %s") % schedule.declared_cron
        return gettext("declared") if schedule.is_declared else gettext("made here")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ["slug", "cron", "queue", "timezone", "input", "enabled"]
        # Not the input itself, which may hold what REDACT hides.
        shown = ["slug", "cron", "queue", "timezone", "shown_input", "enabled"]
        return [*shown, "origin", "last_run_at", "next_run_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        always = ["shown_input", "origin", "last_run_at", "next_run_at"]
        if obj is None:
            return []
        return [*always, "slug", "queue", "timezone"] if obj.is_declared else [*always, "slug"]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write what was changed only; a new time, or the end of a pause, counts from now."""
        if not change:
            super().save_model(request, obj, form, change)
            return
        if {"cron", "timezone", "enabled"} & set(form.changed_data):
            obj.next_run_at = None
        obj.save(update_fields=[*form.changed_data, "next_run_at"])

    def has_run_permission(self, request: HttpRequest) -> bool:
        return access.is_allowed("run", request)

    @admin.action(description=_("Run now"), permissions=["run"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[JobSchedule]) -> None:
        for schedule in queryset:
            try:
                job = schedules.run_now(schedule, using=database_alias())
            except (InvalidInputError, UnknownTaskError) as error:
                self.message_user(request, str(error), messages.ERROR)
            else:
                self.message_user(request, gettext("Job %s was enqueued.") % job.pk)
