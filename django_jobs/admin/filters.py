"""Filters of the list. None of them looks at all jobs to know what there is to choose from.

Links to the list use the same names: `?status=failed&queue=mail&slug=…&kind=workflow&worker=3&
created=hour&finished=day&key=user:7&stuck=any&error=…`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_jobs.admin.base import number_of
from django_jobs.explain import State, recent, stuck
from django_jobs.fields import DatabaseNow
from django_jobs.models import (
    Job,
    JobKind,
    JobStatus,
    Queue,
    Worker,
    database_alias,
)
from django_jobs.tasks import registry

MOST_CHOICES = 100
NO_GROUP = "none"

Choice = tuple[str, Any]


def sample(request: HttpRequest) -> recent.Recent:
    """Look at the newest jobs, once in a request."""
    if not hasattr(request, "_recent_jobs"):
        request._recent_jobs = recent.look(using=database_alias())  # type: ignore[attr-defined]
    found: recent.Recent = request._recent_jobs  # type: ignore[attr-defined]
    return found


def stuck_now(request: HttpRequest) -> stuck.Stuck:
    """Find what is stuck, once in a request."""
    if not hasattr(request, "_stuck_jobs"):
        request._stuck_jobs = stuck.find(  # type: ignore[attr-defined]
            using=database_alias(), sample=sample(request)
        )
    found: stuck.Stuck = request._stuck_jobs  # type: ignore[attr-defined]
    return found


class JobFilter(admin.SimpleListFilter):
    """A choice of one; `where` returns what the chosen value asks for."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[Choice]:
        found = list(self.offered(request))
        chosen = self.used_parameters.get(self.parameter_name or "")
        if chosen and chosen not in {str(value) for value, _label in found}:
            found.append((str(chosen), str(chosen)))
        return found

    def offered(self, request: HttpRequest) -> Iterable[Choice]:
        """Return what can be chosen; without any, the filter is shown while it is in use."""
        return ()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(self.where(request, value)) if value else queryset

    def where(self, request: HttpRequest, value: str) -> Q:
        return Q(**{str(self.parameter_name): value})


def _later() -> Q:
    return Q(status=JobStatus.READY, wake_at__gt=DatabaseNow())


# By columns that a partial index knows, and the status, of which the planner knows how rare it is.
STATES: dict[str, tuple[Any, Callable[[], Q]]] = {
    "ready": (
        State.READY.label,
        lambda: (
            Q(status=JobStatus.READY)
            & (Q(claim_rank__isnull=False) | Q(wake_at__lte=DatabaseNow()))
        ),
    ),
    "delayed": (State.DELAYED.label, lambda: _later() & Q(error__isnull=True)),
    "retrying": (State.RETRYING.label, lambda: _later() & Q(error__isnull=False)),
    "held": (
        State.HELD.label,
        lambda: Q(status=JobStatus.READY, line_key__isnull=False, line_rank__isnull=False),
    ),
    "running": (
        State.RUNNING.label,
        lambda: Q(status=JobStatus.RUNNING, processing_until__isnull=False),
    ),
    "waiting": (JobStatus.WAITING.label, lambda: Q(status=JobStatus.WAITING)),
    "successful": (State.SUCCESSFUL.label, lambda: Q(status=JobStatus.SUCCESSFUL)),
    "failed": (State.FAILED.label, lambda: Q(status=JobStatus.FAILED)),
    "cancelled": (State.CANCELLED.label, lambda: Q(status=JobStatus.CANCELLED)),
}


class StatusFilter(JobFilter):
    title = _("status")
    parameter_name = "status"

    def offered(self, request: HttpRequest) -> Iterable[Choice]:
        return [(name, label) for name, (label, _where) in STATES.items()]

    def where(self, request: HttpRequest, value: str) -> Q:
        return STATES[value][1]() if value in STATES else Q(status=value)


