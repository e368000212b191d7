"""System checks: what is wrong with a project's configuration, and what to do.

They read the settings with `conf.read`, which does not raise where those are wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any

from django.conf import settings as django_settings
from django.core import checks
from django.core.management import get_commands
from django.db import connections
from django.utils.module_loading import import_string

from django_jobs import conf
from django_jobs.tasks import registry
from django_jobs.tasks.schedule import cron_problems

TAG = "django_jobs"
SHORTEST_SECRET = 16
OLDEST_MARIADB = (10, 6)


def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    settings, problems = conf.read(conf.raw())
    errors: list[checks.CheckMessage] = [
        checks.Error(problem.message, obj=conf.SETTING, id="django_jobs.E001")
        for problem in problems
    ]
    if settings.DATABASE is not None and settings.DATABASE not in django_settings.DATABASES:
        errors.append(
            checks.Error(
                f"{conf.SETTING}['DATABASE'] names {settings.DATABASE!r}, "
                "which is not an alias in DATABASES.",
                hint=f"DATABASES has {', '.join(django_settings.DATABASES)}.",
                id="django_jobs.E002",
            )
        )
    return errors


def check_time_zones(**kwargs: Any) -> Sequence[checks.CheckMessage]:
    if django_settings.USE_TZ:
        return []
    return [
        checks.Error(
            "django_jobs needs USE_TZ = True: leases and schedules compare moments in time.",
            id="django_jobs.E003",
        )
    ]


def check_schedules(**kwargs: Any) -> Iterator[checks.CheckMessage]:
    """Check the cron strings and zones that tasks declare, and those of AUTORUN."""
    for declaration in registry.every():
        for schedule in declaration.schedule:
            for problem in schedule.problems():
                yield _bad_schedule(f"The {declaration.kind} {declaration.slug!r}", problem)
    settings, _problems = conf.read(conf.raw())
    for entry in settings.AUTORUN:
        for problem in cron_problems(entry["cron"]):
            yield _bad_schedule(f"{conf.SETTING}['AUTORUN']", problem)


def _bad_schedule(where: str, problem: str) -> checks.CheckMessage:
    return checks.Error(
        f"{where} has a schedule that cannot be used. {problem}",
        hint="A cron expression has 5 fields, or 6 with the seconds first, as in '*/5 * * * *'.",
        id="django_jobs.E004",
    )


def check_paths(**kwargs: Any) -> Iterator[checks.CheckMessage]:
    """Import what the setting names by its dotted path."""
    settings, _problems = conf.read(conf.raw())
    named = {f"ACCESS[{verb!r}]": hook for verb, hook in settings.ACCESS.items()}
    named["SHOULD_AUTORUN"] = settings.SHOULD_AUTORUN or ""
    for key, path in named.items():
        problem = _import_problem(path) if isinstance(path, str) and path else None
        if problem:
            yield checks.Error(
                f"{conf.SETTING}: {key} names {path!r}, which {problem}.",
                hint="Give a callable, or the dotted path of one, such as 'shop.jobs.may_run'.",
                id="django_jobs.E005",
            )


def _import_problem(path: str) -> str | None:
    try:
        found = import_string(path)
    except Exception as error:
        return f"cannot be imported ({type(error).__name__}: {error})"
    return None if callable(found) else "cannot be called"


def check_task_backend(**kwargs: Any) -> Iterator[checks.CheckMessage]:
    if not conf.names_task_backend():
        return
    try:
        import_module("django_jobs.tasks_backend")
    except ImportError as error:
        yield checks.Error(
            f"TASKS names a backend that cannot be imported: {error}",
            hint="Install django-tasks, or take the entry out of TASKS.",
            id="django_jobs.E006",
        )


def check_secret(**kwargs: Any) -> Iterator[checks.CheckMessage]:
    settings, _problems = conf.read(conf.raw())
    secret = settings.CRON_SECRET
    if secret is not None and len(secret) < SHORTEST_SECRET:
        yield checks.Warning(
            f"{conf.SETTING}['CRON_SECRET'] is shorter than {SHORTEST_SECRET} characters.",
            hint="Whoever guesses it can run jobs. Take one from "
            "django.core.management.utils.get_random_secret_key().",
            id="django_jobs.W001",
        )


def check_command(**kwargs: Any) -> Iterator[checks.CheckMessage]:
    """Look for another app, such as django-extensions, whose `runjobs` is found first."""
    name = get_commands().get("runjobs", "django_jobs")
    if name != "django_jobs":
        yield checks.Warning(
            f"manage.py runjobs is a command of {name!r}, not the worker of django_jobs.",
            hint=f"Put 'django_jobs' before {name!r} in INSTALLED_APPS.",
            id="django_jobs.W002",
        )


def check_memory(**kwargs: Any) -> Iterator[checks.CheckMessage]:
    settings, _problems = conf.read(conf.raw())
    alias = settings.DATABASE or "default"
    database: dict[str, Any] = django_settings.DATABASES.get(alias, {})
    if database.get("NAME") == ":memory:":
        yield checks.Warning(
            f"The jobs are in the database {alias!r}, which is in the memory of each process.",
            hint="No worker will see them. Give the SQLite database a file as its NAME.",
            id="django_jobs.W003",
        )


def check_versions(
    *, databases: Iterable[str] | None = None, **kwargs: Any
) -> Iterator[checks.CheckMessage]:
    """Look for a MariaDB that Django 5.2 supports still, but that cannot skip locked rows."""
    from django_jobs.models import database_alias

    if check_settings():
        return
    alias = database_alias()
    connection: Any = connections[alias]
    if alias not in (databases or ()) or connection.vendor != "mysql":
        return
    if connection.mysql_is_mariadb and connection.mysql_version < OLDEST_MARIADB:
        yield checks.Error(
            f"The jobs are in a MariaDB of version {'.'.join(map(str, connection.mysql_version))}.",
            hint=f"Use MariaDB {'.'.join(map(str, OLDEST_MARIADB))} or later.",
            id="django_jobs.E007",
        )


def connect() -> None:
    for check in (
        check_settings,
        check_time_zones,
        check_schedules,
        check_paths,
        check_task_backend,
        check_secret,
        check_command,
        check_memory,
    ):
        checks.register(check, TAG)
    checks.register(check_versions, TAG, checks.Tags.database)
