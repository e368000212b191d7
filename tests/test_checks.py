from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import ERROR, WARNING, Tags, run_checks
from django.core.checks.registry import registry as check_registry
from django.core.management import get_commands
from django.test import override_settings

from django_jobs import Schedule, checks, task, workflow

ROOT = Path(__file__).resolve().parent.parent
NOT_CALLABLE = 3


def found(**options):
    return run_checks(tags=[checks.TAG], databases=options.pop("databases", []))


def ids():
    return [message.id for message in found()]


def test_the_projects_own_settings_are_sound():
    assert found() == []


@override_settings(DJANGO_JOBS={"LEASE": "x", "LEESE": 1, "DATABASE": "nowhere"})
def test_wrong_settings_are_errors_each():
    messages = found()
    assert [message.id for message in messages] == [
        "django_jobs.E001", "django_jobs.E001", "django_jobs.E002",
    ]  # fmt: skip
    assert "Did you mean 'LEASE'?" in messages[1].msg
    assert "default" in messages[2].hint
    assert all(message.level == ERROR for message in messages)


@override_settings(DJANGO_JOBS=[1])
def test_a_setting_that_is_no_dict_is_one_error():
    assert ids() == ["django_jobs.E001"]


@pytest.mark.django_db
@override_settings(DJANGO_JOBS={"LEASE": "x", "DATABASE": "nowhere"})
def test_wrong_settings_are_no_traceback_where_the_database_is_checked():
    assert [m.id for m in run_checks(tags=[Tags.database, checks.TAG], databases=["default"])] == [
        "django_jobs.E001", "django_jobs.E002",
    ]  # fmt: skip


@override_settings(USE_TZ=False)
def test_naive_times_are_an_error():
    assert ids() == ["django_jobs.E003"]


@pytest.mark.parametrize(("length", "expected"), [(1, True), (15, True), (16, False)])
def test_a_short_secret_is_a_warning(length, expected):
    with override_settings(DJANGO_JOBS={"CRON_SECRET": "s" * length}):
        messages = found()
    assert [message.id for message in messages] == ["django_jobs.W001"] * expected
    assert all(message.level == WARNING and "sss" not in message.msg for message in messages)


@override_settings(DJANGO_JOBS={"CRON_SECRET": ""})
def test_an_empty_secret_is_a_warning():
    assert ids() == ["django_jobs.W001"]


def test_a_schedule_that_cannot_be_used_is_an_error_naming_task_and_value():
    @task(slug="nightly", schedule=["61 * * * *", Schedule("0 3 * * *", timezone="Mars/Olympus")])
    def nightly(): ...

    @workflow(slug="weekly", schedule="* * *")
    def weekly(ctx): ...

    @task(slug="sound", schedule="@daily")
    def sound(): ...

    messages = found()
    assert [message.id for message in messages] == ["django_jobs.E004"] * 3
    assert "The task 'nightly'" in messages[0].msg
    assert "'61 * * * *'" in messages[0].msg
    assert "'Mars/Olympus'" in messages[1].msg
    assert "The workflow 'weekly'" in messages[2].msg
    assert "has 3" in messages[2].msg


@override_settings(DJANGO_JOBS={"AUTORUN": [{"cron": "nonsense"}, {"cron": "* * * * *"}]})
def test_a_wrong_cron_of_autorun_is_an_error():
    (message,) = found()
    assert message.id == "django_jobs.E004"
    assert "DJANGO_JOBS['AUTORUN']" in message.msg
    assert "'nonsense'" in message.msg


