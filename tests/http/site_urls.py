from __future__ import annotations

import os
from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import include, path

from django_jobs import jobs, run_after_response
from tests.testapp.journal import current


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(os.getpid()))


def enqueue(request: HttpRequest, slug: str, name: str) -> HttpResponse:
    """Enqueue a job, and have it run when the response has been sent."""
    jobs.enqueue(slug, {"name": name})
    run_after_response(request)
    return HttpResponse("x" * 100_000)


async def aenqueue(request: HttpRequest, slug: str, name: str) -> HttpResponse:
    await jobs.aenqueue(slug, {"name": name})
    run_after_response(request)
    return HttpResponse("x" * 100_000)


def stream(request: HttpRequest, slug: str, name: str) -> HttpResponseBase:
    """See enqueue(); the response says that its job has not been run while it is sent."""
    jobs.enqueue(slug, {"name": name})
    run_after_response(request)

    def chunks() -> Iterator[str]:
        for _ in range(10):
            yield str(len(current().lines("note"))) + "x" * 10_000

    return StreamingHttpResponse(chunks())


def should_run() -> bool:
    """Say that AUTORUN has come to a tick; the first time fails, and the gate "open" lets in."""
    journal = current()
    journal.note("asked")
    if len(journal.lines("asked")) == 1:
        raise RuntimeError("The first tick fails.")
    return journal.is_open("open")


urlpatterns = [
    path("", index),
    path("enqueue/<slug>/<name>", enqueue),
    path("aenqueue/<slug>/<name>", aenqueue),
    path("stream/<slug>/<name>", stream),
    path("jobs/", include("django_jobs.urls")),
]
