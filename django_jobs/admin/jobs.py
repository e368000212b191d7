"""The list of the jobs: to find one, and to act on many."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.filters import AllValuesFieldListFilter
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_jobs import access
from django_jobs.admin.base import ReadOnly, level_of
from django_jobs.admin.page import JobPage
from django_jobs.exceptions import DuplicateJobError
from django_jobs.models import Job, JobQuerySet


@admin.register(Job)
class JobAdmin(ReadOnly, JobPage):
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
        self.message_user(request, text % {"count": count}, level_of(count))

    @admin.action(description=_("Cancel selected jobs"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: JobQuerySet) -> None:
        count = queryset.cancel()
        text = ngettext("%(count)d job was cancelled.", "%(count)d jobs were cancelled.", count)
        self.message_user(request, text % {"count": count}, level_of(count))
