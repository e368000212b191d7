"""The job: a row that a worker claims, runs and writes the outcome to."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_jobs.fields import DerivedField, KeyField, NotNullIndex, NotNullUnique, ValueIndex
from django_jobs.models.querysets import JobQuerySet, JobsManager, database_alias
from django_jobs.models.vocabulary import (
    ALL_QUEUES,
    FINISHED,
    SINGLE_TASK_ID,
    UNFINISHED,
    Gate,
    JobKind,
    JobStatus,
)

if TYPE_CHECKING:
    from django_jobs.models.records import JobLog, TaskStatus


class Job(models.Model):
    """A unit of work: a row that a worker claims, runs and writes the outcome to."""

    Kind = JobKind
    Status = JobStatus

    slug = KeyField(_("task or workflow"), max_length=255)
    kind = models.CharField(_("kind"), max_length=16, choices=JobKind, default=JobKind.TASK)
    queue = KeyField(_("queue"), max_length=255, default="default")
    priority = models.SmallIntegerField(
        _("priority"),
        default=0,
        validators=[MinValueValidator(-100), MaxValueValidator(100)],
        help_text=_("From −100 to 100, higher first."),
    )
    input = models.JSONField(_("input"), default=dict, encoder=DjangoJSONEncoder)
    output = models.JSONField(_("output"), null=True, blank=True, encoder=DjangoJSONEncoder)
    meta = models.JSONField(
        _("meta"), default=dict, blank=True, encoder=DjangoJSONEncoder,
        help_text=_("The application's own notes on the job."),
    )  # fmt: skip
    status = models.CharField(
        _("status"), max_length=16, choices=JobStatus, default=JobStatus.READY
    )
    wait_until = models.DateTimeField(
        _("wait until"), null=True, blank=True, help_text=_("Empty: at once.")
    )
    # The numbers are not Positive…: checking each of them would cost every INSERT and UPDATE.
    total_tried = models.IntegerField(_("total tried"), default=0)
    error = models.JSONField(_("error"), null=True, blank=True)
    # Alike for failures that are; null unless the job has failed.
    error_group = models.CharField(max_length=16, null=True, editable=False)  # noqa: DJ001
    progress = models.JSONField(_("progress"), null=True, blank=True)

    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    started_at = models.DateTimeField(
        _("started at"), null=True, editable=False, help_text=_("When the last attempt began.")
    )
    completed_at = models.DateTimeField(_("completed at"), null=True, editable=False)
    updated_at = models.DateTimeField(_("updated at"), default=timezone.now, editable=False)

    # The lease of the worker that runs the job, and the token that its writes must show.
    processing_until = models.DateTimeField(_("lease until"), null=True, editable=False)
    processing_token = models.UUIDField(_("claim token"), null=True, editable=False)
    # No constraint: checking it would cost every claim, and the row outlives its worker.
    worker = models.ForeignKey(
        "Worker", models.DO_NOTHING, null=True, editable=False, verbose_name=_("worker"),
        related_name="jobs", db_constraint=False, db_index=False,
    )  # fmt: skip
    crashes = models.SmallIntegerField(_("workers lost"), default=0, editable=False)

    concurrency_key = KeyField(_("concurrency key"), max_length=255, null=True, blank=True)
    concurrency_limit = models.IntegerField(
        _("concurrency limit"), null=True, editable=False,
        help_text=_("How many jobs with this key may run at once; empty: any number."),
    )  # fmt: skip
    # Which of the key's places, from 0, a running job has taken.
    slot = models.IntegerField(_("place"), default=0, editable=False)
    gate = models.SmallIntegerField(_("gate"), choices=Gate, default=Gate.OPEN, editable=False)
    # SHA-256 of the slug and what its `unique` returned.
    unique_key = models.CharField(max_length=64, null=True, editable=False)  # noqa: DJ001
    # The retries given to this one job, in place of its task's own.
    retries = models.JSONField(_("retries"), null=True, editable=False)
    parent = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, editable=False,
        verbose_name=_("parent"), related_name="children", db_index=False,
    )  # fmt: skip

    # What follows is derived in the database, so that it cannot disagree with the above.
    due_at = DerivedField(
        expression=Coalesce("wait_until", "created_at"),
        output_field=models.DateTimeField(), verbose_name=_("due at"),
    )  # fmt: skip
    # The priority, turned round, of a job that may be claimed now; null for all others.
    claim_rank = DerivedField(
        expression=Case(
            When(
                Q(status=JobStatus.READY)
                & (Q(gate=Gate.DUE) | Q(gate=Gate.OPEN, wait_until__isnull=True)),
                then=F("priority") * -1,
            )
        ),
        output_field=models.SmallIntegerField(),
    )  # fmt: skip
    # When a job that waits for a time must be looked at again.
    wake_at = DerivedField(
        expression=Case(
            When(
                status__in=(JobStatus.READY, JobStatus.WAITING), gate=Gate.OPEN,
                then="wait_until",
            )
        ),
        output_field=models.DateTimeField(),
    )  # fmt: skip
    # The key in whose line an unfinished job stands that does not run, ...
    line_key = DerivedField(
        expression=Case(
            When(status__in=(JobStatus.READY, JobStatus.WAITING), then="concurrency_key")
        ),
        output_field=KeyField(max_length=255),
    )  # fmt: skip
    # ... and its rank there while it is held back; null at the front, delayed or asleep.
    line_rank = DerivedField(
        expression=Case(When(status=JobStatus.READY, gate=Gate.HELD, then=F("priority") * -1)),
        output_field=models.SmallIntegerField(),
    )  # fmt: skip
    # The key that a job holds: from its claim until its handler has left, cancelled or not.
    held_key = DerivedField(
        expression=Case(
            When(
                processing_token__isnull=False, concurrency_limit__isnull=False,
                then="concurrency_key",
            )
        ),
        output_field=KeyField(max_length=255),
    )  # fmt: skip
    unfinished_key = DerivedField(
        expression=Case(When(status__in=UNFINISHED, then="unique_key")),
        output_field=models.CharField(max_length=64),
    )  # fmt: skip

    objects = JobsManager.from_queryset(JobQuerySet)()

    # Whether `enqueue` returned this unfinished job instead of adding another.
    was_duplicate = False
    # Whether adding this job deletes the unfinished ones of its key that do not run.
    supersedes = False

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        permissions = [
            ("run_job", _("Can run jobs")),
            ("cancel_job", _("Can cancel jobs")),
            ("retry_job", _("Can retry jobs")),
        ]
        indexes = [
            # The claim from one queue, and the claim from all of them. The second says so by a
            # condition that is always true: else a claim from one queue may be answered by it,
            # walking past all that waits in the others.
            NotNullIndex(
                fields=["queue", "claim_rank", "due_at", "id"], not_null="claim_rank",
                name="jobs_job_claim_queue",
            ),
            NotNullIndex(
                fields=["claim_rank", "due_at", "id"], not_null="claim_rank", only=ALL_QUEUES,
                name="jobs_job_claim_any",
            ),
            # Delayed, retrying and sleeping jobs whose time has come.
            NotNullIndex(fields=["wake_at"], not_null="wake_at", name="jobs_job_wake"),
            # Jobs whose lease is over.
            NotNullIndex(
                fields=["processing_until"], not_null="processing_until", name="jobs_job_lease"
            ),
            # Who stands in the line of a key, and who is next; whom `supersedes` removes.
            NotNullIndex(
                fields=["line_key", "queue", "line_rank", "due_at", "id"], not_null="line_key",
                name="jobs_job_line",
            ),
            NotNullIndex(fields=["parent"], not_null="parent", name="jobs_job_parent"),
            # The failed jobs, newest first, and those of them that failed alike.
            ValueIndex(
                fields=["status", "id"], field="status", value=JobStatus.FAILED.value,
                name="jobs_job_failed",
            ),
            NotNullIndex(
                fields=["error_group", "id"], not_null="error_group", name="jobs_job_error_group"
            ),
        ]  # fmt: skip
        constraints = [
            models.CheckConstraint(
                name="jobs_job_running_has_token",
                condition=Q(
                    status=JobStatus.RUNNING,
                    processing_token__isnull=False, processing_until__isnull=False,
                )
                # A job cancelled while it runs keeps its token until its handler has left.
                | Q(status=JobStatus.CANCELLED)
                | ~Q(status__in=(JobStatus.RUNNING, JobStatus.CANCELLED))
                & Q(processing_token__isnull=True, processing_until__isnull=True),
            ),
            # At most `concurrency_limit` running jobs of a key: one in each place.
            NotNullUnique(
                fields=["held_key", "slot"], not_null="held_key", name="jobs_job_key_slot"
            ),
            NotNullUnique(
                fields=["unfinished_key"], not_null="unfinished_key", name="jobs_job_unique_key"
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.slug} #{self.pk}"

    @property
    def is_finished(self) -> bool:
        return self.status in FINISHED

    @property
    def has_error(self) -> bool:
        return self.status in (JobStatus.FAILED, JobStatus.CANCELLED)

    @property
    def log(self) -> models.QuerySet[JobLog]:
        """The log entries, oldest first."""
        return self.log_entries.order_by("id")

    @property
    def task_status(self) -> Mapping[str, Mapping[str, TaskStatus]]:
        """What became of each task of the job: task_status[slug][task_id]."""
        table: dict[str, dict[str, TaskStatus]] = defaultdict(dict)
        for status in self.task_statuses.all():
            table[status.task_slug][status.task_id] = status
        if self.kind == JobKind.TASK:
            table[self.slug][SINGLE_TASK_ID] = self._own_task_status()
        return dict(table)

    def _own_task_status(self) -> TaskStatus:
        """Return the status of a single task, which is that of its job and has no row."""
        status_class = self.task_statuses.model
        return status_class(
            job=self,
            task_slug=self.slug,
            task_id=SINGLE_TASK_ID,
            input=self.input,
            output=self.output,
            complete=self.status == JobStatus.SUCCESSFUL,
            total_tried=self.total_tried,
        )

    def cancel(self) -> bool:
        """Cancel the job; return False where it was finished already."""
        return self._operate("cancel")

    def retry(self) -> bool:
        """Make the job ready again; return False where it neither failed nor was cancelled.

        Raises DuplicateJobError where its `unique` twin is unfinished.
        """
        return self._operate("retry")

    def _operate(self, verb: str) -> bool:
        database = self._state.db or database_alias()
        jobs: JobQuerySet = Job.objects.using(database).filter(pk=self.pk)
        took_place = bool(getattr(jobs, verb)())
        self.refresh_from_db()
        return took_place

    def wait(self, timeout: float | timedelta | None = None) -> Job:
        """Return the job, refreshed, when it is finished.

        Raises TimeoutError after `timeout` (seconds).
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        deadline = None if seconds is None else time.monotonic() + seconds
        pause = 0.01
        self.refresh_from_db()
        while not self.is_finished:
            left = pause if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"Job {self.pk} is still {self.status} after {seconds:g} s.")
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.5)
            self.refresh_from_db()
        return self
