"""The closed sets of values, and their words."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
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


# True of every job; who asks for the next of all queues must say so, see `jobs_job_claim_any`.
ALL_QUEUES = Q(id__gt=0)
# In which order jobs are claimed where nothing else is asked for.
USUAL_ORDER = ("claim_rank", "due_at", "id")


class LogState(models.TextChoices):
    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    MESSAGE = "message", _("message")
