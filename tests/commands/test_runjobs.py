"""What `manage.py runjobs` refuses. What it does is in tests/worker/test_process.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.processes import Process


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--concurrency=0"], "it must be at least 1"),
        (["--concurrency=many"], "'many' is no integer"),
        (["--processes=-1"], "it must be at least 1"),
        (["--limit=0"], "it must be at least 1"),
        (["--max-jobs=0"], "it must be at least 1"),
        (["--poll-interval=0"], "it must be more than 0"),
        (["--poll-interval=nan"], "it must be more than 0"),
        (["--poll-interval=soon"], "'soon' is no number of seconds"),
        (["--shutdown-timeout=-5"], "it must be more than 0"),
        (["--cron=every day"], "every day"),
        (["--cron=61 * * * *"], "61"),
        (["--once", "--until-empty"], "--once and --until-empty do not go together"),
        (["--once", "--cron=* * * * *"], "--once and --cron do not go together"),
        (["--queue=a", "--all-queues"], "Give either --queue or --all-queues, not both"),
        (["--queue="], "--queue needs a name"),
        (["--queue=a,,b"], "--queue needs a name"),
        (["--autoreload", "--processes=2"], "--autoreload works with one process"),
        (["--sequential", "--concurrency=3"], "--sequential runs one job after the other"),
        (["--max-memory=10"], "--max-memory 10 is less than the"),
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(
    arguments: list[str], sentence: str
) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("runjobs", *arguments)
    assert sentence in str(refused.value)


def test_wrong_settings_are_refused_before_any_job_is_run(
    worker_env: dict[str, str], tmp_path: Path
) -> None:
    env = {**worker_env, "DJANGO_JOBS": '{"LEASE": "soon"}'}
    worker = Process("runjobs", "--once", env=env, output=tmp_path / "output")
    assert worker.wait() != 0
    assert "django_jobs.E001" in worker.output
