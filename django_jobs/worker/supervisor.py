"""Several worker processes under one: started, watched, replaced."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

logger = logging.getLogger("django_jobs.supervisor")

# A worker that ends with this status asks to be replaced at once; with 0 it has done its work.
REPLACE_ME = 75
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
# A worker that has lived this long is no part of a series of failures.
HEALTHY_SECONDS = 30.0


@dataclass(slots=True)
class Place:
    """One of the processes, whichever fills it now."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    done: bool = False
    # Whether the process has been told to stop.
    told: bool = False


@dataclass(slots=True)
class Supervisor:
    """Keeps `count` processes of one command running, without restarting in a hot loop."""

    command: Sequence[str]
    count: int
    shutdown_seconds: float
    _stopping: threading.Event = field(default_factory=threading.Event)
    _places: list[Place] = field(default_factory=list)

    def stop(self, *, at_once: bool = False) -> None:
        """Pass the signal on: a first lets running jobs end, a second does not."""
        self._stopping.set()
        self._tell(again=at_once)

    def _tell(self, *, again: bool = False) -> None:
        for place in self._places:
            if place.process is not None and (again or not place.told):
                place.told = True
                place.process.terminate()

    def run(self) -> int:
        """Supervise until stopped or all are done; return the status to exit with."""
        self._places = [Place(number) for number in range(1, self.count + 1)]
        while not self._stopping.is_set() and not all(place.done for place in self._places):
            for place in self._places:
                self._look_after(place)
            self._stopping.wait(0.1)
        # One may have been started at the very moment of the signal.
        self._tell()
        self._wait_for_all()
        return 0

    def _look_after(self, place: Place) -> None:
        if place.done:
            return
        if place.process is None:
            if time.monotonic() >= place.start_at:
                self._start(place)
            return
        status = place.process.poll()
        if status is not None:
            place.process = None
            self._ended(place, status)

    def _start(self, place: Place) -> None:
        # A session of its own: CONTROL-C reaches it through the supervisor, once.
        place.process = subprocess.Popen(list(self.command), start_new_session=True)  # noqa: S603
        place.started_at = time.monotonic()
        logger.info("Worker %s is process %s", place.number, place.process.pid)

    def _ended(self, place: Place, status: int) -> None:
        if status == 0:
            place.done = True
            return
        if status == REPLACE_ME:
            place.failures, place.start_at = 0, 0.0
            return
        healthy = time.monotonic() - place.started_at >= HEALTHY_SECONDS
        place.failures = 0 if healthy else place.failures + 1
        pause = min(FIRST_PAUSE * 2 ** max(place.failures - 1, 0), LONGEST_PAUSE)
        place.start_at = time.monotonic() + pause
        logger.error(
            "Worker %s ended with status %s; it is replaced in %.0f s", place.number, status, pause
        )

    def _processes(self) -> list[subprocess.Popen[bytes]]:
        return [place.process for place in self._places if place.process is not None]

    def _wait_for_all(self) -> None:
        """Wait for the workers to end; kill what is there long after its time."""
        ends_at = time.monotonic() + self.shutdown_seconds + 10
        for process in self._processes():
            try:
                process.wait(max(ends_at - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                logger.error("Worker process %s does not stop and is killed", process.pid)
                process.kill()
                process.wait()
