"""What waiting jobs wait for."""

from __future__ import annotations

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_jobs.fields import KeyField, NotNullIndex
from django_jobs.models.job import Job
from django_jobs.models.querysets import JobsManager


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
