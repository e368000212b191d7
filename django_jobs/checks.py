"""System checks: what is wrong with a project's configuration, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings as django_settings
from django.core import checks

from django_jobs import conf

TAG = "django_jobs"


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


def connect() -> None:
    for check in (check_settings, check_time_zones):
        checks.register(check, TAG)
