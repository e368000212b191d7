"""The one state of a job that people are told, finer than its stored status."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.db import models
from django.utils.translation import gettext_lazy as _

Tone = Literal["idle", "busy", "good", "warning", "bad"]


class State(models.TextChoices):
    READY = "ready", _("ready")
    DELAYED = "delayed", _("delayed")
    RETRYING = "retrying", _("retrying")
    HELD = "held", _("waiting for its key")
    PAUSED = "paused", _("queue paused")
    NO_WORKER = "no-worker", _("no worker")
    UNKNOWN = "unknown", _("unknown task")
    RUNNING = "running", _("running")
    STUCK = "stuck", _("stuck")
    ASLEEP = "asleep", _("asleep")
    AWAITING_EVENT = "awaiting-event", _("waiting for an event")
    AWAITING_CHILDREN = "awaiting-children", _("waiting for its children")
    SUCCESSFUL = "successful", _("successful")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")
    CANCELLING = "cancelling", _("cancelled, still running")

    @property
    def tone(self) -> Tone:
        """How much it asks to be looked at; the class that the admin's styles know."""
        return _TONES.get(self, "idle")


_TONES: dict[State, Tone] = {
    State.RUNNING: "busy",
    State.SUCCESSFUL: "good",
    State.RETRYING: "warning",
    State.PAUSED: "warning",
    State.CANCELLING: "warning",
    State.NO_WORKER: "bad",
    State.UNKNOWN: "bad",
    State.STUCK: "bad",
    State.FAILED: "bad",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a job does, and why it does not run."""

    state: State
    # One or more sentences in the language that is active; may be empty.
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None
    # The job that it waits for, where there is one to look at.
    other: int | None = None
