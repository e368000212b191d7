"""Who may run, queue, cancel and retry jobs, where a request asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from django.utils.module_loading import import_string

from django_jobs import conf

PERMISSIONS = {
    "run": "django_jobs.run_job",
    "queue": "django_jobs.add_job",
    "cancel": "django_jobs.cancel_job",
    "retry": "django_jobs.retry_job",
}


def is_allowed(verb: str, request: HttpRequest) -> bool:
    """Ask the project's function for the verb; without one, the user's permission.

    Jobs may also be run by whoever presents the CRON_SECRET.
    """
    function: Callable[..., Any] | str | None = conf.get().ACCESS.get(verb)
    if function is not None:
        if isinstance(function, str):
            function = import_string(function)
        return bool(function(request))  # type: ignore[operator]
    if verb == "run":
        return has_secret(request) or (_is_staff(request) and _may(verb, request))
    return _may(verb, request)


def require(verb: str, request: HttpRequest | None) -> None:
    """Raise PermissionDenied where the request may not; without one, the caller is trusted."""
    if request is not None and not is_allowed(verb, request):
        raise PermissionDenied(f"This request may not {verb} jobs.")


def presents_secret(request: HttpRequest) -> bool:
    """Whether the request presents a secret at all, right or wrong."""
    return request.headers.get("Authorization", "").lower().startswith("bearer")


def has_secret(request: HttpRequest) -> bool:
    """Whether the request presents the CRON_SECRET, compared in constant time."""
    secret = conf.get().CRON_SECRET
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    if not secret or kind.lower() != "bearer":
        return False
    return constant_time_compare(given.strip(), secret)


def _is_staff(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return bool(user and user.is_authenticated and user.is_staff)


def _may(verb: str, request: HttpRequest) -> bool:
    """Ask for the permission; inactive users have none."""
    user = getattr(request, "user", None)
    return bool(user and user.has_perm(PERMISSIONS[verb]))
