"""What is stored. What happens to a row is in `django_jobs.queue`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, router
from django.db.models import Case, F, Q, When
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_jobs import conf
from django_jobs.fields import DatabaseNow, KeyField, NotNullIndex, NotNullUnique

SINGLE_TASK_ID = "1"
INLINE_SLUG = "inline"


class JobKind(models.TextChoices):
    TASK = "task", _("task")
    WORKFLOW = "workflow", _("workflow")


class JobStatus(models.TextChoices):
    READY = "ready", _("ready")
    RUNNING = "running", _("running")
    # Asleep, or waiting for an event or for its children.
    WAITING = "waiting", _("waiting")
    SUCCESSFUL = "successful", _("successful")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


UNFINISHED = (JobStatus.READY, JobStatus.RUNNING, JobStatus.WAITING)
FINISHED = (JobStatus.SUCCESSFUL, JobStatus.FAILED, JobStatus.CANCELLED)


class Gate(models.IntegerChoices):
    """What else than its status keeps a ready job from being claimed."""

    OPEN = 0, _("open, unless it has to wait until a time")
    DUE = 1, _("open, its time has come")
    HELD = 2, _("waiting for its concurrency key")


class LogState(models.TextChoices):
    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    MESSAGE = "message", _("message")


def database_alias(model: type[models.Model] | None = None) -> str:
    """Return the alias of the database that holds the jobs."""
    return conf.get().DATABASE or router.db_for_write(model or Job)


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
    total_tried = models.PositiveIntegerField(_("total tried"), default=0)
    error = models.JSONField(_("error"), null=True, blank=True)
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
    crashes = models.PositiveSmallIntegerField(_("workers lost"), default=0, editable=False)

    concurrency_key = KeyField(_("concurrency key"), max_length=255, null=True, blank=True)
    concurrency_limit = models.PositiveIntegerField(
        _("concurrency limit"), null=True, editable=False,
        help_text=_("How many jobs with this key may run at once; empty: any number."),
    )  # fmt: skip
    # Which of the key's places, from 0, a running job has taken.
    slot = models.PositiveIntegerField(_("place"), default=0, editable=False)
    gate = models.SmallIntegerField(_("gate"), choices=Gate, default=Gate.OPEN, editable=False)
    # SHA-256 of the slug and what its `unique` returned.
    unique_key = models.CharField(max_length=64, null=True, editable=False)  # noqa: DJ001
    # The retries given to this one job, in place of its task's own.
    retries = models.JSONField(_("retries"), null=True, editable=False)
    parent = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, editable=False,
        verbose_name=_("parent"), related_name="children", db_index=False,
    )  # fmt: skip

    # What follows is derived by the database, so that it cannot disagree with the above.
    due_at = models.GeneratedField(
        expression=Coalesce("wait_until", "created_at"),
        output_field=models.DateTimeField(), db_persist=True, verbose_name=_("due at"),
    )  # fmt: skip
    # The priority, turned round, of a job that may be claimed now; null for all others.
    claim_rank = models.GeneratedField(
        expression=Case(
            When(
                Q(status=JobStatus.READY)
                & (Q(gate=Gate.DUE) | Q(gate=Gate.OPEN, wait_until__isnull=True)),
                then=F("priority") * -1,
            )
        ),
        output_field=models.SmallIntegerField(), db_persist=True,
    )  # fmt: skip
    # When a job that waits for a time must be looked at again.
    wake_at = models.GeneratedField(
        expression=Case(
            When(
                status__in=(JobStatus.READY, JobStatus.WAITING), gate=Gate.OPEN,
                then="wait_until",
            )
        ),
        output_field=models.DateTimeField(), db_persist=True,
    )  # fmt: skip
    # The key in whose line an unfinished job stands that does not run, ...
    line_key = models.GeneratedField(
        expression=Case(
            When(status__in=(JobStatus.READY, JobStatus.WAITING), then="concurrency_key")
        ),
        output_field=KeyField(max_length=255), db_persist=True,
    )  # fmt: skip
    # ... and its rank there while it is held back; null at the front, delayed or asleep.
    line_rank = models.GeneratedField(
        expression=Case(When(status=JobStatus.READY, gate=Gate.HELD, then=F("priority") * -1)),
        output_field=models.SmallIntegerField(), db_persist=True,
    )  # fmt: skip
    # The key that a job holds: from its claim until its handler has left, cancelled or not.
    held_key = models.GeneratedField(
        expression=Case(
            When(
                processing_token__isnull=False, concurrency_limit__isnull=False,
                then="concurrency_key",
            )
        ),
        output_field=KeyField(max_length=255), db_persist=True,
    )  # fmt: skip
    unfinished_key = models.GeneratedField(
        expression=Case(When(status__in=UNFINISHED, then="unique_key")),
        output_field=models.CharField(max_length=64), db_persist=True,
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
            # The claim from one queue, and the claim from all of them.
            NotNullIndex(
                fields=["queue", "claim_rank", "due_at", "id"], not_null="claim_rank",
                name="jobs_job_claim_queue",
            ),
            NotNullIndex(
                fields=["claim_rank", "due_at", "id"], not_null="claim_rank",
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
    def is_exclusive(self) -> bool:
        return self.concurrency_limit is not None

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
        return TaskStatus(
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


class TaskStatus(models.Model):
    """What a job remembers of one of its steps, so that it need not run again."""

    job = models.ForeignKey(
        Job, models.CASCADE, related_name="task_statuses", db_index=False, verbose_name=_("job")
    )
    task_slug = KeyField(_("task"), max_length=255)
    task_id = KeyField(_("task id"), max_length=255)
    input = models.JSONField(_("input"), null=True, blank=True, encoder=DjangoJSONEncoder)
    output = models.JSONField(_("output"), null=True, blank=True, encoder=DjangoJSONEncoder)
    complete = models.BooleanField(_("complete"), default=False)
    total_tried = models.PositiveIntegerField(_("total tried"), default=0)
    # Differs from the tries by the successes of a step that is not restored but run again.
    total_failed = models.PositiveIntegerField(_("total failed"), default=0)

    objects = JobsManager()

    class Meta:
        verbose_name = _("task status")
        verbose_name_plural = _("task statuses")
        constraints = [
            models.UniqueConstraint(
                fields=["job", "task_slug", "task_id"], name="jobs_taskstatus_step"
            )
        ]

    def __str__(self) -> str:
        return f"{self.task_slug} {self.task_id}"


class JobLog(models.Model):
    """One attempt at a task, or one message. Rows are only ever inserted."""

    State = LogState

    job = models.ForeignKey(Job, models.CASCADE, related_name="log_entries", verbose_name=_("job"))
    attempt = models.PositiveIntegerField(
        _("attempt"), default=0, help_text=_("The job's attempt, from 1; 0 before the first.")
    )
    task_slug = KeyField(_("task"), max_length=255, blank=True, default="")
    task_id = KeyField(_("task id"), max_length=255, blank=True, default="")
    executed_at = models.DateTimeField(_("executed at"), default=timezone.now)
    completed_at = models.DateTimeField(_("completed at"), default=timezone.now)
    input = models.JSONField(_("input"), null=True, blank=True, encoder=DjangoJSONEncoder)
    output = models.JSONField(_("output"), null=True, blank=True, encoder=DjangoJSONEncoder)
    state = models.CharField(_("state"), max_length=16, choices=LogState)
    error = models.JSONField(_("error"), null=True, blank=True)
    level = models.PositiveSmallIntegerField(_("level"), null=True, blank=True)
    message = models.TextField(_("message"), blank=True, default="")
    data = models.JSONField(_("data"), null=True, blank=True, encoder=DjangoJSONEncoder)
    parent_task_slug = KeyField(_("parent task"), max_length=255, blank=True, default="")
    parent_task_id = KeyField(_("parent task id"), max_length=255, blank=True, default="")

    objects = JobsManager()

    class Meta:
        verbose_name = _("log entry")
        verbose_name_plural = _("log entries")

    def __str__(self) -> str:
        return self.message or f"{self.task_slug} {self.task_id} {self.state}"


class Event(models.Model):
    """Something that jobs wait for; kept for those that come to wait for it later."""

    name = KeyField(_("name"), max_length=255)
    payload = models.JSONField(_("payload"), null=True, blank=True, encoder=DjangoJSONEncoder)
    created_at = models.DateTimeField(_("created at"), default=timezone.now)

    objects = JobsManager()

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        # The oldest event of a name that a job has not taken.
        indexes = [models.Index(fields=["name", "id"], name="jobs_event_name")]

    def __str__(self) -> str:
        return str(self.name)


class Wait(models.Model):
    """What a waiting job waits for: any of its events, or all of its children."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="waits", verbose_name=_("job"))
    event = KeyField(_("event"), max_length=255, null=True)
    child = models.ForeignKey(
        Job, models.CASCADE, null=True, related_name="awaited_by", verbose_name=_("child"),
        db_index=False,
    )  # fmt: skip

    objects = JobsManager()

    class Meta:
        verbose_name = _("wait")
        verbose_name_plural = _("waits")
        indexes = [
            NotNullIndex(fields=["event"], not_null="event", name="jobs_wait_event"),
            NotNullIndex(fields=["child"], not_null="child", name="jobs_wait_child"),
        ]

    def __str__(self) -> str:
        return f"{self.event or self.child_id}"


