"""Schedules: those that the code declares, and those that admins make."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_jobs import access
from django_jobs.admin.base import json_field
from django_jobs.exceptions import InvalidInputError, UnknownTaskError
from django_jobs.models import JobSchedule, database_alias
from django_jobs.tasks import registry
from django_jobs.tasks.schedule import cron_problems, zone_problems
from django_jobs.worker import schedules


def registered() -> list[tuple[str, str]]:
    return [(declaration.slug, str(declaration.label)) for declaration in registry.every()]


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    """A schedule of a registered task, with an input that the task accepts."""

    slug = forms.ChoiceField(label=_("task or workflow"), choices=registered)

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
    shown_input = json_field("input", _("input"), secret=True)

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
