"""Jobs of workers that are dead, or too silent to be trusted to be alive."""

from __future__ import annotations

import logging

from django.db import transaction

from django_jobs import conf, signals
from django_jobs.fields import DatabaseNow
from django_jobs.models import Job, JobLog, JobStatus, LogState, Worker
from django_jobs.queue import concurrency, throughput, waits
from django_jobs.queue.failures import group_of
from django_jobs.queue.index_order import rows_of
from django_jobs.queue.lifecycle import FAILED, READY, UNCLAIMED, move
from django_jobs.queue.notify import notify
from django_jobs.queue.rows import skip_locked
from django_jobs.queue.transient import retried

BATCH = 500


def take_over(*, using: str) -> int:
    """Make the jobs ready whose lease is over; return how many were taken over.

    It costs them no retry. One that has lost its worker too often fails for good.
    """
    taken_over = 0
    over = Job.objects.using(using).filter(processing_until__lte=DatabaseNow())
    # In order, so that the index of the leases is looked at and not the table.
    first = over.order_by("processing_until").values_list("pk")[:1]
    while rows_of(first):
        lost = _take_over_batch(using=using)
        concurrency.look_again(lost, using=using)
        waits.wake_parents(lost, using=using)
        notify({job.queue for job in lost if job.status == JobStatus.READY}, using=using)
        failed = [job for job in lost if job.status == JobStatus.FAILED]
        throughput.note_failed(failed, using=using)
        signals.announce(signals.job_failed, failed)
        taken_over += len(lost)
        if len(lost) < BATCH:
            break
    return taken_over


def end_leases(worker: Worker, *, using: str) -> None:
    """End the leases of a worker that is known to be dead, and forget it."""
    held = Job.objects.using(using).filter(worker=worker, processing_until__isnull=False)
    held.update(processing_until=DatabaseNow())
    Worker.objects.using(using).filter(pk=worker.pk).delete()


@retried
def _take_over_batch(*, using: str) -> list[Job]:
    with transaction.atomic(using=using):
        over = Job.objects.using(using).filter(processing_until__lte=DatabaseNow())
        over = over.annotate(now=DatabaseNow())
        lost = list(skip_locked(over.order_by("processing_until"))[:BATCH])
        running = [job for job in lost if job.status == JobStatus.RUNNING]
        # A cancelled job only kept its claim because its handler might not have left.
        _release([job for job in lost if job.status == JobStatus.CANCELLED], using)
        most = conf.get().MAX_CRASHES
        _give_up([job for job in running if job.crashes + 1 >= most], using)
        _make_ready([job for job in running if job.crashes + 1 < most], using)
    return lost


def _release(jobs: list[Job], using: str) -> None:
    if jobs:
        Job.objects.using(using).filter(pk__in=[job.pk for job in jobs]).update(**UNCLAIMED)


def _make_ready(jobs: list[Job], using: str) -> None:
    for crashes in {job.crashes for job in jobs}:
        same = [job for job in jobs if job.crashes == crashes]
        values = {"crashes": crashes + 1, "updated_at": DatabaseNow(), "wait_until": None}
        rows = Job.objects.using(using).filter(pk__in=[job.pk for job in same])
        move(rows, READY, **UNCLAIMED, **values)
        for job in same:
            job.status, job.crashes = READY, crashes + 1
    _log(jobs, "The worker was lost; the job runs again.", using)


def _give_up(jobs: list[Job], using: str) -> None:
    for job in jobs:
        crashes = job.crashes + 1
        error = {
            "name": "WorkerLostError",
            "message": f"The job has lost its worker {crashes} times.",
            "traceback": "",
            "cancelled": False,
        }
        now = job.now  # type: ignore[attr-defined]
        values = {
            "error": error, "error_group": group_of(error), "crashes": crashes,
            "completed_at": now, "updated_at": now,
        }  # fmt: skip
        move(Job.objects.using(using).filter(pk=job.pk), FAILED, **UNCLAIMED, **values)
        for name, value in {"status": FAILED, **UNCLAIMED, **values}.items():
            setattr(job, name, value)
    _log(jobs, "The worker was lost once too often.", using)


def _log(jobs: list[Job], message: str, using: str) -> None:
    entries = [
        JobLog(
            job=job, attempt=job.total_tried + 1, state=LogState.MESSAGE, message=message,
            level=logging.WARNING,
        )
        for job in jobs
    ]  # fmt: skip
    JobLog.objects.using(using).bulk_create(entries)
