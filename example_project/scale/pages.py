"""Which pages of the admin are measured, and how."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from django.db import connection
from django.http import HttpResponseBase
from django.test import Client
from django.test.utils import (
    CaptureQueriesContext,
    setup_test_environment,
    teardown_test_environment,
)
from django.urls import reverse

from django_jobs.models import Job, JobStatus

# What is read of an answer that does not end, such as the export of all jobs.
CHUNKS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    name: str
    queries: int
    milliseconds: float
    status: int


def measure_pages(client: Client, rounds: int) -> Iterator[Measured]:
    """Ask for each page so many times after a first, for warming up, and keep the best."""
    for name, url in pages(client):
        _first, *others = [measure(name, url, client) for _ in range(1 + rounds)]
        yield min(others, key=lambda measured: measured.milliseconds)


def pages(client: Client) -> Iterator[tuple[str, str]]:
    """Yield names and addresses: the list and what it links to, the pages of jobs, and others."""
    jobs = reverse("admin:django_jobs_job_changelist")
    yield "list", jobs
    yield "list, page 50", f"{jobs}?p=50"
    yield from filters(client, jobs)
    yield "failures", reverse("admin:django_jobs_job_failures")
    yield "export, its first rows", reverse("admin:django_jobs_job_export", args=["csv"])
    newest = Job.objects.order_by("-id")
    yield "search by id", f"{jobs}?q={newest[0].pk}"
    yield "search by key", f"{jobs}?q=tenant:7"
    for status in JobStatus.values:
        if job := newest.filter(status=status).first():
            yield f"job, {status}", reverse("admin:django_jobs_job_change", args=[job.pk])
    yield "overview", reverse("admin:django_jobs_overview")
    for model in ("queue", "worker", "jobschedule"):
        yield f"list of {model}s", reverse(f"admin:django_jobs_{model}_changelist")


def filters(client: Client, url: str) -> Iterator[tuple[str, str]]:
    """Yield every choice that the list offers in its filters."""
    # The instrumented templates of the tests tell what they were given.
    setup_test_environment(debug=False)
    try:
        changelist = client.get(url).context["cl"]
    finally:
        teardown_test_environment()
    for spec in changelist.filter_specs:
        for choice in islice(spec.choices(changelist), 1, None):
            yield f"list, {spec.title}: {choice['display']}", url + choice["query_string"]


def measure(name: str, url: str, client: Client) -> Measured:
    with CaptureQueriesContext(connection) as queries:
        started = time.perf_counter()
        response = client.get(url)
        read(response)
        seconds = time.perf_counter() - started
    return Measured(
        name=name, queries=len(queries), milliseconds=1000 * seconds, status=response.status_code
    )


def read(response: HttpResponseBase) -> None:
    chunks: Iterable[bytes] = response if response.streaming else [response.content]
    for _chunk in islice(chunks, CHUNKS):
        continue
