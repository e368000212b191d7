"""Log who was refused, without letting them fill the log."""

from __future__ import annotations

import logging
import threading
import time

from django.http import HttpRequest

logger = logging.getLogger("django_jobs.access")

INTERVAL = 10.0

_lock = threading.Lock()
_unlogged = 0
_logged_at = -INTERVAL


def note(request: HttpRequest) -> None:
    """Log a refusal; of many within some seconds the first, with the number of the rest."""
    global _unlogged, _logged_at
    with _lock:
        _unlogged += 1
        if time.monotonic() - _logged_at < INTERVAL:
            return
        count, _unlogged, _logged_at = _unlogged, 0, time.monotonic()
    logger.warning(
        "Refused %s %s from %s; %s since the last of these lines",
        request.method, request.path, request.META.get("REMOTE_ADDR", "?"), count,
    )  # fmt: skip
