"""The page of one job."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from django_jobs.admin.base import ReadOnlyInline, error_text, json_field
from django_jobs.models import JobLog, TaskStatus


class TaskStatusInline(ReadOnlyInline):
    model = TaskStatus
    fields = readonly_fields = (
        "task_slug", "task_id", "complete", "total_tried", "shown_input", "shown_output",
    )  # fmt: skip
    ordering = ("id",)
    shown_input = json_field("input", _("input"), secret=True)
    shown_output = json_field("output", _("output"))


class JobLogInline(ReadOnlyInline):
    model = JobLog
    fields = readonly_fields = (
        "executed_at", "completed_at", "attempt", "task_slug", "task_id", "state", "message",
        "shown_data", "shown_input", "shown_output", "shown_error",
    )  # fmt: skip
    ordering = ("id",)
    shown_data = json_field("data", _("data"))
    shown_input = json_field("input", _("input"), secret=True)
    shown_output = json_field("output", _("output"))
    shown_error = error_text


class JobPage(admin.ModelAdmin):  # type: ignore[type-arg]
    """How the admin shows one job."""

    inlines = (TaskStatusInline, JobLogInline)
    fields = readonly_fields = (
        "slug", "kind", "status", "queue", "priority", "shown_input", "shown_output",
        "shown_error", "shown_meta", "shown_progress", "total_tried", "crashes",
        "concurrency_key", "wait_until", "created_at", "started_at", "completed_at",
        "processing_until", "worker", "parent",
    )  # fmt: skip
    shown_input = json_field("input", _("input"), secret=True)
    shown_output = json_field("output", _("output"))
    shown_meta = json_field("meta", _("meta"))
    shown_progress = json_field("progress", _("progress"))
    shown_error = error_text
