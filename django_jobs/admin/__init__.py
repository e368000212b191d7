"""The admin: why a job does not run, and what can be done about it."""

from __future__ import annotations

from django_jobs.admin import jobs, overview, queues, schedules, workers

__all__ = ["jobs", "overview", "queues", "schedules", "workers"]
