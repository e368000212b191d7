"""The page of one job: what became of it, attempt by attempt, and why it does not run."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from django_jobs import access
from django_jobs.admin.base import ReadOnly
from django_jobs.admin.surroundings import (
    entries_of,
    events_awaited,
    relatives_of,
    schedule_of,
    steps_of,
    worker_of,
)
from django_jobs.admin.timeline import timeline
from django_jobs.admin.verbs import fitting
from django_jobs.models import Job, database_alias
from django_jobs.tasks import registry


class JobPage(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """How the admin shows one job."""

    page_template = "admin/django_jobs/job/page.html"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:  # fmt: skip
        """Show the job; nothing of it is changed here."""
        job = self._find(request, object_id)
        if job is None:
            # Django says so on its front page.
            return super().change_view(request, object_id, form_url, extra_context)
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            **self.page_context(request, job),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, self.page_template, context)

    def find(self, request: HttpRequest, object_id: str) -> Job:
        """Return the job; raise Http404, or PermissionDenied for who may not see it."""
        job = self._find(request, object_id)
        if job is None:
            raise Http404(f"There is no job {object_id!r}.")
        return job

    def _find(self, request: HttpRequest, object_id: str) -> Job | None:
        if not self.has_view_permission(request):
            raise PermissionDenied
        job: Job | None = self.get_object(request, unquote(object_id))
        return job

    def page_context(self, request: HttpRequest, job: Job) -> dict[str, Any]:
        using = database_alias()
        entries = entries_of(job, _number(request, "before"))
        steps = steps_of(job, _number(request, "after"))
        declaration = registry.find(job.slug)
        relatives = relatives_of(job, using=using)
        told = timeline(
            job, entries.rows, steps.rows, now=timezone.now(),
            from_the_start=entries.others is None, to_the_end=entries.is_first,
        )  # fmt: skip
        return {
            "title": str(job),
            "subtitle": None,
            "opts": self.opts,
            "job": job,
            "declaration": declaration,
            "entries": entries,
            "steps": steps,
            "relatives": relatives,
            "explanation": relatives.explanation,
            "timeline": told,
            "schedule": schedule_of(job, using=using),
            "worker": worker_of(job, using=using),
            "events": events_awaited(job, using=using),
            "verbs": fitting(job, request),
            "may_queue_again": declaration is not None and access.is_allowed("queue", request),
            "may_retry_from": _is_retriable(job) and access.is_allowed("retry", request),
            "may_view_workers": request.user.has_perm("django_jobs.view_worker"),
            "may_view_schedules": request.user.has_perm("django_jobs.view_jobschedule"),
        }


def _is_retriable(job: Job) -> bool:
    return job.has_error and job.processing_token is None


def _number(request: HttpRequest, name: str) -> int | None:
    """Return a key from the address, None for what is none."""
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
