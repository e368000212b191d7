"""What does not move although it should, from a bounded number of queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import QuerySet

from django_jobs import conf
from django_jobs.explain import recent
from django_jobs.fields import DatabaseNow
from django_jobs.models import Job, JobSchedule, JobStatus, Worker

# How many running jobs are looked at, those whose lease ends first, and workers.
MOST = 1_000
# How late a schedule may be: workers look every few seconds.
LATE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """The primary keys of what is stuck."""

    # Running jobs whose lease is over.
    leases_over: tuple[int, ...] = ()
    # Running jobs whose worker is silent, or has no row any more.
    without_worker: tuple[int, ...] = ()
    # Running jobs that take far longer than their task usually does.
    slow: tuple[int, ...] = ()
    # Workers that have fallen silent.
    workers: tuple[int, ...] = ()
    # Schedules whose time has passed and that nobody has seen to.
    schedules: tuple[int, ...] = ()

    @property
    def jobs(self) -> frozenset[int]:
        return frozenset((*self.leases_over, *self.without_worker, *self.slow))

    def __bool__(self) -> bool:
        return bool(self.jobs or self.workers or self.schedules)


@dataclass(frozen=True, slots=True)
class _Running:
    pk: int
    slug: str
    started_at: datetime | None
    processing_until: datetime
    worker: int | None
    now: datetime


def find(*, using: str, sample: recent.Recent | None = None) -> Stuck:
    """Find what is stuck; `sample` is what is known of recent jobs, where it is known."""
    running = list(_running(using))
    silent, alive = _workers(using)
    if running and sample is None:
        sample = recent.look(using=using)
    return Stuck(
        leases_over=tuple(job.pk for job in running if job.processing_until <= job.now),
        without_worker=tuple(
            job.pk for job in running if job.worker is not None and job.worker not in alive
        ),
        slow=tuple(job.pk for job in running if sample and _is_slow(job, sample)),
        workers=tuple(silent),
        schedules=tuple(overdue_schedules(using=using).values_list("pk", flat=True)[:MOST]),
    )


def overdue_schedules(*, using: str) -> QuerySet[JobSchedule]:
    schedules: QuerySet[JobSchedule] = JobSchedule.objects.using(using).filter(
        enabled=True, next_run_at__lt=DatabaseNow() - LATE
    )
    return schedules


def _running(using: str) -> Iterator[_Running]:
    rows = Job.objects.using(using).filter(status=JobStatus.RUNNING, processing_until__isnull=False)
    columns = ("pk", "slug", "started_at", "processing_until", "worker", DatabaseNow())
    for row in rows.order_by("processing_until").values_list(*columns)[:MOST]:
        yield _Running(*row)


def _workers(using: str) -> tuple[list[int], set[int]]:
    """Return the silent workers and the living ones."""
    lease = conf.get().LEASE
    rows = Worker.objects.using(using).order_by("-last_heartbeat_at")
    silent, alive = [], set()
    for pk, beat, now in rows.values_list("pk", "last_heartbeat_at", DatabaseNow())[:MOST]:
        if beat < now - lease:
            silent.append(pk)
        else:
            alive.add(pk)
    return silent, alive


def _is_slow(job: _Running, sample: recent.Recent) -> bool:
    usual = sample.longest_usual(job.slug)
    return usual is not None and job.started_at is not None and job.now - job.started_at > usual
