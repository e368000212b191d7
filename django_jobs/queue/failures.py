"""Which failures are alike."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

# What differs between two failures for the same reason: quoted values, ids, addresses, numbers.
_NUMBER = r"\b(?:0x)?[0-9a-f-]*\d[0-9a-f-]*\b|\d+"
_QUOTED = r"""(?<!\w)'[^']*'(?!\w)|"[^"]*\""""
_NUMBERS = re.compile(_NUMBER, re.IGNORECASE)
_VARIABLE = re.compile(f"{_QUOTED}|{_NUMBER}", re.IGNORECASE)
_LONGEST = 500


def normalised(message: str) -> str:
    """Return the first line of a message without what is different in each job.

    One that is nothing but a quoted value, as that of a KeyError, keeps it.
    """
    line = message.strip().partition("\n")[0][:_LONGEST]
    return (_NUMBERS if re.fullmatch(_QUOTED, line) else _VARIABLE).sub("…", line)


def group_of(error: Mapping[str, Any]) -> str:
    """Return the same text for errors of one class with the same normalised message."""
    alike = f"{error.get('name')}: {normalised(str(error.get('message') or ''))}"
    return hashlib.sha256(alike.encode(errors="surrogatepass")).hexdigest()[:16]
