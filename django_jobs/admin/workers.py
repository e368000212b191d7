"""The worker processes, and whether they are alive."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_jobs import conf
from django_jobs.admin.base import ReadOnly, badge, jobs_url
from django_jobs.fields import DatabaseNow
from django_jobs.models import JobStatus, Worker


@admin.register(Worker)
class WorkerAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    class Media:
        css = {"all": ["django_jobs/jobs.css"]}

    list_display = ("__str__", "state", "takes_from", "jobs", "started_at", "last_heartbeat_at")
    search_fields = ("host",)
    ordering = ("-last_heartbeat_at",)
    fields = readonly_fields = (
        "host", "pid", "state", "takes_from", "jobs", "started_at", "last_heartbeat_at",
    )  # fmt: skip

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Its row goes by itself, and a living one would make it anew.
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        workers: QuerySet[Worker] = super().get_queryset(request)
        return workers.annotate(now=DatabaseNow())

    @admin.display(description=_("state"))
    def state(self, worker: Any) -> SafeString:
        if worker.last_heartbeat_at >= worker.now - conf.get().LEASE:
            return badge(_("alive"), "good")
        return badge(_("gone"), "bad")

    @admin.display(description=_("queues"))
    def takes_from(self, worker: Worker) -> str:
        return ", ".join(worker.queues) or gettext("all of them")

    @admin.display(description=_("jobs running"), ordering="jobs_running")
    def jobs(self, worker: Worker) -> SafeString:
        url = jobs_url(status=JobStatus.RUNNING.value, worker=worker.pk)
        count = worker.jobs_running
        text = ngettext("%(count)d job", "%(count)d jobs", count) % {"count": count}
        return format_html('<a href="{}">{}</a>', url, text)
