"""The reading vocabulary, and which database is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.apps import apps
from django.db import models, router
from django.db.models import Q

from django_jobs import conf
from django_jobs.fields import DatabaseNow
from django_jobs.models.vocabulary import (
    FINISHED,
    UNFINISHED,
    JobStatus,
)

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from django_jobs.models.job import Job  # noqa: F401 - named in a string below


def database_alias() -> str:
    """Return the alias of the database that holds the jobs."""
    return conf.get().DATABASE or router.db_for_write(apps.get_model("django_jobs", "Job"))


class JobsManager(models.Manager):  # type: ignore[type-arg]
    """A manager that looks where the setting DATABASE says."""

    def get_queryset(self) -> models.QuerySet[Any]:
        queryset = super().get_queryset()
        return queryset if self._db else queryset.using(conf.get().DATABASE)


class JobQuerySet(models.QuerySet["Job"]):
    """The words to ask for jobs with."""

    def ready(self) -> Self:
        """Jobs that are due now."""
        due = Q(wait_until__isnull=True) | Q(wait_until__lte=DatabaseNow())
        return self.filter(due, status=JobStatus.READY)

    def delayed(self) -> Self:
        return self.filter(status=JobStatus.READY, wait_until__gt=DatabaseNow())

    def running(self) -> Self:
        return self.filter(status=JobStatus.RUNNING)

    def stuck(self) -> Self:
        """Jobs whose worker has let its lease run out."""
        return self.filter(status=JobStatus.RUNNING, processing_until__lte=DatabaseNow())

    def failed(self) -> Self:
        return self.filter(status=JobStatus.FAILED)

    def unfinished(self) -> Self:
        return self.filter(status__in=UNFINISHED)

    def finished(self) -> Self:
        return self.filter(status__in=FINISHED)

    def cancel(self) -> int:
        """Cancel what is not finished; return how many jobs that was."""
        from django_jobs.queue import operate

        return operate.cancel(self)

    def retry(self) -> int:
        """Make failed and cancelled jobs ready again; return how many that was."""
        from django_jobs.queue import operate

        return operate.retry(self)
