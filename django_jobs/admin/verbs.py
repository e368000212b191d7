"""What admins can do to jobs, and what becomes of each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from django_jobs import access
from django_jobs.exceptions import DuplicateJobError
from django_jobs.models import UNFINISHED, Job, JobStatus
from django_jobs.queue import operate


class Outcome(models.TextChoices):
    """What became of one of the jobs that were asked for."""

    DONE = "done", _("done")
    UNFIT = "unfit", _("its state does not allow it")
    DUPLICATE = "duplicate", _("a job with the same unique key is unfinished")
    GONE = "gone", _("gone")


# What is said of those that it was not done to.
UNDONE: dict[Outcome, Any] = {
    Outcome.UNFIT: ngettext_lazy(
        "%(count)d job was left alone: its state does not allow it.",
        "%(count)d jobs were left alone: their states do not allow it.",
        "count",
    ),
    Outcome.DUPLICATE: ngettext_lazy(
        "%(count)d job was left alone: a job with the same unique key is unfinished.",
        "%(count)d jobs were left alone: jobs with the same unique keys are unfinished.",
        "count",
    ),
    Outcome.GONE: ngettext_lazy(
        "%(count)d job was gone already.", "%(count)d jobs were gone already.", "count"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """Something to do to jobs; `name` is its part of the URL."""

    name: str
    # What is asked of `django_jobs.access`, or "delete" for Django's own permission.
    permission: str
    # This and the other texts are translated when they are shown.
    label: Any
    # With %(shown)s in it, which may be a capped number; `count` decides on the plural.
    question: Any
    # What it will do, below the question.
    consequence: Any
    # What is said, and written in the admin's log, when it is done.
    done: Any
    note: Any
    # Whether it makes sense for a job as it is.
    fits: Callable[[Job], bool]
    # Does it to some jobs, and returns the keys of those that it was done to.
    batch: Callable[..., list[int]]
    flag: int = CHANGE

    @property
    def action(self) -> str:
        """The name of its action on the list; that to delete takes the place of Django's own."""
        return f"{self.name.replace('-', '_')}_selected"

    def is_allowed(self, request: HttpRequest) -> bool:
        if self.permission == "delete":
            user = request.user
            return bool(user.is_active and user.has_perm("django_jobs.delete_job"))
        return access.is_allowed(self.permission, request)

    def apply(self, jobs: Sequence[Job], *, using: str) -> dict[int, Outcome]:
        """Do it to these jobs, at most a batch of them; return what became of each."""
        pks = [job.pk for job in jobs]
        there = set(Job.objects.using(using).filter(pk__in=pks).values_list("pk", flat=True))
        fate = {pk: Outcome.UNFIT if pk in there else Outcome.GONE for pk in pks}
        return fate | self._perform(sorted(there), using)

    def _perform(self, pks: list[int], using: str) -> dict[int, Outcome]:
        """Do it, and look for the duplicates by halves where a batch has one."""
        if not pks:
            return {}
        try:
            return dict.fromkeys(self.batch(pks, using=using), Outcome.DONE)
        except DuplicateJobError:
            if len(pks) == 1:
                return {pks[0]: Outcome.DUPLICATE}
            half = len(pks) // 2
            return self._perform(pks[:half], using) | self._perform(pks[half:], using)

    def log(self, request: HttpRequest, jobs: Iterable[Job]) -> None:
        """Write down in the admin's log that it was done to these."""
        done = list(jobs)
        user = request.user.pk
        if done and user is not None:
            LogEntry.objects.log_actions(user, done, self.flag, str(self.note))


RETRY = Verb(
    name="retry",
    permission="retry",
    label=_("Retry"),
    question=ngettext_lazy("Retry %(shown)s job?", "Retry %(shown)s jobs?", "count"),
    consequence=_(
        "Failed and cancelled jobs run again, due at once. Steps that have succeeded are not "
        "repeated, and counters start again at 0."
    ),
    done=ngettext_lazy("%(count)d job will run again.", "%(count)d jobs will run again.", "count"),
    note=_("Retried."),
    fits=lambda job: job.has_error and job.processing_token is None,
    batch=operate.retry_batch,
)
CANCEL = Verb(
    name="cancel",
    permission="cancel",
    label=_("Cancel"),
    question=ngettext_lazy("Cancel %(shown)s job?", "Cancel %(shown)s jobs?", "count"),
    consequence=_(
        "Jobs that wait never run. Those that run are told before their next step, and what "
        "they still do is not recorded as success. Their waiting children are cancelled, too."
    ),
    done=ngettext_lazy("%(count)d job was cancelled.", "%(count)d jobs were cancelled.", "count"),
    note=_("Cancelled."),
    fits=lambda job: job.status in UNFINISHED,
    batch=operate.cancel_batch,
)
RUN_NOW = Verb(
    name="run-now",
    permission="run",
    label=_("Run now"),
    question=ngettext_lazy("Run %(shown)s job now?", "Run %(shown)s jobs now?", "count"),
    consequence=_(
        "Ready, delayed and retrying jobs become due at once and get the highest priority. A "
        "worker still has to run them, and concurrency keys still hold."
    ),
    done=ngettext_lazy("%(count)d job is next.", "%(count)d jobs are next.", "count"),
    note=_("Put first in its queue."),
    fits=lambda job: job.status == JobStatus.READY,
    batch=operate.run_now_batch,
)
DELETE = Verb(
    name="delete",
    permission="delete",
    label=_("Delete"),
    question=ngettext_lazy("Delete %(shown)s job?", "Delete %(shown)s jobs?", "count"),
    consequence=_(
        "They are deleted with their steps and their log; this cannot be undone. One that runs "
        "is left alone: cancel it first."
    ),
    done=ngettext_lazy("%(count)d job was deleted.", "%(count)d jobs were deleted.", "count"),
    note=_("Deleted."),
    fits=lambda job: job.processing_token is None,
    batch=operate.delete_batch,
    flag=DELETION,
)

VERBS = {verb.name: verb for verb in (RETRY, RUN_NOW, CANCEL, DELETE)}


def allowed(request: HttpRequest) -> list[Verb]:
    """Return what this user may do to jobs."""
    return [verb for verb in VERBS.values() if verb.is_allowed(request)]


def fitting(job: Job, request: HttpRequest) -> list[Verb]:
    """Return what this user may do to this job as it is."""
    return [verb for verb in allowed(request) if verb.fits(job)]
