from __future__ import annotations

import logging
import re
import signal
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from django_jobs import Schedule, SkipSchedule
from django_jobs.models import Job, JobSchedule
from tests.conftest import RunJobs
from tests.processes import Process
from tests.schedules.conftest import Clock
from tests.schedules.support import declare_and_plan
from tests.testapp.journal import until

Start = Callable[..., Process]


def handle(*args: str) -> tuple[str, str]:
    output, errors = StringIO(), StringIO()
    call_command("handle_schedules", *args, stdout=output, stderr=errors)
    return output.getvalue(), errors.getvalue()


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Undo what the command does to the log of its process."""
    logger = logging.getLogger("django_jobs")
    before = list(logger.handlers), logger.propagate, logger.level
    yield
    logger.handlers, logger.propagate, logger.level = before


@pytest.mark.django_db
def test_the_command_says_what_it_did(clock: Clock) -> None:
    declare_and_plan("*/5 * * * *", slug="a")
    declare_and_plan(
        Schedule("*/5 * * * *", before_schedule=lambda context: SkipSchedule("No.")), slug="b"
    )
    JobSchedule.objects.create(slug="a", cron="bad", queue="other")
    _output, errors = handle("--queue", "other")
    assert errors.startswith("Failed a: The cron expression 'bad' must have 5 fields")
    clock.forward(minutes=5)
    output, errors = handle()
    assert re.fullmatch(r"Enqueued job \d+ a\.\nSkipped b: No\.\n", output)
    assert errors == ""


@pytest.mark.django_db
def test_the_command_handles_one_queue_or_all(clock: Clock) -> None:
    declare_and_plan("*/5 * * * *", slug="a", queue="media")
    declare_and_plan("*/5 * * * *", slug="b")
    clock.forward(minutes=5)
    assert handle("--queue", "nothing") == ("", "")
    assert handle("--queue", "media")[0].endswith(" a.\n")
    assert handle("--all-queues")[0].endswith(" b.\n")


@pytest.mark.parametrize(
    "args", [("--queue", "a", "--all-queues"), ("--cron", "61 * * * *"), ("--cron", "")]
)
def test_what_does_not_go_is_refused(args: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        handle(*args)


@pytest.fixture
def start(worker_env: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    started: list[Process] = []

    def start(*args: str) -> Process:
        process = Process(*args, env=worker_env, output=tmp_path / "output")
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()


@pytest.mark.django_db(transaction=True)
def test_the_command_goes_on_at_the_ticks_of_cron_until_sigterm(start: Start) -> None:
    JobSchedule.objects.create(slug="note", cron="* * * * * *", input={"name": "a"})
    process = start("handle_schedules", "--cron", "* * * * * *")
    process.wait_for(r"Enqueued job \d+ note\.")
    Job.objects.update(status=Job.Status.SUCCESSFUL)
    process.wait_for(r"(?s)Enqueued job.*Enqueued job \d+ note\.")
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0


@pytest.mark.only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_the_command_survives_the_loss_of_its_connection(start: Start) -> None:
    JobSchedule.objects.create(slug="note", cron="* * * * * *", input={"name": "a"})
    process = start("handle_schedules", "--cron", "* * * * * *")
    process.wait_for(r"Enqueued job \d+ note\.")
    Job.objects.update(status=Job.Status.SUCCESSFUL)
    end_other_connections()
    process.wait_for(
        r"(?s)The database does not answer, the scheduler waits.*(Enqueued job|Skipped note)"
    )
    process.wait_for("The database answers again, the scheduler goes on")
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0


def end_other_connections() -> None:
    """Have the server close the connections of all others to this database."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return
        cursor.execute(
            "SELECT id FROM information_schema.processlist "
            "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        for (number,) in cursor.fetchall():
            cursor.execute(f"KILL {number}")


@pytest.mark.django_db(transaction=True)
def test_runjobs_handles_schedules_by_default(runjobs: RunJobs) -> None:
    JobSchedule.objects.create(slug="note", cron="* * * * * *", input={"name": "a"})
    JobSchedule.objects.create(slug="note", cron="* * * * * *", queue="other", input={"name": "b"})
    process = runjobs()
    until(
        lambda: Job.objects.filter(
            queue="default", meta__scheduled=True, status=Job.Status.SUCCESSFUL
        ).exists()
    )
    # It runs one queue, and enqueues for all of them.
    until(lambda: Job.objects.filter(queue="other", meta__scheduled=True).exists())
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0


@pytest.mark.django_db(transaction=True)
def test_runjobs_leaves_schedules_alone_where_it_is_told_to(runjobs: RunJobs) -> None:
    due = timezone.now().replace(microsecond=0)
    JobSchedule.objects.create(
        slug="note", cron="0 0 1 1 *", input={"name": "a"},
        next_run_at=due, planned_with="0 0 1 1 *|UTC",
    )  # fmt: skip
    assert runjobs("--once", "--no-schedules").wait() == 0
    assert row_is_untouched(due)
    assert runjobs("--once").wait() == 0
    assert not row_is_untouched(due)
    assert Job.objects.get().status == Job.Status.SUCCESSFUL


def row_is_untouched(due: object) -> bool:
    return JobSchedule.objects.get(slug="note").next_run_at == due


@pytest.mark.django_db(transaction=True)
def test_a_schedule_that_nobody_can_see_to_does_not_keep_a_worker_busy(runjobs: RunJobs) -> None:
    """Its task is gone, and its time is long past."""
    JobSchedule.objects.create(
        slug="gone", cron="* * * * *", next_run_at=timezone.now(), planned_with="* * * * *|UTC"
    )
    process = runjobs("--poll-interval", "30")
    process.wait_for("Working on")
    until(lambda: _cpu_ticks(process.pid) > 0)
    before, began = _cpu_ticks(process.pid), timezone.now()
    until(lambda: (timezone.now() - began).total_seconds() > 2)
    # A busy worker would use most of 200 ticks.
    assert _cpu_ticks(process.pid) - before < 100


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
