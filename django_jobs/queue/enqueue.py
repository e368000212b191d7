"""Add jobs: one INSERT, on the caller's connection, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy

from django.db import IntegrityError, connections, transaction

from django_jobs.models import Gate, Job, JobLog
from django_jobs.queue import concurrency, insert_at_once
from django_jobs.queue.transient import retried

BATCH = 1000
# How often a unique key may be taken and left again while its job is being added.
UNIQUE_TRIES = 10


def insert(
    jobs: Sequence[Job], *, entries: Sequence[Sequence[JobLog]] = (), using: str
) -> list[Job]:
    """Add the jobs and return them; in place of a duplicate, the unfinished job it repeats.

    `entries` are the first log entries of each of the jobs.
    """
    if not jobs:
        return []
    stored, held = _store(jobs, entries, using=using)
    if held:
        concurrency.look_again(held, using=using)
    return stored


@retried
def _store(
    jobs: Sequence[Job], entries: Sequence[Sequence[JobLog]], *, using: str
) -> tuple[list[Job], list[Job]]:
    """Add the jobs in one transaction; return what `insert` does, and who is held back."""
    _forget_earlier_try(jobs)
    superseding = {
        job.concurrency_key for job in jobs if job.supersedes and job.concurrency_key is not None
    }
    unique = any(job.unique_key is not None for job in jobs)
    logged = any(entries)
    one_statement = len(jobs) <= (BATCH if insert_at_once.is_supported(using) else 1)
    with _transaction_if(bool(superseding or logged or unique) or not one_statement, using):
        if superseding:
            _supersede(superseding, using)
        held = concurrency.assign_gates(jobs, using=using)
        stored = _insert_unique(jobs, using) if unique else _insert(jobs, using)
        if logged:
            _insert_entries(stored, entries, using)
        if superseding and len(jobs) > 1:
            _supersede_within(stored, superseding, using)
    return stored, held


def _forget_earlier_try(jobs: Iterable[Job]) -> None:
    """Take back what a transaction that was rolled back has left in memory."""
    for job in jobs:
        job.id, job.gate, job._state.adding = None, Gate.OPEN, True


def _transaction_if(wanted: bool, using: str) -> AbstractContextManager[object]:
    return transaction.atomic(using=using) if wanted else nullcontext()


def _insert(jobs: Sequence[Job], using: str) -> list[Job]:
    if insert_at_once.is_supported(using):
        for first in range(0, len(jobs), BATCH):
            insert_at_once.insert(jobs[first : first + BATCH], using=using)
    elif len(jobs) > 1 and connections[using].features.can_return_rows_from_bulk_insert:
        Job.objects.using(using).bulk_create(jobs, batch_size=BATCH)
    else:
        # For one job, save() spares the transaction that bulk_create() opens.
        for job in jobs:
            job.save(force_insert=True, using=using)
    return list(jobs)


def _insert_unique(jobs: Sequence[Job], using: str) -> list[Job]:
    """Insert what has no unfinished twin. The constraint decides; a lost race starts anew."""
    # A try that fails tells of a single twin, be there as many as jobs.
    for tries_left in reversed(range(UNIQUE_TRIES + len(jobs))):
        twins = _unfinished_twins(jobs, using)
        fresh = _first_of_each_key(job for job in jobs if job.unique_key not in twins)
        try:
            with transaction.atomic(using=using):
                _insert(fresh, using)
        except IntegrityError:
            if not tries_left:
                raise
            for job in fresh:
                job.pk, job._state.adding = None, True
            continue
        twins.update((job.unique_key, job) for job in fresh if job.unique_key is not None)
        return [_duplicate(twins[job.unique_key]) if job._state.adding else job for job in jobs]
    raise AssertionError("the last try raises")


def _unfinished_twins(jobs: Sequence[Job], using: str) -> dict[str | None, Job]:
    keys = {job.unique_key for job in jobs if job.unique_key is not None}
    unfinished = Job.objects.using(using).filter(unfinished_key__in=keys)
    return {job.unique_key: job for job in unfinished}


def _first_of_each_key(jobs: Iterable[Job]) -> list[Job]:
    seen: set[str] = set()
    first = []
    for job in jobs:
        if job.unique_key is None or job.unique_key not in seen:
            first.append(job)
        if job.unique_key is not None:
            seen.add(job.unique_key)
    return first


def _duplicate(job: Job) -> Job:
    twin = copy(job)
    twin.was_duplicate = True
    return twin


def _supersede(keys: Collection[str], using: str) -> None:
    """Delete the unfinished jobs of the keys that do not run."""
    older = Job.objects.using(using).filter(line_key__in=keys)
    # The lock keeps a worker from claiming a row between its selection and its deletion.
    locked = list(older.order_by("pk").select_for_update().values_list("pk", flat=True))
    if locked:
        Job.objects.using(using).filter(pk__in=locked).delete()


def _supersede_within(jobs: Sequence[Job], keys: Collection[str], using: str) -> None:
    """Let the last of the new jobs supersede the others, as if they had come one by one.

    A duplicate is no new job: what it repeats runs, or it would have been superseded.
    """
    last = {job.concurrency_key: job.pk for job in jobs}
    older = [
        job.pk
        for job in jobs
        if job.concurrency_key in keys
        and job.pk != last[job.concurrency_key]
        and not job.was_duplicate
    ]
    if older:
        Job.objects.using(using).filter(pk__in=older).delete()


def _insert_entries(jobs: Sequence[Job], entries: Sequence[Sequence[JobLog]], using: str) -> None:
    rows = []
    for job, own in zip(jobs, entries, strict=True):
        for entry in own if not job.was_duplicate else ():
            entry.job, entry.executed_at, entry.completed_at = job, job.created_at, job.created_at
            rows.append(entry)
    JobLog.objects.using(using).bulk_create(rows, batch_size=BATCH)
