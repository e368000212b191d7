from __future__ import annotations

import json
import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from django.db import connection

from tests.databases import url_of
from tests.example.conftest import Example

# An idle worker asks every five seconds.
SMALL = ("--jobs", "20", "--rounds", "1", "--idle-seconds", "6")
FIGURES = {
    "enqueue-one": {"jobs/s", "p50 ms", "p99 ms"},
    "enqueue-many": {"jobs/s"},
    "drain-1": {"jobs/s"},
    "drain-2": {"jobs/s"},
    "drain-beside-others": {"jobs/s"},
    "drain-beside-a-line": {"jobs/s"},
    "pick-up": {"p50 ms", "p95 ms"},
    "steps": {"steps/s"},
    "idle": {"CPU s in 20 s", "resident MB"},
    "memory": {"resident MB after 1", "resident MB after 200"},
}
pytestmark = [pytest.mark.timeout(400), pytest.mark.only_on("sqlite", "postgresql")]


def benchmark(example: Example, *args: str) -> dict:
    file = example.var / "results.json"
    process = example.start("benchmark", *SMALL, "--json", str(file), *args)
    assert process.wait(timeout=300) == 0, process.output
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def measured(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Example, dict]]:
    """An example on the database of this run of the suite, and what was measured there."""
    example = Example(tmp_path_factory.mktemp("benchmark"))
    if connection.vendor != "sqlite":
        example.env["DATABASE_URL"] = url_of(connection.settings_dict)
    try:
        yield example, benchmark(example)
    finally:
        example.started[-1].stop()


@pytest.mark.parametrize("scenario", FIGURES)
def test_every_scenario_has_its_figures(measured: tuple[Example, dict], scenario: str) -> None:
    (figures,) = measured[1]["scenarios"][scenario]["rounds"]
    counted = (
        {"transactions/s"} if (scenario, connection.vendor) == ("idle", "postgresql") else set()
    )

    assert figures.keys() == FIGURES[scenario] | counted
    assert all(value > 0 for name, value in figures.items() if "/s" in name or "MB" in name)


def test_the_results_name_the_machine_and_the_versions(measured: tuple[Example, dict]) -> None:
    assert measured[1]["machine"]["cores"] == os.cpu_count()
    assert connection.display_name in measured[1]["versions"]
    assert measured[1]["sizes"] == {"jobs": 20, "idle_seconds": 6}


@pytest.mark.django_db
def test_the_database_of_the_benchmark_is_dropped(measured: tuple[Example, dict]) -> None:
    if connection.vendor == "sqlite":
        assert not list(measured[0].var.glob("benchmark.sqlite3*"))
    else:
        name = urlsplit(measured[0].env["DATABASE_URL"]).path.lstrip("/")
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            databases = {row[0] for row in cursor.fetchall()}
        assert name in databases
        assert f"benchmark_{name}" not in databases


@pytest.mark.only_on("sqlite")
def test_the_jobs_of_the_project_are_left_alone(example: Example) -> None:
    example.demo("--jobs", "12")
    benchmark(example, "--only", "drain-1")

    assert example.number("select count(*) from django_jobs_job") == 12


@pytest.mark.only_on("sqlite")
def test_one_scenario_is_printed_as_markdown(example: Example) -> None:
    measured = benchmark(example, "--only", "enqueue-many", "--markdown")

    assert list(measured["scenarios"]) == ["enqueue-many"]
    assert "| Enqueue 1,000 in a call | jobs/s |" in example.started[-1].output
