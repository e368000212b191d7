"""Queues and the processes that work on them."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_jobs.fields import KeyField
from django_jobs.models.querysets import JobsManager


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


class Overview(Queue):
    """The place of the overview among the pages of the admin. It has no table."""

    class Meta:
        proxy = True
        verbose_name = _("overview")
        verbose_name_plural = _("overview")
        # Who may look at it is who may look at jobs.
        default_permissions = ()


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
