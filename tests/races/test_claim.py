from __future__ import annotations

import pytest

from django_jobs import jobs
from django_jobs.models import Job, JobStatus
from tests.races.conftest import Start
from tests.races.program import run_one, run_until_empty
from tests.races.support import Running, at_once
from tests.races.tasks import note
from tests.testapp.models import Entry

pytestmark = pytest.mark.django_db(transaction=True)


def test_ten_threads_that_run_one_job_at_once_run_it_once() -> None:
    note.enqueue(name="a")
    assert sum(at_once(*[run_one] * 10)) == 1
    assert Entry.objects.count() == 1
    assert Job.objects.get().total_tried == 1


def test_processes_that_run_one_job_at_once_run_it_once(programs: Start) -> None:
    note.enqueue(name="a")
    running = programs(*[("run_one",)] * 4)
    running.go()
    assert sum(running.results()) == 1
    assert Entry.objects.count() == 1


def test_ten_threads_that_run_ten_jobs_at_once_run_each_once() -> None:
    note.enqueue_many([{"name": str(number)} for number in range(10)])
    at_once(*[lambda: jobs.run(limit=1)] * 10)
    while not jobs.run().no_jobs_remaining:
        pass
    assert sorted(Entry.objects.values_list("name", flat=True)) == [str(n) for n in range(10)]


def test_threads_and_processes_share_jobs_without_losing_or_repeating_one(
    programs: Start,
) -> None:
    added = note.enqueue_many([{"name": f"{number}"} for number in range(120)])
    running = programs(*[("run_until_empty", 5)] * 2)
    running.go()
    threads = [Running(lambda: run_until_empty(5)) for _ in range(2)]
    ran = [thread.result() for thread in threads] + running.results()
    assert sum(ran) == 120
    assert len(set(Entry.objects.values_list("name", flat=True))) == Entry.objects.count() == 120
    stored = Job.objects.filter(pk__in=[job.pk for job in added])
    assert stored.filter(status=JobStatus.SUCCESSFUL, total_tried=1).count() == 120


def test_a_job_is_either_cancelled_or_run() -> None:
    for _ in range(5):
        job = note.enqueue(name="a")
        ran, cancelled = at_once(lambda: len(jobs.run().job_status), job.cancel)
        job.refresh_from_db()
        assert job.is_finished
        if job.status == JobStatus.CANCELLED:
            assert cancelled
        else:
            assert (ran, job.status) == (1, JobStatus.SUCCESSFUL)
        assert job.processing_token is None
