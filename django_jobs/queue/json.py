"""What may be stored: JSON that every supported database can hold."""

from __future__ import annotations

import json
import re
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

_ENCODER = DjangoJSONEncoder(allow_nan=False, ensure_ascii=False)
# An escaped NUL that is not itself behind an escaped backslash.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def encode(value: Any) -> str:
    """Return `value` as JSON text.

    Raises TypeError for what JSON cannot hold, ValueError for what it can but a
    database cannot: NaN and infinities, NUL characters, lone surrogates, circles.
    """
    try:
        text = _ENCODER.encode(value)
    except RecursionError as error:
        raise ValueError("It is nested too deeply.") from error
    if "\\u0000" in text and _NUL.search(text):
        raise ValueError("It holds a NUL character, which databases refuse.")
    if not text.isascii():
        _refuse_lone_surrogates(text)
    return text


def _refuse_lone_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("It holds half of a surrogate pair, which is no character.") from error


def normalise(value: Any) -> Any:
    """Return `value` as it will be read back: tuples as lists, dates as strings.

    Raises as `encode` does.
    """
    if value is None or value is True or value is False:
        return value
    return json.loads(encode(value))


def printable(text: str, limit: int = 20_000) -> str:
    """Return hostile text, such as an exception's, as a database can store it.

    What is over the limit is cut out of the middle, where tracebacks repeat themselves.
    """
    text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    if not text.isascii():
        text = text.encode(errors="replace").decode()
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
