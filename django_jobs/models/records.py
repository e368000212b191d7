"""What a job remembers of its steps, and what is logged of it."""

from __future__ import annotations

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_jobs.fields import KeyField
from django_jobs.models.job import Job
from django_jobs.models.querysets import JobsManager
from django_jobs.models.vocabulary import (
    LogState,
)


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
    total_tried = models.IntegerField(_("total tried"), default=0)
    # Differs from the tries by the successes of a step that is not restored but run again.
    total_failed = models.IntegerField(_("total failed"), default=0)

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
    attempt = models.IntegerField(
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
    level = models.SmallIntegerField(_("level"), null=True, blank=True)
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
