"""`manage.py runjobs` as a process: what its flags do."""

from __future__ import annotations

import signal
import time
from datetime import timedelta
from itertools import pairwise

import pytest
from django.utils import timezone

from django_jobs import jobs
from django_jobs.models import Job, JobStatus, Worker
from tests.conftest import RunJobs
from tests.kill.support import wait_until_finished
from tests.testapp.journal import Journal, until
from tests.testapp.tasks import ahold, hold, nap, note, parent_of_two


def left(*statuses: JobStatus) -> int:
    return Job.objects.filter(status__in=statuses or [JobStatus.READY]).count()


def test_once_runs_what_is_due_and_exits(runjobs: RunJobs, journal: Journal) -> None:
    due = [note.enqueue(f"due-{number}") for number in range(25)]
    later = note.using(wait_until=timezone.now() + timedelta(hours=1)).enqueue("later")
    worker = runjobs("--once")
    assert worker.wait() == 0
    assert "Stopped. 25 jobs were run." in worker.output
    for job in wait_until_finished(due):
        assert job.status == JobStatus.SUCCESSFUL
    later.refresh_from_db()
    assert later.status == JobStatus.READY
    assert not Worker.objects.exists()


def test_once_exits_where_nothing_is_due(runjobs: RunJobs) -> None:
    assert runjobs("--once").wait() == 0


def test_until_empty_waits_for_retries_and_for_children(runjobs: RunJobs, journal: Journal) -> None:
    failing = jobs.enqueue("fail-first", {"times": 2})
    parent = parent_of_two.enqueue("family")
    journal.open("family")
    assert runjobs("--until-empty", "--poll-interval=0.1").wait() == 0
    failing.refresh_from_db()
    assert (failing.status, failing.total_tried) == (JobStatus.SUCCESSFUL, 3)
    parent.refresh_from_db()
    assert parent.status == JobStatus.SUCCESSFUL


def test_until_empty_waits_neither_for_a_paused_queue_nor_for_jobs_that_wait(
    runjobs: RunJobs, journal: Journal
) -> None:
    jobs.pause_queue("paused")
    note.using(queue="paused").enqueue("held")
    asleep = nap.enqueue("asleep", 3600)
    assert runjobs("--until-empty", "--all-queues", "--poll-interval=0.1").wait() == 0
    asleep.refresh_from_db()
    assert asleep.status == JobStatus.WAITING
    # So it is with one that has failed before.
    Job.objects.filter(pk=asleep.pk).update(total_tried=1)
    assert runjobs("--until-empty", "--all-queues", "--poll-interval=0.1").wait() == 0
    assert journal.lines("note") == []


def test_until_empty_waits_for_what_other_workers_run(runjobs: RunJobs, journal: Journal) -> None:
    runjobs()
    hold.enqueue("long")
    journal.wait_for("start", "long")
    waiting = runjobs("--until-empty", "--poll-interval=0.1")
    note.enqueue("short")
    journal.wait_for("note", "short")
    assert waiting.popen.poll() is None
    journal.open("long")
    assert waiting.wait() == 0


def test_failed_jobs_do_not_change_the_exit_status(runjobs: RunJobs) -> None:
    job = jobs.enqueue("raise-base", {"kind": "BaseException"})
    assert runjobs("--once").wait() == 0
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED


def test_max_jobs_is_not_exceeded(runjobs: RunJobs, journal: Journal) -> None:
    for number in range(10):
        note.enqueue(str(number))
    assert runjobs("--max-jobs=3").wait() == 0
    assert len(journal.lines("note")) == 3
    assert left() == 7


def test_sequential_runs_one_job_after_the_other(runjobs: RunJobs, journal: Journal) -> None:
    for name in "abcd":
        journal.open(name)
        hold.enqueue(name)
    assert runjobs("--sequential", "--once").wait() == 0
    words = [line.words for line in journal.lines()]
    assert words == [(word, name) for name in "abcd" for word in ("start", "end")]


def test_limit_bounds_what_is_claimed_at_once(runjobs: RunJobs, journal: Journal) -> None:
    for name in "abc":
        hold.enqueue(name)
    runjobs("--limit=1", "--concurrency=2", "--poll-interval=0.1")
    journal.wait_for("start", count=2)
    assert left(JobStatus.RUNNING) == 2
    for name in "abc":
        journal.open(name)
    journal.wait_for("end", count=3)


