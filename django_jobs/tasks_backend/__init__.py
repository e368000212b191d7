"""A backend for Django's own tasks: functions of `django.tasks.task` become jobs.

    TASKS = {"default": {"BACKEND": "django_jobs.tasks_backend.JobsBackend"}}

A task is known by the dotted path of its function as soon as its decorator has run, in a
worker by the import of the `tasks` modules of the installed apps. Nothing is imported because
a row names it.
"""

from django_jobs.tasks_backend import receivers
from django_jobs.tasks_backend.backend import JobsBackend
from django_jobs.tasks_backend.stored import JobsTask

__all__ = ["JobsBackend", "JobsTask"]

receivers.connect()
