"""When tasks are enqueued by themselves."""

from __future__ import annotations

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext_lazy as _

from django_jobs.fields import KeyField, NotNullUnique
from django_jobs.models.job import Job
from django_jobs.models.querysets import JobsManager


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