class Queue(models.Model):
    """A queue that has been paused at some time; a queue without a row is not paused."""

    name = KeyField(_("name"), max_length=255, unique=True)
    paused = models.BooleanField(_("paused"), default=False)
    paused_at = models.DateTimeField(_("paused at"), null=True, blank=True)
    paused_by = models.CharField(_("paused by"), max_length=255, blank=True, default="")

    objects = JobsManager()

    class Meta:
        verbose_name = _("queue")
        verbose_name_plural = _("queues")

    def __str__(self) -> str:
        return str(self.name)


class Worker(models.Model):
    """A worker process that is alive, or was until its last heartbeat."""

    host = models.CharField(_("host"), max_length=255)
    pid = models.PositiveIntegerField(_("process id"))
    # Together with the pid these name one process of one machine for ever: host names and
    # pids alone are shared by containers and used again.
    boot_id = models.CharField(max_length=64, blank=True, default="", editable=False)
    pid_namespace = models.CharField(max_length=64, blank=True, default="", editable=False)
    process_start = models.CharField(max_length=64, blank=True, default="", editable=False)
    queues = models.JSONField(_("queues"), default=list, help_text=_("Empty: all of them."))
    started_at = models.DateTimeField(_("started at"))
    last_heartbeat_at = models.DateTimeField(_("last heartbeat"), db_index=True)
    jobs_running = models.PositiveIntegerField(_("jobs running"), default=0)

    objects = JobsManager()

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class JobSchedule(models.Model):
    """When a task is enqueued by itself: declared in code, or made by an admin."""

    slug = KeyField(_("task or workflow"), max_length=255)
    # Which of the schedules of its task it is, from 0; null for one that an admin made.
    number = models.PositiveSmallIntegerField(_("number"), null=True, editable=False)
    cron = models.CharField(
        _("cron"), max_length=255,
        help_text=_("5 fields, or 6 with seconds first, or a form such as @daily."),
    )  # fmt: skip
    declared_cron = models.CharField(
        _("declared cron"), max_length=255, blank=True, default="", editable=False,
        help_text=_("What the code says; the cron above is in force."),
    )  # fmt: skip
    queue = KeyField(_("queue"), max_length=255, default="default")
    timezone = models.CharField(
        _("time zone"), max_length=64, blank=True, default="",
        help_text=_("Such as Europe/Berlin; empty: the setting TIME_ZONE."),
    )  # fmt: skip
    input = models.JSONField(_("input"), default=dict, blank=True, encoder=DjangoJSONEncoder)
    enabled = models.BooleanField(_("enabled"), default=True)
    last_run_at = models.DateTimeField(_("last run"), null=True, blank=True)
    next_run_at = models.DateTimeField(_("next run"), null=True, blank=True)
    # The cron and zone that `next_run_at` was reckoned with: other ones start from now.
    planned_with = models.CharField(max_length=512, blank=True, default="", editable=False)

    objects = JobsManager()

    class Meta:
        verbose_name = _("schedule")
        verbose_name_plural = _("schedules")
        constraints = [
            NotNullUnique(
                fields=["slug", "number"], not_null="number", name="jobs_schedule_declared"
            )
        ]

    def __str__(self) -> str:
        return f"{self.slug} {self.cron}"

    @property
    def is_declared(self) -> bool:
        return self.number is not None

    @property
    def is_overridden(self) -> bool:
        """Whether an admin has changed what the code declares."""
        return self.is_declared and self.cron != self.declared_cron


class ScheduleRun(models.Model):
    """That a due time of a schedule was seen to, once, and what came of it."""

    schedule = models.ForeignKey(
        JobSchedule, models.CASCADE, related_name="runs", verbose_name=_("schedule")
    )
    due_at = models.DateTimeField(_("due at"))
    # No constraint: jobs are pruned without looking here.
    job = models.ForeignKey(
        Job, models.DO_NOTHING, null=True, related_name="+", db_constraint=False,
        db_index=False, verbose_name=_("job"),
    )  # fmt: skip
    reason = models.CharField(
        _("reason"), max_length=255, blank=True, default="",
        help_text=_("Why no job was enqueued."),
    )  # fmt: skip

    objects = JobsManager()

    class Meta:
        verbose_name = _("schedule run")
        verbose_name_plural = _("schedule runs")
        constraints = [
            # However many processes see to a due time, one does.
            models.UniqueConstraint(fields=["schedule", "due_at"], name="jobs_schedulerun_once")
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.due_at}"
