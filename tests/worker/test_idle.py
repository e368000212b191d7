"""What a worker asks of its database while it has nothing to do."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs.models import Job, JobStatus
from django_jobs.models import Worker as WorkerRow
from django_jobs.queue.claim import Outlook, Selection, look
from django_jobs.queue.notify import LONGEST_REST
from django_jobs.worker import identity
from django_jobs.worker.duties import Duties
from django_jobs.worker.worker import SHORTEST_REST, Options, Worker
from tests.queue.support import add, claim_one

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker() -> Worker:
    """A worker that has done what it does at its start, and claims nothing by itself."""
    worker = Worker(Options(), using="default")
    worker.membership.join()
    worker._turn(False)
    return worker


def outlook(worker: Worker) -> Outlook:
    return look(worker._selection(), using="default")


def test_an_idle_worker_asks_one_question_a_turn(worker: Worker) -> None:
    with CaptureQueriesContext(connection) as queries:
        pause = worker._turn(False)
    assert len(queries) == 1, queries.captured_queries
    assert pause is not None
    assert pause > 0


def test_a_look_sees_what_may_be_claimed_from_the_queues_of_the_worker(worker: Worker) -> None:
    add(queue="other")
    assert outlook(worker) == Outlook()
    add()
    assert outlook(worker).is_due
    claim_one()
    assert outlook(worker) == Outlook()


def test_a_look_sees_when_the_next_delayed_job_is_due(worker: Worker) -> None:
    add(wait_until=timezone.now() + timedelta(hours=2))
    add(wait_until=timezone.now() + timedelta(hours=1))
    seen = outlook(worker)
    assert not seen.is_due
    assert 3000 < seen.seconds_to_wake <= 3600
    add(wait_until=timezone.now() - timedelta(seconds=1))
    assert outlook(worker) == Outlook(is_due=True, seconds_to_wake=0)


def test_who_has_no_row_claims_without_looking() -> None:
    selection = Selection(queues=None, lease=timedelta(seconds=60), worker_id=0)
    assert look(selection, using="default").is_due


def test_a_worker_rests_until_the_next_delayed_job_is_due(worker: Worker) -> None:
    add(wait_until=timezone.now() + timedelta(milliseconds=500))
    pause = worker._turn(False)
    assert pause is not None
    assert pause <= 0.5


@pytest.mark.parametrize(("jobs", "goes_on"), [(1, False), (2, True)])
def test_a_worker_that_may_have_left_jobs_goes_on_at_once(
    jobs: int, goes_on: bool, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it leaves the threads alone that begin with what it has claimed."""
    monkeypatch.setattr(worker, "options", Options(limit=2))
    monkeypatch.setattr(worker, "_start", lambda claimed: None)
    for _ in range(jobs):
        add()
    pause = worker._turn(True)
    assert pause is not None
    assert (pause == 0) is goes_on
    assert pause < SHORTEST_REST


def test_a_worker_does_not_get_up_to_read_schedules_anew(worker: Worker) -> None:
    assert worker.duties.seconds_to_next_schedule() > LONGEST_REST


def test_schedules_that_could_not_be_read_are_not_tried_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(**options: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr("django_jobs.worker.schedules.handle_schedules", fail)
    duties = Duties("default")
    duties.perform()
    assert duties.seconds_to_next_schedule() > 0.5


@pytest.mark.skipif(not identity.own().is_certain, reason="Nothing tells of dead processes here")
def test_the_jobs_of_a_dead_neighbour_are_ready_in_the_same_turn() -> None:
    duties = Duties("default")
    duties.perform()
    own, now = identity.own(), timezone.now()
    dead = WorkerRow.objects.create(
        host=own.host, pid=own.pid, boot_id=own.boot_id, pid_namespace=own.pid_namespace,
        process_start="0", started_at=now, last_heartbeat_at=now,
    )  # fmt: skip
    add()
    lost = claim_one()
    Job.objects.filter(pk=lost.pk).update(worker=dead)
    duties.end_leases_of_dead_neighbours()
    duties.perform()
    assert Job.objects.get().status == JobStatus.READY