class StuckFilter(JobFilter):
    title = _("stuck")
    parameter_name = "stuck"

    def offered(self, request: HttpRequest) -> Iterable[Choice]:
        return (
            ("any", _("for any reason")),
            ("lease", _("its lease is over")),
            ("worker", _("its worker is gone")),
            ("slow", _("runs far longer than usual")),
        )

    def where(self, request: HttpRequest, value: str) -> Q:
        found = stuck_now(request)
        keys = {
            "any": found.jobs,
            "lease": found.leases_over,
            "worker": found.without_worker,
            "slow": found.slow,
        }
        return Q(pk__in=keys.get(value, ()))


class QueueFilter(JobFilter):
    title = _("queue")
    parameter_name = "queue"

    def offered(self, request: HttpRequest) -> Iterable[Choice]:
        declared = {declaration.queue for declaration in registry.every()}
        paused = Queue.objects.values_list("name", flat=True)[:MOST_CHOICES]
        names = sorted(declared | sample(request).queues | set(paused))
        return [(name, name) for name in names[:MOST_CHOICES]]


class SlugFilter(JobFilter):
    title = _("task or workflow")
    parameter_name = "slug"

    def offered(self, request: HttpRequest) -> Iterable[Choice]:
        declared = {declaration.slug for declaration in registry.every()}
        slugs = sorted(declared | sample(request).slugs)
        return [(slug, slug) for slug in slugs[:MOST_CHOICES]]


class KindFilter(JobFilter):
    title = _("kind")
    parameter_name = "kind"

    def offered(self, request: HttpRequest) -> Iterable[Choice]:
        return JobKind.choices


class WorkerFilter(JobFilter):
    title = _("worker")
    parameter_name = "worker"

    def offered(self, request: HttpRequest) -> Iterable[Choice]:
        newest = Worker.objects.order_by("-last_heartbeat_at")[:MOST_CHOICES]
        return [(str(worker.pk), str(worker)) for worker in newest]

    def where(self, request: HttpRequest, value: str) -> Q:
        worker = number_of(value)
        return Q(worker=worker) if worker else Q(pk__in=())


class KeyFilter(JobFilter):
    title = _("concurrency key")
    parameter_name = "key"

    def where(self, request: HttpRequest, value: str) -> Q:
        return Q(concurrency_key=value)


class ErrorFilter(JobFilter):
    """The jobs that failed alike, to which the page of the failures leads."""

    title = _("error")
    parameter_name = "error"

    def where(self, request: HttpRequest, value: str) -> Q:
        if value == NO_GROUP:
            return Q(status=JobStatus.FAILED, error_group__isnull=True)
        return Q(error_group=value)


PERIODS = {
    "10m": (_("Last 10 minutes"), timedelta(minutes=10)),
    "hour": (_("Last hour"), timedelta(hours=1)),
    "day": (_("Last day"), timedelta(days=1)),
    "week": (_("Last week"), timedelta(weeks=1)),
}


class TimeFilter(JobFilter):
    column = ""

    def offered(self, request: HttpRequest) -> Iterable[Choice]:
        return [(name, label) for name, (label, _age) in PERIODS.items()]

    def where(self, request: HttpRequest, value: str) -> Q:
        if value not in PERIODS:
            return Q(pk__in=())
        return Q(**{f"{self.column}__gte": timezone.now() - PERIODS[value][1]})


class CreatedFilter(TimeFilter):
    title = _("created")
    parameter_name = "created"
    column = "created_at"


class FinishedFilter(TimeFilter):
    title = _("finished")
    parameter_name = "finished"
    column = "completed_at"


FILTERS = (
    StatusFilter, StuckFilter, QueueFilter, SlugFilter, KindFilter, CreatedFilter,
    FinishedFilter, WorkerFilter, KeyFilter, ErrorFilter,
)  # fmt: skip


def search(jobs: QuerySet[Job], term: str) -> QuerySet[Job]:
    """Return the job with this id; where there is none, the jobs with this concurrency key."""
    if term.isdecimal() and (by_id := jobs.filter(pk=int(term))).exists():
        return by_id
    return jobs.filter(concurrency_key=term)
