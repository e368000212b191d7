"""What can be listened to in the life of a job, and the receivers that log it.

Each signal is sent with `sender=Job` and `job=`, after the change is stored. A receiver
that raises is logged and hurts nothing. They are sent in the process that made the change.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django.dispatch import Signal
from django.utils.timezone import localtime

if TYPE_CHECKING:
    from django_jobs.models import Job

logger = logging.getLogger("django_jobs")

# The row is inserted, perhaps in a transaction that is still open.
job_enqueued = Signal()
# A worker has begun an attempt.
job_started = Signal()
job_succeeded = Signal()
# The failure is final: no attempt will follow.
job_failed = Signal()
# The attempt failed, or asked for a later one, and another will follow.
job_retried = Signal()
job_cancelled = Signal()
# What a worker wanted to record was refused: the job is another worker's by now, or deleted.
claim_lost = Signal()


def has_listeners(signal: Signal) -> bool:
    """Whether anybody listens but the log."""
    return len(signal.receivers) > 1


def announce(signal: Signal, jobs: Iterable[Job]) -> None:
    """Send `signal` for each job, unless only the log listens, which is not written."""
    log, level = _LOGGED[signal]
    if has_listeners(signal):
        for job in jobs:
            signal.send_robust(sender=type(job), job=job)
    elif logger.isEnabledFor(level):
        for job in jobs:
            log(job=job)


def _log_enqueued(*, job: Job, **kwargs: Any) -> None:
    logger.debug("Job %s %s enqueued on %s", job.pk, job.slug, job.queue, extra={"job_id": job.pk})


def _log_started(*, job: Job, **kwargs: Any) -> None:
    logger.info(
        "Job %s %s started, attempt %s", job.pk, job.slug, job.total_tried + 1,
        extra={"job_id": job.pk},
    )  # fmt: skip


def _log_succeeded(*, job: Job, **kwargs: Any) -> None:
    logger.info("Job %s %s succeeded", job.pk, job.slug, extra={"job_id": job.pk})


def _log_failed(*, job: Job, **kwargs: Any) -> None:
    logger.error(
        "Job %s %s failed for good: %s", job.pk, job.slug, _error(job), extra={"job_id": job.pk}
    )


def _log_retried(*, job: Job, **kwargs: Any) -> None:
    logger.warning(
        "Job %s %s will run again%s: %s", job.pk, job.slug,
        f" at {localtime(job.wait_until):%H:%M:%S}" if job.wait_until else "", _error(job),
        extra={"job_id": job.pk},
    )  # fmt: skip


def _log_cancelled(*, job: Job, **kwargs: Any) -> None:
    logger.info("Job %s %s cancelled", job.pk, job.slug, extra={"job_id": job.pk})


def _log_claim_lost(*, job: Job, **kwargs: Any) -> None:
    logger.warning(
        "Job %s %s is not ours any more; what it did here was not recorded", job.pk, job.slug,
        extra={"job_id": job.pk},
    )  # fmt: skip


def _error(job: Job) -> str:
    """Return the name of the job's error; its message may hold what logs must not."""
    return str((job.error or {}).get("name", "asked for it"))


_LOGGED: dict[Signal, tuple[Callable[..., None], int]] = {
    job_enqueued: (_log_enqueued, logging.DEBUG),
    job_started: (_log_started, logging.INFO),
    job_succeeded: (_log_succeeded, logging.INFO),
    job_failed: (_log_failed, logging.ERROR),
    job_retried: (_log_retried, logging.WARNING),
    job_cancelled: (_log_cancelled, logging.INFO),
    claim_lost: (_log_claim_lost, logging.WARNING),
}


def connect() -> None:
    for signal, (receiver, _level) in _LOGGED.items():
        signal.connect(receiver, dispatch_uid="django_jobs.signals")
