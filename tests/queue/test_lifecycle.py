from __future__ import annotations

import uuid
from typing import Any

import pytest

from django_jobs.models import FINISHED, UNFINISHED, Job, JobStatus
from django_jobs.queue.lifecycle import MOVES, move, sources
from tests.queue.support import add


def test_every_status_has_its_moves() -> None:
    assert set(MOVES) == set(JobStatus) == {*FINISHED, *UNFINISHED}


def test_a_success_is_never_left() -> None:
    assert not MOVES[JobStatus.SUCCESSFUL]


def test_what_has_finished_can_only_become_ready() -> None:
    assert all(MOVES[status] <= {JobStatus.READY} for status in FINISHED)


@pytest.mark.django_db
@pytest.mark.parametrize("status", JobStatus)
@pytest.mark.parametrize("target", [JobStatus.READY, JobStatus.CANCELLED, JobStatus.WAITING])
def test_only_a_job_that_may_move_is_moved(status: JobStatus, target: JobStatus) -> None:
    job = add()
    unclaimed: dict[str, Any] = {"processing_token": None, "processing_until": None}
    claimed = {"processing_token": uuid.uuid4(), "processing_until": job.created_at}
    Job.objects.update(status=status, **(claimed if status == JobStatus.RUNNING else unclaimed))
    moved = move(Job.objects.all(), target, **unclaimed)
    assert moved == (status in sources(target))
    assert Job.objects.get().status == (target if moved else status)
