"""The HTTP trigger, for schedulers that can call a URL and nothing else.

It faces the internet: what is refused learns nothing about jobs, and no secret and no value
of a parameter is ever echoed or logged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import DatabaseError, InterfaceError, connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from django_jobs import access, conf, jobs, refusals
from django_jobs.models import database_alias
from django_jobs.parameters import BadParametersError, Parameters, readable
from django_jobs.queue import statistics

logger = logging.getLogger("django_jobs.views")

View = Callable[[HttpRequest], HttpResponseBase]


def reachable(*methods: str) -> Callable[[View], View]:
    """Answer these methods, uncached, and in no transaction: jobs have transactions of their own.

    The CSRF token is for those who come with a session; it is asked for by `guarded`.
    """

    def decorate(view: View) -> View:
        view = csrf_exempt(never_cache(require_http_methods(methods)(view)))
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    return decorate


def guarded(*, changes_something: bool) -> Callable[[View], View]:
    """Let in whoever may run jobs, and answer bad parameters and failures in JSON."""

    def decorate(view: View) -> View:
        @reachable("GET", "POST")
        @wraps(view)
        def guard(request: HttpRequest) -> HttpResponseBase:
            try:
                refused = _refusal(request, changes_something)
                return view(request) if refused is None else refused
            except BadParametersError as error:
                return _bad_parameters(error)
            except Exception:
                logger.exception("%s failed", request.path)
                return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "It failed; see the server's log.")

        return guard

    return decorate


def _refusal(request: HttpRequest, changes_something: bool) -> HttpResponseBase | None:
    if not _is_allowed(request):
        return _refuse(request)
    if access.has_secret(request) or not _has_session_user(request):
        return None
    # The browser of a user sends the session by itself, whoever made the link or the form.
    if changes_something and request.method != "POST":
        return _error(HTTPStatus.METHOD_NOT_ALLOWED, "Use POST.", {"Allow": "POST"})
    return _csrf_refusal(request) if request.method == "POST" else None


def _is_allowed(request: HttpRequest) -> bool:
    try:
        return access.is_allowed("run", request)
    except PermissionDenied:
        return False


def _refuse(request: HttpRequest) -> HttpResponse:
    refusals.note(request)
    if _has_session_user(request) and not access.presents_secret(request):
        return _error(HTTPStatus.FORBIDDEN, "You may not do this.")
    challenge = {"WWW-Authenticate": 'Bearer realm="jobs"'}
    return _error(HTTPStatus.UNAUTHORIZED, "Present the secret, or log in.", challenge)


def _has_session_user(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return bool(user and user.is_authenticated)


def _csrf_refusal(request: HttpRequest) -> HttpResponseBase | None:
    """Check the CSRF token, which the exemption for those with the secret has left out."""
    check = CsrfViewMiddleware(lambda request: HttpResponse())
    with readable("body"):
        check.process_request(request)
        refused = check.process_view(request, lambda request: HttpResponse(), (), {})
    if refused is None:
        return None
    return _error(HTTPStatus.FORBIDDEN, "The CSRF token is missing or wrong.")


def _bad_parameters(error: BadParametersError) -> HttpResponse:
    content = {"success": False, "error": "Bad parameters.", "parameters": error.problems}
    return JsonResponse(content, status=HTTPStatus.BAD_REQUEST)


def _error(status: HTTPStatus, message: str, headers: dict[str, str] | None = None) -> HttpResponse:
    return JsonResponse({"success": False, "error": message}, status=status, headers=headers)


@guarded(changes_something=True)
def run(request: HttpRequest) -> HttpResponse:
    """Enqueue what schedules say, then run what is due."""
    started = time.monotonic()
    given = Parameters(request)
    queue = given.text("queue", "default")
    limit = given.integer("limit", 10)
    all_queues = given.boolean("all_queues")
    disable_scheduling = given.boolean("disable_scheduling")
    budget = given.seconds("max_seconds", _default_seconds())
    given.check()
    scheduled = 0
    if not disable_scheduling:
        handled = jobs.handle_schedules(queue=queue, all_queues=all_queues)
        scheduled = len(handled.queued)
    left = None if budget is None else max(budget - (time.monotonic() - started), 0)
    result = jobs.run(queue=queue, limit=limit, all_queues=all_queues, deadline=left)
    count = len(result.job_status)
    return JsonResponse({
        "success": True,
        "message": f"{count} {'job was' if count == 1 else 'jobs were'} run.",
        "job_status": result.job_status,
        "remaining_jobs_from_queried": result.remaining_jobs_from_queried,
        "no_jobs_remaining": result.no_jobs_remaining,
        "scheduled": scheduled,
        "execution_time_ms": round((time.monotonic() - started) * 1000),
    })  # fmt: skip


def _default_seconds() -> float | None:
    budget = conf.get().MAX_SECONDS
    return None if budget is None else budget.total_seconds()


@guarded(changes_something=True)
def handle_schedules(request: HttpRequest) -> HttpResponse:
    """Enqueue what schedules say, of one queue or of all when none is named."""
    given = Parameters(request)
    queue = given.text("queue", "")
    all_queues = given.boolean("all_queues")
    given.check()
    result = jobs.handle_schedules(queue=queue or None, all_queues=all_queues)
    return JsonResponse({
        "success": True,
        "queued": [{"id": job.pk, "slug": job.slug} for job in result.queued],
        "skipped": [{"slug": slug, "reason": reason} for slug, reason in result.skipped],
        "errored": [{"slug": slug, "reason": reason} for slug, reason in result.errored],
    })  # fmt: skip


@reachable("GET", "HEAD", "POST")
def health(request: HttpRequest) -> HttpResponse:
    """Tell whether the database answers, and how the workers keep up; open to everybody."""
    content: dict[str, Any] = {
        "status": "ok", "database": True, "workers": None, "oldest_ready_seconds": None,
    }  # fmt: skip
    try:
        using = database_alias()
        content["workers"] = statistics.workers_alive(using=using)
        content["oldest_ready_seconds"] = statistics.oldest_ready_seconds(using=using)
    except (DatabaseError, InterfaceError, ImproperlyConfigured) as error:
        logger.warning("The database does not answer: %s", type(error).__name__)
        content.update(status="unavailable", database=False)
        return JsonResponse(content, status=HTTPStatus.SERVICE_UNAVAILABLE)
    return JsonResponse(content)


@guarded(changes_something=False)
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics in the text format of Prometheus."""
    try:
        from django_jobs.metrics import CONTENT_TYPE, render
    except ImportError:
        return _error(
            HTTPStatus.NOT_IMPLEMENTED,
            "Metrics need prometheus-client: install django-durable-jobs[metrics].",
        )
    return HttpResponse(render(using=database_alias()), content_type=CONTENT_TYPE)