def test_concurrency_bounds_how_many_jobs_run_at_once(runjobs: RunJobs, journal: Journal) -> None:
    for number in range(5):
        hold.enqueue(str(number))
    runjobs("--concurrency=3", "--poll-interval=0.1")
    journal.wait_for("start", count=3)
    # The next begins when one of them ends, and not before.
    for number in range(5):
        journal.open(str(number))
    journal.wait_for("end", count=5)
    at_once = 0
    for line in journal.lines():
        at_once += 1 if line.words[0] == "start" else -1
        assert at_once <= 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {"default"}),
        (["--queue=a"], {"a"}),
        (["--queue=a", "--queue=b"], {"a", "b"}),
        (["--queue=a,b", "--queue", "b, c"], {"a", "b", "c"}),
        (["--all-queues"], {"default", "a", "b", "c"}),
    ],
)
def test_jobs_are_taken_from_the_queues_that_are_named(
    runjobs: RunJobs, journal: Journal, arguments: list[str], expected: set[str]
) -> None:
    for queue in ("default", "a", "b", "c"):
        note.using(queue=queue).enqueue(queue)
    assert runjobs("--once", *arguments).wait() == 0
    assert {line.words[1] for line in journal.lines("note")} == expected


def test_a_queue_that_nothing_was_put_on_is_warned_of(runjobs: RunJobs) -> None:
    note.using(queue="media").enqueue("a")
    worker = runjobs("--once", "--queue=meda,media")
    worker.wait()
    assert "Nothing has been put on the queue 'meda' so far." in worker.output
    assert "'media'" not in worker.output


def test_cron_works_at_its_ticks_only(runjobs: RunJobs, journal: Journal) -> None:
    worker = runjobs("--cron", "*/2 * * * * *")
    worker.wait_for("Working on")
    for number in range(3):
        job = note.enqueue(str(number))
        journal.wait_for("note", number)
        wait_until_finished([job])
        # What is enqueued during a pass may still be run in it.
        time.sleep(0.3)
    moments = [line.moment / 10**9 for line in journal.lines("note")]
    assert all(late - early > 1.4 for early, late in pairwise(moments))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_tick_of_cron_runs_no_more_jobs_than_the_limit(
    runjobs: RunJobs, journal: Journal
) -> None:
    jobs = [note.enqueue(str(number)) for number in range(3)]
    worker = runjobs("--cron", "*/2 * * * * *", "--limit", "2")
    journal.wait_for("note", 2)
    wait_until_finished(jobs)
    moments = sorted(line.moment / 10**9 for line in journal.lines("note"))
    assert moments[1] - moments[0] < 1 < moments[2] - moments[1]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_worker_is_known_by_its_row_while_it_lives(runjobs: RunJobs, journal: Journal) -> None:
    worker = runjobs("--queue=a,b")
    row = until(Worker.objects.first)
    assert (row.pid, row.queues) == (worker.pid, ["a", "b"])
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert not Worker.objects.exists()


def test_a_delayed_job_is_run_when_its_time_has_come(runjobs: RunJobs, journal: Journal) -> None:
    """However seldom the worker polls, and although nobody notifies of it."""
    runjobs("--poll-interval=60")
    nap.enqueue("nap", 1.0)
    before, after = journal.wait_for("before", "nap"), journal.wait_for("after", "nap")
    assert 0.9 < (after.moment - before.moment) / 10**9 < 3


def test_a_paused_queue_is_left_alone(runjobs: RunJobs, journal: Journal) -> None:
    note.enqueue("held")
    note.using(queue="open").enqueue("free")
    jobs.pause_queue("default")
    assert runjobs("--once", "--all-queues").wait() == 0
    assert [line.words[1] for line in journal.lines("note")] == ["free"]


def test_no_more_coroutines_run_at_once_than_may_beside_short_jobs(
    runjobs: RunJobs, journal: Journal
) -> None:
    short = note.using(priority=1).enqueue_many([{"name": "short"} for _number in range(400)])
    long = ahold.enqueue_many([{"name": "gate"} for _number in range(6)])
    runjobs("--concurrency=2")
    journal.wait_for("note", "short", count=400)
    journal.wait_for("start", "gate", count=2)
    # Short jobs are claimed ahead, many at once; coroutines that come with them must wait.
    wait_until_finished(short)
    assert len(journal.lines("start", "gate")) == 2
    journal.open("gate")
    wait_until_finished(long)
