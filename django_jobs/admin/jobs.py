"""The list of the jobs: to find one, and to act on many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext_lazy as _

from django_jobs import access
from django_jobs.admin import export, filters, groups, verbs
from django_jobs.admin.changelist import CappedPaginator, JobChangeList
from django_jobs.admin.columns import JobColumns
from django_jobs.admin.confirm import JobActions
from django_jobs.admin.enqueue import QueueByHand
from django_jobs.admin.retry_from import RetryFrom
from django_jobs.admin.verbs import VERBS, Verb
from django_jobs.models import Job, JobQuerySet, database_alias

Action = Callable[["JobAdmin", HttpRequest, QuerySet[Job]], HttpResponse]


def _action(verb: Verb) -> Action:
    """Return the action of the list, which asks before it does anything."""

    @admin.action(description=verb.label, permissions=[verb.permission])
    def ask(self: JobAdmin, request: HttpRequest, jobs: QuerySet[Job]) -> HttpResponse:
        if request.POST.get("select_across") == "1":
            return HttpResponseRedirect(self.many_url(request, verb))
        return self.ask(request, verb, jobs)

    ask.__name__ = verb.action
    return ask


@admin.register(Job)
class JobAdmin(JobColumns, QueueByHand, RetryFrom, JobActions):
    list_display = ("id", "state", "task", "queue", "key", "when", "run_time", "tries")
    list_display_links = ("id",)
    list_filter = filters.FILTERS
    # What is searched for is in get_search_results().
    search_fields = ("id", "concurrency_key")
    search_help_text = _("The id or the concurrency key of a job.")
    ordering = ("-id",)
    # By any other column, all jobs would have to be sorted.
    sortable_by = ("id",)
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_max_show_all = 0
    paginator = CappedPaginator
    actions = [_action(verb) for verb in VERBS.values()]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("failures/", view(self.failures_view), name="django_jobs_job_failures"),
            path("export.<slug:kind>", view(self.export_view), name="django_jobs_job_export"),
        ]
        return own + super().get_urls()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[JobChangeList]:
        return JobChangeList

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        context = {
            **(extra_context or {}),
            "verbs": verbs.allowed(request),
            "stuck": filters.stuck_now(request),
            "query": request.GET.urlencode(),
        }
        return super().changelist_view(request, context)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (filters.search(queryset, term) if term else queryset), False

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return access.is_allowed("retry", request)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return access.is_allowed("cancel", request)

    def has_run_permission(self, request: HttpRequest) -> bool:
        return access.is_allowed("run", request)

    def failures_view(self, request: HttpRequest) -> HttpResponse:
        """Show the failures in groups that are alike."""
        self._require_view(request)
        request.current_app = self.admin_site.name
        found, is_capped = groups.groups(using=database_alias())
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Failures"),
            "groups": found,
            "most": groups.MOST if is_capped else None,
            "verbs": [verb for verb in (verbs.RETRY, verbs.DELETE) if verb.is_allowed(request)],
        }
        return TemplateResponse(request, "admin/django_jobs/job/failures.html", context)

    def export_view(self, request: HttpRequest, kind: str) -> HttpResponseBase:
        """Send the jobs that match the filters of the URL as CSV or JSON."""
        self._require_view(request)
        if kind not in export.TYPES:
            raise Http404(f"Jobs are not exported as {kind!r}.")
        try:
            jobs: JobQuerySet = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters as error:
            raise Http404("There is no such filter.") from error
        response = StreamingHttpResponse(export.render(kind, jobs), content_type=export.TYPES[kind])
        response["Content-Disposition"] = f'attachment; filename="jobs.{kind}"'
        return response

    def _require_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied
