"""From a declaration and arguments to jobs that can be stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from django_jobs import conf, signals
from django_jobs.exceptions import InvalidInputError
from django_jobs.models import Job, JobLog, LogState, database_alias
from django_jobs.queue import enqueue as queue_enqueue
from django_jobs.queue.json import encode, normalise
from django_jobs.queue.rows import another, new
from django_jobs.tasks.bounds import check_priority, check_queue
from django_jobs.tasks.retry import Retry
from django_jobs.tasks.task import Declaration

Given = tuple[Declaration[Any, Any], Mapping[str, Any], "Options"]
"""What to run, its arguments, and the options of this one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one call of `enqueue` may decide for itself; None leaves it to the declaration."""

    queue: str | None = None
    priority: int | None = None
    wait_until: datetime | None = None
    retries: Retry | None = None
    meta: Mapping[str, Any] | None = None
    on_commit: str | None = None
    log: Sequence[str | Mapping[str, Any]] = ()
    parent: Job | None = None

    def merged(self, **given: Any) -> Options:
        """Return these options with those given in their place.

        Raises TypeError for an unknown option, TypeError or ValueError for a wrong value.
        """
        known = [option.name for option in fields(self)]
        unknown = [name for name in given if name not in known]
        if unknown:
            raise TypeError(f"{unknown[0]!r} is no option of a call. It takes {', '.join(known)}.")
        if "retries" in given:
            given["retries"] = Retry.of(given["retries"])
        check_queue(given.get("queue"))
        check_priority(given.get("priority"))
        _check_wait_until(given.get("wait_until"))
        if "meta" in given:
            given["meta"] = _meta(given["meta"])
        return replace(self, **given)


def _check_wait_until(wait_until: Any) -> None:
    if wait_until is None:
        return
    if not isinstance(wait_until, datetime):
        raise TypeError(f"wait_until must be a datetime, not {type(wait_until).__name__}.")
    if timezone.is_naive(wait_until):
        raise ValueError(
            "wait_until must be an aware datetime, such as "
            "django.utils.timezone.now() + timedelta(minutes=5)."
        )


def _meta(meta: Any) -> Mapping[str, Any] | None:
    if meta is None:
        return None
    if not isinstance(meta, Mapping):
        raise TypeError(f"meta must be a dict, not {type(meta).__name__}.")
    try:
        stored: Mapping[str, Any] = normalise(dict(meta))
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"meta cannot be stored as JSON: {error}") from error
    return stored


def enqueue(given: Iterable[Given]) -> list[Job]:
    """Add a job for each declaration and its arguments; return them in the same order.

    Nothing is added where one of them is invalid. A job that `unique` finds unfinished is
    returned in place of another, with `was_duplicate` true.
    """
    jobs, entries = _prepare(given)
    stored = queue_enqueue.insert(jobs, entries=entries, using=database_alias())
    signals.announce(signals.job_enqueued, [job for job in stored if not job.was_duplicate])
    return stored


def enqueue_on_commit(
    declaration: Declaration[Any, Any], arguments: Mapping[str, Any], options: Options
) -> None:
    """Validate now, and add the job when the transaction of `options.on_commit` commits."""
    prepare(declaration, arguments, options)
    transaction.on_commit(
        partial(enqueue, [(declaration, dict(arguments), options)]),
        using=options.on_commit or "default",
    )


def prepare(
    declaration: Declaration[Any, Any], arguments: Mapping[str, Any], options: Options
) -> Job:
    """Return the job for these arguments, valid and not stored."""
    (job,), _entries = _prepare([(declaration, arguments, options)])
    return job


def _prepare(given: Iterable[Given]) -> tuple[list[Job], list[Sequence[JobLog]]]:
    """Return the jobs for the arguments, valid and not stored, and their first log entries."""
    now = timezone.now()
    jobs: list[Job] = []
    entries: list[Sequence[JobLog]] = []
    declared = chosen = common = None
    for declaration, arguments, options in given:
        # What jobs in a row have in common is made once.
        if common is None or declaration is not declared or options is not chosen:
            declared, chosen = declaration, options
            common = _common(declaration, options, now)
        jobs.append(_job(declaration, arguments, common))
        entries.append([*map(_log_entry, options.log)] if options.log else ())
    _check_sizes(jobs)
    return jobs, entries


def _common(declaration: Declaration[Any, Any], options: Options, now: datetime) -> Job:
    """Return a job without an input and what is computed of it."""
    return new(
        Job,
        {
            "slug": declaration.slug,
            "kind": declaration.kind,
            "queue": options.queue or declaration.queue,
            "priority": declaration.priority if options.priority is None else options.priority,
            "meta": options.meta or {},
            "wait_until": options.wait_until,
            "created_at": now,
            "updated_at": now,
            "retries": _stored_retries(declaration, options.retries),
            "parent_id": options.parent and options.parent.pk,
        },
    )


def _job(declaration: Declaration[Any, Any], arguments: Mapping[str, Any], common: Job) -> Job:
    stored = declaration.input_schema.validate(dict(arguments))
    key = _unique_key(declaration, stored)
    job = another(common, {"input": stored, "meta": dict(common.meta), "unique_key": key})
    if declaration.concurrency is not None:
        job.concurrency_key = declaration.concurrency.compute(
            stored, job.queue, where=f"The {declaration.kind} {declaration.slug!r}"
        )
        if job.concurrency_key is not None and declaration.concurrency.exclusive:
            job.concurrency_limit = declaration.concurrency.limit
        job.supersedes = declaration.concurrency.supersedes
    return job


def _check_sizes(jobs: Sequence[Job]) -> None:
    limit = conf.get().MAX_INPUT_BYTES
    # Together they are mostly small enough, and to encode them together is cheaper.
    if _size([job.input for job in jobs]) <= limit:
        return
    for job in jobs:
        size = _size(job.input)
        if size > limit:
            raise InvalidInputError(
                f"The input of {job.slug!r} has {size} bytes, more than the {limit} that "
                "DJANGO_JOBS['MAX_INPUT_BYTES'] allows. Store the data elsewhere and pass its key."
            )


def _size(value: Any) -> int:
    return len(encode(value).encode())


def _unique_key(declaration: Declaration[Any, Any], stored: dict[str, Any]) -> str | None:
    """Return the digest of the slug and the key, so that tasks do not share keys by chance."""
    unique = declaration.unique
    if unique is None or unique is False:
        return None
    key = _canonical(stored) if unique is True else _called(unique, declaration, stored)
    if key is None:
        return None
    named = f"{declaration.slug}\x00{key}"
    return hashlib.sha256(named.encode(errors="surrogatepass")).hexdigest()


def _canonical(stored: dict[str, Any]) -> str:
    return json.dumps(stored, sort_keys=True)


def _called(unique: Any, declaration: Declaration[Any, Any], stored: dict[str, Any]) -> str | None:
    try:
        key = unique(stored)
    except Exception as error:
        raise InvalidInputError(
            f"The unique= of {declaration.slug!r} raised {type(error).__name__}."
        ) from error
    if key is not None and not isinstance(key, str):
        raise InvalidInputError(
            f"The unique= of {declaration.slug!r} returned {type(key).__name__}, "
            "not a string or None."
        )
    return key


def _stored_retries(
    declaration: Declaration[Any, Any], retries: Retry | None
) -> dict[str, Any] | None:
    if retries is None:
        return None
    try:
        return retries.to_json()
    except ValueError as error:
        raise ValueError(f"The retries given to {declaration.slug!r}: {error}") from error


def _log_entry(entry: Any) -> JobLog:
    """Return the message entry for one item of `log=`."""
    given = {"message": entry} if isinstance(entry, str) else entry
    if not isinstance(given, Mapping) or not isinstance(given.get("message"), str):
        raise InvalidInputError('log takes strings or dicts with a "message" and "data".')
    try:
        message, data = normalise([given["message"], given.get("data")])
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"An entry of log cannot be stored: {error}") from error
    return JobLog(state=LogState.MESSAGE, message=message, data=data)