@pytest.mark.parametrize(
    ("settings", "key", "reason"),
    [
        ({"ACCESS": {"run": "nowhere.may"}}, "ACCESS['run']", "ModuleNotFoundError"),
        ({"ACCESS": {"queue": "may"}}, "ACCESS['queue']", "ImportError"),
        ({"SHOULD_AUTORUN": f"{__name__}.NOT_CALLABLE"}, "SHOULD_AUTORUN", "cannot be called"),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error(settings, key, reason):
    with override_settings(DJANGO_JOBS=settings):
        (message,) = found()
    assert message.id == "django_jobs.E005"
    assert key in message.msg
    assert reason in message.msg


@override_settings(DJANGO_JOBS={"ACCESS": {"run": f"{__name__}.found", "retry": found}})
def test_a_path_that_leads_to_a_function_is_fine():
    assert found() == []


def test_a_handler_named_by_its_path_is_not_imported():
    from django_jobs import register_task

    register_task("late", handler="nowhere.at_all")
    assert found() == []


def test_another_runjobs_ahead_of_ours_is_a_warning(tmp_path, settings, monkeypatch):
    commands = tmp_path / "ahead" / "management" / "commands"
    commands.mkdir(parents=True)
    for folder in (commands, commands.parent, commands.parent.parent):
        (folder / "__init__.py").write_text("")
    (commands / "runjobs.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    installed = list(settings.INSTALLED_APPS)
    try:
        settings.INSTALLED_APPS = [*installed, "ahead"]
        get_commands.cache_clear()  # type: ignore[attr-defined]
        assert "django_jobs.W002" not in ids()
        settings.INSTALLED_APPS = ["ahead", *installed]
        get_commands.cache_clear()  # type: ignore[attr-defined]
        (message,) = found()
    finally:
        settings.INSTALLED_APPS = installed
        get_commands.cache_clear()  # type: ignore[attr-defined]
    assert message.id == "django_jobs.W002"
    assert "'ahead'" in message.msg


@pytest.mark.parametrize(
    ("database", "expected"),
    [
        ({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}, ["django_jobs.W003"]),
        ({"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}, []),
        ({}, []),
    ],
)
def test_jobs_in_the_memory_of_a_process_are_a_warning(monkeypatch, database, expected):
    stand_in = SimpleNamespace(DATABASES={"default": database}, USE_TZ=True)
    monkeypatch.setattr(checks, "django_settings", stand_in)
    assert [message.id for message in checks.check_memory()] == expected


def connection_of(version, *, mariadb=True, vendor="mysql"):
    return SimpleNamespace(vendor=vendor, mysql_is_mariadb=mariadb, mysql_version=version)


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (connection_of((10, 5, 20)), ["django_jobs.E007"]),
        (connection_of((10, 6, 0)), []),
        (connection_of((8, 0, 40), mariadb=False), []),
        (connection_of((3, 40), vendor="sqlite"), []),
    ],
)
def test_a_mariadb_that_is_too_old_is_an_error(monkeypatch, connection, expected):
    monkeypatch.setattr(checks, "connections", {"default": connection})
    assert [m.id for m in checks.check_versions(databases=["default"])] == expected
    assert list(checks.check_versions(databases=["other"])) == []
    assert list(checks.check_versions(databases=None)) == []


@pytest.mark.django_db
def test_the_databases_of_the_suite_are_new_enough():
    assert list(checks.check_versions(databases=["default"])) == []


def test_databases_are_asked_only_where_the_command_checks_databases():
    ours: list[Any] = [c for c in check_registry.get_checks() if c.__module__ == checks.__name__]
    asking = [c for c in ours if Tags.database in c.tags]
    assert asking == [checks.check_versions]
    assert all(checks.TAG in check.tags for check in ours)


def test_every_message_has_a_hint_or_says_what_to_do():
    source = Path(checks.__file__).read_text()
    assert source.count("checks.Error(") + source.count("checks.Warning(") == source.count('id="')


PROJECT = """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
INSTALLED_APPS = ["django_jobs"]
"""


def check_of(tmp_path, extra):
    (tmp_path / "project.py").write_text(PROJECT + extra)
    return subprocess.run(
        [sys.executable, "-m", "django", "check"], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={"DJANGO_SETTINGS_MODULE": "project", "PYTHONPATH": f"{ROOT}:{tmp_path}"},
    )  # fmt: skip


def test_a_project_with_wrong_settings_gets_messages_and_no_traceback(tmp_path):
    done = check_of(tmp_path, "DJANGO_JOBS = {'LEESE': 1, 'AUTORUN': [{'cron': 'x'}]}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "(django_jobs.E001)" in done.stderr
    assert "(django_jobs.E004)" in done.stderr


def test_a_task_backend_that_cannot_be_imported_is_an_error(tmp_path):
    # As if neither Django 6.0 nor the package were there.
    (tmp_path / "django_tasks.py").write_text("raise ImportError('django_tasks is away')")
    extra = """
import sys
sys.modules["django.tasks"] = None
import django
django.VERSION = (5, 2, 0, "final", 0)
TASKS = {"default": {"BACKEND": "django_jobs.tasks_backend.JobsBackend"}}
"""
    done = check_of(tmp_path, extra)
    assert "Traceback" not in done.stderr
    assert "(django_jobs.E006)" in done.stderr
    assert "needs Django 6.0 or later, or the package django-tasks" in done.stderr
