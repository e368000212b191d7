"""Who may run, queue, cancel and retry jobs, where a request asks for it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
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
    return _given_secret(request) is not None


def has_secret(request: HttpRequest) -> bool:
    """Whether the request presents the CRON_SECRET, compared in constant time."""
    secret, given = conf.get().CRON_SECRET, _given_secret(request)
    if not secret or given is None:
        return False
    wanted = secret.encode(errors="surrogatepass")
    # A sum, since `any` would stop at the first.
    return sum(secrets.compare_digest(one, wanted) for one in _encoded(given)) > 0


def _encoded(given: str) -> tuple[bytes, bytes]:
    """Return the header as the client sent it, which servers decode as Latin-1, and as it is."""
    try:
        sent = given.encode("latin-1")
    except UnicodeEncodeError:
        sent = b""
    return sent, given.encode(errors="surrogatepass")


def _given_secret(request: HttpRequest) -> str | None:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip() if kind.lower() == "bearer" else None


def _is_staff(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return bool(user and user.is_authenticated and user.is_staff)


def _may(verb: str, request: HttpRequest) -> bool:
    """Ask for the permission; inactive users have none, whatever a backend says."""
    user = getattr(request, "user", None)
    return bool(user and user.is_active and user.has_perm(PERMISSIONS[verb]))
