"""The closed sets of values, and their words."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

SINGLE_TASK_ID = "1"
# What steps that are no task of the application are recorded under.
INLINE_SLUG = "inline"
SLEEP_SLUG = "ctx.sleep"
EVENT_SLUG = "ctx.wait_for_event"
CHILD_SLUG = "ctx.enqueue_child"


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
