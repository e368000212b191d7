"""One page of the list, whatever the number of jobs."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

from django_jobs.explain import explain
from django_jobs.explain.words import capped
from django_jobs.models import database_alias

# What may be large, and is not shown in the list.
NOT_LISTED = ("input", "output", "meta", "progress")
# How far is counted, and can be paged through.
MOST = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages of the first MOST rows, so that it need not count them all."""

    object_list: QuerySet[Any]

    @cached_property
    def up_to_one_more(self) -> int:
        return self.object_list.order_by()[: MOST + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self.up_to_one_more, MOST)


class JobChangeList(ChangeList):
    """A page of jobs, each with the explanation of what it does."""

    paginator: CappedPaginator

    def get_results(self, request: HttpRequest) -> None:
        matching = self.queryset
        self.queryset = matching.defer(*NOT_LISTED)
        super().get_results(request)
        self.queryset = matching
        # Not said beside the search: it is not counted.
        self.full_result_count = self.result_count
        self.is_capped = self.paginator.up_to_one_more > MOST
        self.shown_count = capped(self.paginator.up_to_one_more, MOST)
        jobs: list[Any] = list(self.result_list)
        explanations = explain(jobs, using=database_alias())
        for job in jobs:
            job.explanation = explanations[job.pk]
        self.result_list = jobs
