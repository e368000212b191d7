"""Settings of a site whose database is gone, and whose requests are transactions."""

from __future__ import annotations

from tests.http.site_settings import *  # noqa: F403

DATABASES["default"]["ATOMIC_REQUESTS"] = True  # noqa: F405
