from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

# As strict as a site may be: no inline script, style or handler, and nothing from elsewhere.
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; object-src 'none'"


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Forbid what a page must do without; browsers enforce it and complain in the console."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return middleware
