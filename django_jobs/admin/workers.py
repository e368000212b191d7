"""Queues, and the workers on them."""

from __future__ import annotations

from django.contrib import admin

from django_jobs.admin.base import ReadOnly
from django_jobs.models import Queue, Worker


@admin.register(Worker)
class WorkerAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("__str__", "queues", "jobs_running", "started_at", "last_heartbeat_at")


@admin.register(Queue)
class QueueAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "paused", "paused_at", "paused_by")
