"""The site of the servers that the tests start: ``tests.http.site:wsgi()`` and ``:asgi``."""

from __future__ import annotations

import os
from typing import Any

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = os.environ.get("SITE_SETTINGS", "tests.http.site_settings")


def wsgi() -> Any:
    return get_wsgi_application()


def asgi() -> Any:
    return get_asgi_application()
