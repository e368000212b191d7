"""Which failures are alike."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

# What differs between two failures for the same reason: quoted values, ids, addresses, numbers.
_VARIABLE = re.compile(
    r"""(?<!\w)'[^']*'(?!\w)|"[^"]*"|\b(?:0x)?[0-9a-f-]*\d[0-9a-f-]*\b|\d+""", re.IGNORECASE
)
_LONGEST = 500


def normalised(message: str) -> str:
    """Return the first line of a message without what is different in each job."""
    return _VARIABLE.sub("…", message.strip().partition("\n")[0][:_LONGEST])


def group_of(error: Mapping[str, Any]) -> str:
    """Return the same text for errors of one class with the same normalised message."""
    alike = f"{error.get('name')}: {normalised(str(error.get('message') or ''))}"
    return hashlib.sha256(alike.encode(errors="surrogatepass")).hexdigest()[:16]
