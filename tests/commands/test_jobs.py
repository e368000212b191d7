"""`manage.py jobs`: operate from the terminal."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from django_jobs import JobContext, jobs, task, workflow
from django_jobs.models import Job, JobStatus, Queue, Throughput
from django_jobs.queue import backlog
from tests.worker.support import run

pytestmark = pytest.mark.django_db


def manage(*arguments: str) -> list[str]:
    """Return the lines that `manage.py jobs` prints."""
    output = StringIO()
    call_command("jobs", *arguments, stdout=output)
    return output.getvalue().splitlines()


def ping_task(**options: Any) -> Any:
    @task(slug="ping", **options)
    def ping(secret: str = "", fail: bool = False) -> str:
        if fail:
            raise ValueError("no answer")
        return "pong"

    return ping


def ids(lines: list[str]) -> list[int]:
    return [int(line.split()[0]) for line in lines]


def test_list_shows_the_newest_jobs_first() -> None:
    added = [ping_task().enqueue()]
    added.append(jobs.enqueue("ping", queue="media"))
    lines = manage("list")
    assert ids(lines) == [job.pk for job in reversed(added)]
    assert lines[0].split()[1:3] == ["no-worker", "media"]
    assert lines[0].endswith("ping")


def test_list_is_narrowed_by_status_queue_and_slug_and_bounded() -> None:
    ping = ping_task()

    @task(slug="other")
    def other() -> None:
        pass

    first, media, third = ping.enqueue(), ping.using(queue="media").enqueue(), other.enqueue()
    run(first)
    assert ids(manage("list", "--status=successful")) == [first.pk]
    assert ids(manage("list", "--queue=media")) == [media.pk]
    assert ids(manage("list", "--slug=other")) == [third.pk]
    assert ids(manage("list", "--limit=1")) == [third.pk]
    assert manage("list", "--slug=none") == []


def test_show_prints_the_job_and_its_log() -> None:
    @workflow(slug="flow")
    def flow(ctx: JobContext) -> str:
        ctx.log("on my way")
        ctx.inline("step", lambda: 1)
        raise ValueError("lost")

    job = flow.enqueue()
    run(job)
    text = "\n".join(manage("show", str(job.pk)))
    for fact in (f"id               {job.pk}", "status           failed", "on my way"):
        assert fact in text
    assert "inline step  succeeded" in text
    assert "error            ValueError: lost" in text


def test_show_says_why_a_job_does_not_run() -> None:
    job = ping_task().enqueue()
    jobs.pause_queue("default")
    lines = manage("show", str(job.pk))
    assert "state            queue paused" in lines
    assert any(line.startswith("why              The queue “default” has been") for line in lines)


@override_settings(DJANGO_JOBS={"REDACT": ["secret"]})
def test_show_hides_what_is_to_be_redacted() -> None:
    job = ping_task().enqueue(secret="hunter2")
    text = "\n".join(manage("show", str(job.pk)))
    assert "hunter2" not in text
    assert "•••" in text


def test_stats_tell_what_each_queue_has_to_do_and_did() -> None:
    ping = ping_task()
    ping.enqueue_many([{}, {}])
    ping.using(queue="media", wait_until=timezone.now() + timedelta(hours=1)).enqueue()
    now = timezone.now()
    Throughput.objects.create(queue="default", minute=now, succeeded=7)
    Throughput.objects.create(queue="mail", minute=now, retried=1)
    Throughput.objects.create(queue="media", minute=now - timedelta(hours=2), failed=3)
    assert manage("stats") == [
        "default: 2 ready, 7 succeeded", "mail: nothing", "media: 1 delayed, 3 failed",
    ]  # fmt: skip


def test_stats_do_not_count_without_end(
    monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    monkeypatch.setattr(backlog, "MOST_COUNTED", 3)
    ping_task().enqueue_many([{}] * 5)
    with django_assert_max_num_queries(7):
        assert manage("stats") == ["default: 3+ ready"]


def test_retry_makes_failed_jobs_ready_again() -> None:
    ping = ping_task()
    failed, ready = ping.enqueue(fail=True), ping.enqueue()
    run(failed)
    assert manage("retry", str(failed.pk), str(ready.pk)) == [
        f"Job {failed.pk} is ready again.",
        f"Job {ready.pk} is neither failed nor cancelled.",
    ]
    failed.refresh_from_db()
    assert failed.status == JobStatus.READY


def test_retry_says_when_a_twin_is_unfinished() -> None:
    ping = ping_task(unique=lambda input: "key")
    failed = ping.enqueue(fail=True)
    run(failed)
    ping.enqueue()
    with pytest.raises(CommandError, match=rf"Job {failed.pk}: .*unique key"):
        manage("retry", str(failed.pk))


def test_cancel_cancels_what_is_not_finished() -> None:
    ping = ping_task()
    ready, done = ping.enqueue(), ping.enqueue()
    run(done)
    assert manage("cancel", str(ready.pk), str(done.pk)) == [
        f"Job {ready.pk} is cancelled.",
        f"Job {done.pk} was finished.",
    ]
    ready.refresh_from_db()
    assert ready.status == JobStatus.CANCELLED


def test_run_now_puts_a_job_first() -> None:
    ping = ping_task()
    later, done = (
        ping.using(wait_until=timezone.now() + timedelta(days=1)).enqueue(),
        ping.enqueue(),
    )
    run(done)
    assert manage("run-now", str(later.pk), str(done.pk)) == [
        f"Job {later.pk} is next.",
        f"Job {done.pk} does not wait to run.",
    ]
    assert run(later) == "success"


def test_pause_and_resume_say_what_they_did() -> None:
    assert manage("pause", "media") == ["media is paused."]
    assert manage("pause", "media") == ["media was paused already."]
    assert Queue.objects.get(name="media").paused
    assert manage("resume", "media") == ["media is resumed."]
    assert manage("resume", "media") == ["media was not paused."]


@pytest.mark.parametrize("verb", ["show", "retry", "cancel", "run-now"])
def test_a_job_that_does_not_exist_is_named(verb: str) -> None:
    with pytest.raises(CommandError, match="There is no job 4711"):
        manage(verb, "4711")


@pytest.mark.parametrize(
    "arguments", [[], ["explode"], ["show"], ["show", "one"], ["list", "--status=lost"], ["pause"]]
)
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        manage(*arguments)
    assert not Job.objects.exists()
