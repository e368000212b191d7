from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.db.utils import ConnectionHandler
from django.test import override_settings

ROOT = Path(__file__).resolve().parent.parent

# What `startproject` writes, and no more.
SETTINGS = """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
INSTALLED_APPS = ["django.contrib.sessions", "django_jobs"]
"""

PROGRAM = """
import sys, django
django.setup()
from datetime import timedelta
from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils import timezone
from django_jobs import jobs, task
from django_jobs.models import Job

TASKS = 30

@task(slug="touch")
def touch(number: int):
    with transaction.atomic():
        visit(f"job-{number}")

def visit(key):
    # As a view does: read, decide, write.
    session = Session.objects.filter(session_key=key).first()
    if session is None:
        session = Session(session_key=key, session_data="", expire_date=timezone.now())
    session.session_data = f"{len(session.session_data)}"
    session.save()

def enqueue():
    for number in range(TASKS):
        touch.enqueue(number=number)

def web():
    for number in range(TASKS):
        with transaction.atomic():
            visit("web")

def run():
    while Job.objects.filter(status="successful").count() < 2 * TASKS:
        jobs.run(limit=20)

print("ready", flush=True)
sys.stdin.readline()
{"enqueue": enqueue, "web": web, "run": run}[sys.argv[1]]()
"""


def start(folder, *args):
    return subprocess.Popen(
        [sys.executable, *args], cwd=folder, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={"DJANGO_SETTINGS_MODULE": "project", "PYTHONPATH": f"{ROOT}:{folder}"},
    )  # fmt: skip


@pytest.mark.only_on("sqlite")
def test_nobody_is_told_that_the_database_is_locked(tmp_path):
    (tmp_path / "project.py").write_text(SETTINGS)
    (tmp_path / "program.py").write_text(PROGRAM)
    migrated = start(tmp_path, "-m", "django", "migrate", "-v0").communicate(timeout=60)
    assert migrated == ("", "")
    # The runners end when the others have done their part.
    roles = ["enqueue", "enqueue", "web", "web", "run", "run"]
    processes = [start(tmp_path, "program.py", role) for role in roles]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n", process.communicate()
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        for role, process in zip(roles, processes, strict=True):
            _output, errors = process.communicate(timeout=60)
            assert process.returncode == 0, f"{role}: {errors}"
            assert "locked" not in errors
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def connect(folder, alias="default", **database):
    handler = ConnectionHandler(
        {
            "default": {"ENGINE": "django.db.backends.dummy"},
            alias: {
                "ENGINE": "django.db.backends.sqlite3", "NAME": folder / "db.sqlite3", **database,
            },
        }
    )  # fmt: skip
    connection = handler[alias]
    connection.ensure_connection()
    return connection


def busy_timeout(connection):
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        return cursor.fetchone()[0]


@pytest.fixture
def connected(django_db_blocker, tmp_path):
    """Connect to a SQLite database configured so."""
    connections = []

    def make(**options):
        connections.append(connect(tmp_path, **options))
        return connections[-1]

    with django_db_blocker.unblock():
        yield make
    for connection in connections:
        # Django does not close one in memory.
        connection.connection.close()


def test_a_stock_database_begins_its_transactions_as_writers_and_waits(connected):
    connection = connected()
    assert connection.transaction_mode == "IMMEDIATE"
    assert busy_timeout(connection) == 30_000


@pytest.mark.parametrize("mode", ["DEFERRED", "EXCLUSIVE", None])
def test_a_transaction_mode_that_the_project_has_chosen_stays(connected, mode):
    connection = connected(OPTIONS={"transaction_mode": mode})
    assert connection.transaction_mode == mode
    assert busy_timeout(connection) == 30_000


def test_a_timeout_that_the_project_has_chosen_stays(connected):
    connection = connected(OPTIONS={"timeout": 2})
    assert busy_timeout(connection) == 2_000
    assert connection.transaction_mode == "IMMEDIATE"


def test_a_database_that_holds_no_jobs_is_left_alone(connected):
    connection = connected(alias="other")
    assert connection.transaction_mode is None
    assert busy_timeout(connection) == 5_000


@override_settings(DJANGO_JOBS={"DATABASE": "other"})
def test_the_database_that_the_setting_names_holds_the_jobs(connected):
    assert connected(alias="other").transaction_mode == "IMMEDIATE"
    assert connected().transaction_mode is None


@override_settings(DJANGO_JOBS={"LEESE": 1})
def test_wrong_settings_keep_nobody_from_connecting(connected):
    assert connected().transaction_mode is None


def test_a_database_in_memory_is_served(connected):
    connection = connected(NAME=":memory:")
    assert connection.transaction_mode == "IMMEDIATE"
    assert busy_timeout(connection) == 5_000
