from __future__ import annotations

import re

import pytest

from tests.example.conftest import Example


@pytest.mark.timeout(400)
@pytest.mark.only_on("sqlite")
def test_the_admin_shows_the_jobs_of_two_weeks_that_have_never_run(example: Example):
    for command in (["migrate", "-v0"], ["fill", "--jobs", "11000"]):
        process = example.start(*command)
        assert process.wait(timeout=120) == 0, process.output
    jobs = dict(example.rows("select status, count(*) from django_jobs_job group by status"))
    assert sum(jobs.values()) == 11_000
    assert set(jobs) == {"ready", "running", "waiting", "successful", "failed", "cancelled"}

    process = example.start("measure_admin", "--rounds", "1")
    assert process.wait(timeout=240) == 0, process.output
    assert re.search(r"ms .* queries  list\n", process.output)
    assert "job, failed" in process.output
    assert "(status" not in process.output
