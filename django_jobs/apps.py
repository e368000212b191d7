from __future__ import annotations

from contextlib import suppress
from importlib import import_module

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class DjangoJobsConfig(AppConfig):
    name = "django_jobs"
    label = "django_jobs"
    verbose_name = _("Jobs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_jobs import autorun, checks, conf, signals
        from django_jobs.queue import sqlite
        from django_jobs.worker import connections

        checks.connect()
        signals.connect()
        autorun.connect()
        sqlite.connect()
        connections.connect()
        settings, _problems = conf.read(conf.raw())
        if settings.AUTODISCOVER:
            autodiscover_modules("tasks", "workflows")
        if conf.names_task_backend():
            # Where it cannot be imported, a check says why.
            with suppress(ImportError):
                import_module("django_jobs.tasks_backend")
