"""Fixtures for pytest, beside those of pytest-django.

What they need of Django is imported when they are used: plugins are loaded before settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def run_jobs(db: None) -> Callable[..., Any]:
    """See django_jobs.testing.run_jobs()."""
    from django_jobs import testing

    return testing.run_jobs


@pytest.fixture
def assert_enqueued(db: None) -> Callable[..., Any]:
    """See django_jobs.testing.assert_enqueued()."""
    from django_jobs import testing

    return testing.assert_enqueued


@pytest.fixture
def inline_jobs(db: None) -> Iterator[None]:
    """Run jobs as they are enqueued; see django_jobs.testing.inline_jobs()."""
    from django_jobs import testing

    with testing.inline_jobs():
        yield
