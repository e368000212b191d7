"""The jobs that a worker holds, from their claim to the record of what became of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import takewhile

from django_jobs.models import Job
from django_jobs.queue.lifecycle import give_back
from django_jobs.queue.record import Report
from django_jobs.worker.heartbeat import Heartbeat
from django_jobs.worker.recorder import Answer, Recorder


class HeldJobs:
    """May be asked and told from any thread. The heartbeat renews the leases of what is held."""

    def __init__(self, heartbeat: Heartbeat, recorder: Recorder) -> None:
        self.heartbeat = heartbeat
        self.recorder = recorder
        # How many have been run to their end.
        self.run = 0
        self._jobs: dict[int, Job] = {}
        # Since when a job waits for a thread, the oldest first.
        self._unstarted: dict[int, float] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def is_waiting(self) -> bool:
        """Whether one of them waits for a thread."""
        return bool(self._unstarted)

    def add(self, jobs: Sequence[Job]) -> None:
        """Hold jobs that have been claimed."""
        with self._lock:
            self._jobs.update((job.id, job) for job in jobs)
        self.heartbeat.add(jobs)

    def await_threads(self, jobs: Iterable[Job]) -> None:
        with self._lock:
            self._unstarted.update(dict.fromkeys([job.id for job in jobs], time.monotonic()))

    def may_start(self, job: Job) -> bool:
        """Whether the job has not been given back while it waited for a thread."""
        with self._lock:
            self._unstarted.pop(job.id, None)
            return self._jobs.get(job.id) is job

    def finish(self, job: Job) -> None:
        """Let go of a job that has been run to its end, and recorded where that was possible."""
        self.heartbeat.remove(job)
        with self._lock:
            if self._jobs.get(job.id) is job:
                del self._jobs[job.id]
                self.run += 1

    def give_back(self, jobs: Sequence[Job]) -> None:
        """Have jobs that did not start made ready again, as soon as the database answers."""
        with self._lock:
            for job in jobs:
                self._jobs.pop(job.id, None)
        for job in jobs:
            report = Report(job=job, change=give_back())
            self.recorder.submit(report, partial(self._end_lease, job))

    def give_back_unstarted(self, older_than: float = 0.0) -> bool:
        """Give back what has found no thread for so many seconds; return whether any."""
        latest = time.monotonic() - older_than
        with self._lock:
            oldest_first = self._unstarted.items()
            late = [pk for pk, _since in takewhile(lambda it: it[1] <= latest, oldest_first)]
            jobs = [self._jobs[pk] for pk in late]
            for pk in late:
                del self._unstarted[pk]
        self.give_back(jobs)
        return bool(jobs)

    def without(self, pks: Iterable[int]) -> list[Job]:
        """Return those that are held now, but for these."""
        left_out = set(pks)
        with self._lock:
            return [job for pk, job in self._jobs.items() if pk not in left_out]

    def _end_lease(self, job: Job, answer: Answer) -> None:
        self.heartbeat.remove(job)
