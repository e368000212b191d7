"""How many jobs ended when."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_jobs.fields import HourField, KeyField
from django_jobs.models.querysets import JobsManager


class Throughput(models.Model):
    """How many attempts ended in one minute of a queue.

    For charts, not for accounts: what a process had not written down is lost when it is killed.
    """

    queue = KeyField(_("queue"), max_length=255)
    minute = models.DateTimeField(_("minute"))
    # So that no database function, which SQLite would call for every row, has to find it.
    hour = HourField(_("hour"), of="minute", editable=False)
    succeeded = models.PositiveIntegerField(_("succeeded"), default=0)
    failed = models.PositiveIntegerField(_("failed"), default=0)
    retried = models.PositiveIntegerField(_("retried"), default=0)

    objects = JobsManager()

    class Meta:
        verbose_name = _("throughput")
        verbose_name_plural = _("throughput")
        constraints = [
            # In this order, so that it also finds the rows of the last hours.
            models.UniqueConstraint(fields=["minute", "queue"], name="jobs_throughput_minute")
        ]

    def __str__(self) -> str:
        return f"{self.queue} {self.minute:%H:%M}"
