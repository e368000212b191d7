"""Tasks that several processes of a race know."""

from __future__ import annotations

import time

from django_jobs import Concurrency, task
from tests.testapp.models import Entry


@task(slug="race-note")
def note(name: str) -> None:
    Entry.objects.create(name=name)


@task(slug="race-unique", unique=lambda input: input["name"])
def unique(name: str) -> None:
    pass


@task(
    slug="race-latest",
    concurrency=Concurrency(lambda input, queue: input["key"], supersedes=True),
)
def latest(key: str) -> None:
    pass


def occupy(key: str) -> None:
    """Write when it starts and when it ends, so that a test can see which ran at once."""
    Entry.objects.create(name=key, number=1)
    # Long enough for another worker to begin, were it allowed to.
    time.sleep(0.01)
    Entry.objects.create(name=key, number=-1)


@task(slug="race-one-at-a-time", concurrency=lambda input, queue: f"one {input['key']}")
def one_at_a_time(key: str) -> None:
    occupy(key)


@task(
    slug="race-three-at-a-time",
    concurrency=Concurrency(lambda input, queue: f"three {input['key']}", limit=3),
)
def three_at_a_time(key: str) -> None:
    occupy(key)
