"""The list of the jobs: to find one, and to act on many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.admin.filters import AllValuesFieldListFilter
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext_lazy as _

from django_jobs import access
from django_jobs.admin.confirm import JobActions
from django_jobs.admin.enqueue import QueueByHand
from django_jobs.admin.retry_from import RetryFrom
from django_jobs.admin.verbs import VERBS, Verb
from django_jobs.models import Job

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
class JobAdmin(QueueByHand, RetryFrom, JobActions):
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
    actions = [_action(verb) for verb in VERBS.values()]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Leave out Django's own way to delete."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

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

    def has_run_permission(self, request: HttpRequest) -> bool:
        return access.is_allowed("run", request)
