"""Jobs as a busy site would have them after some weeks, written without being run."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

from django_jobs.models import Job, Worker
from django_jobs.models.vocabulary import Gate, JobKind, JobStatus
from django_jobs.queue.failures import group_of

LEASE = timedelta(minutes=5)

# Slug, kind, queue, and how often it is queued.
TASKS = [
    ("sync-media", JobKind.TASK, "media", 60),
    ("onboard-user", JobKind.WORKFLOW, "default", 25),
    ("import-products", JobKind.WORKFLOW, "default", 14),
    ("send-newsletter", JobKind.TASK, "mail", 1),
]
# What of each million is not successful.
SHARES = {"failed": 10_000, "cancelled": 10_000}
# How the last thousands stand that are not finished.
UNFINISHED = {
    "ready": 5_000, "delayed": 5_000, "held": 500, "waiting": 50, "running": 20, "stuck": 3,
}  # fmt: skip

ERRORS = [
    ("ConnectionRefusedError", "The mail server mx{}.example refuses connections."),
    ("TimeoutError", "No answer from the supplier after {} s."),
    ("OSError", "[Errno 28] No space left on device: '/media/{}.jpg'"),
    ("KeyError", "'colour_{}'"),
    ("ValueError", "Line {}: the price is not a number."),
    ("PermissionError", "The token of tenant {} has expired."),
    ("UnicodeDecodeError", "'utf-8' codec can't decode byte 0xff in position {}"),
    ("IntegrityError", "duplicate key value violates unique constraint: ({})"),
    ("TaskTimeoutError", "The attempt took longer than {} s."),
    ("WorkerLostError", "The job has lost its worker {} times."),
    ("MemoryError", "{} bytes"),
    ("HTTPError", "503 Service Unavailable, request {}"),
]


class Past:
    """The same jobs for the same number, whenever it is asked; only the times follow `now`."""

    def __init__(self, total: int, now: datetime, worker: Worker) -> None:
        self.now = now
        self.worker = worker
        self.random = random.Random(total)
        scale = min(1.0, total / 100_000)
        self.kinds = [k for k, n in UNFINISHED.items() for _ in range(max(1, int(n * scale)))]
        self.random.shuffle(self.kinds)

    def finished(self, number: int, begin: datetime, span: timedelta) -> Iterator[Job]:
        """Yield so many jobs, the oldest first, that were queued in this time."""
        for count in range(number):
            job = self._queued(begin + span * (count / number))
            self._finish(job)
            yield job

    def unfinished(self, span: timedelta) -> Iterator[Job]:
        """Yield the jobs that stand differently, the oldest first, queued in the last time."""
        for count, kind in enumerate(self.kinds):
            job = self._queued(self.now - span * (1 - count / len(self.kinds)))
            getattr(self, f"_make_{kind}")(job)
            yield job

    def _queued(self, created: datetime) -> Job:
        weights = [weight for *_, weight in TASKS]
        slug, kind, queue, _ = self.random.choices(TASKS, weights)[0]
        customer = self.random.randrange(5_000)
        return Job(
            slug=slug, kind=kind, queue=queue, created_at=created, updated_at=created,
            input={"customer": customer, "token": "s3cret"},
            concurrency_key=f"customer:{customer}" if customer % 20 == 0 else None,
        )  # fmt: skip

    def _finish(self, job: Job) -> None:
        chance = self.random.randrange(1_000_000)
        job.started_at = job.created_at + timedelta(seconds=self.random.expovariate(1))
        job.completed_at = job.started_at + timedelta(seconds=self.random.expovariate(0.5))
        job.updated_at = job.completed_at
        job.worker = self.worker
        job.total_tried = 1
        if chance < SHARES["failed"]:
            self._fail(job)
        elif chance < SHARES["failed"] + SHARES["cancelled"]:
            job.status = JobStatus.CANCELLED
            job.error = {"name": "JobCancelledError", "message": "", "cancelled": True}
        else:
            job.status = JobStatus.SUCCESSFUL
            job.output = {"written": self.random.randrange(100)}

    def _fail(self, job: Job) -> None:
        name, message = self.random.choice(ERRORS)
        message = message.format(self.random.randrange(10_000))
        job.status = JobStatus.FAILED
        job.total_tried = 4
        job.error = {
            "name": name, "message": message, "cancelled": False,
            "traceback": f"Traceback (most recent call last):\n  …\n{name}: {message}\n",
        }  # fmt: skip
        job.error_group = group_of(job.error)

    def _make_ready(self, job: Job) -> None:
        job.status = JobStatus.READY

    def _make_delayed(self, job: Job) -> None:
        job.wait_until = self.now + timedelta(seconds=self.random.randrange(60, 86_400))

    def _make_held(self, job: Job) -> None:
        job.gate = Gate.HELD
        self._give_key(job, "tenant:7")

    def _make_waiting(self, job: Job) -> None:
        job.status = JobStatus.WAITING
        job.started_at = job.created_at
        job.wait_until = self.now + timedelta(days=2)

    def _make_running(self, job: Job, lease: timedelta = LEASE) -> None:
        job.status = JobStatus.RUNNING
        job.started_at = self.now - timedelta(seconds=self.random.randrange(600))
        job.processing_token = uuid.UUID(int=self.random.getrandbits(128))
        job.processing_until = self.now + lease
        job.worker = self.worker

    def _make_stuck(self, job: Job) -> None:
        self._make_running(job, lease=timedelta(seconds=-40))

    def _give_key(self, job: Job, key: str) -> None:
        job.concurrency_key, job.concurrency_limit = key, 1
