"""The settings of the benchmark's workers: the example's, with the defaults of DJANGO_JOBS."""

from __future__ import annotations

from config.settings import *  # noqa: F403

DJANGO_JOBS = {}
