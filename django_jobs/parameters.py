"""What a request may say to the endpoints, and the names of what is wrong with it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.http import HttpRequest, RawPostDataException
from django.http.multipartparser import MultiPartParserError
from django.http.request import UnreadablePostError

T = TypeVar("T")

TRUE = ("1", "true", "yes", "on")
FALSE = ("0", "false", "no", "off", "")
MOST_JOBS = 10_000
MOST_SECONDS = 24 * 60 * 60


class BadParametersError(Exception):
    """The names of the parameters that are wrong, each with a sentence. Never their values."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(", ".join(problems))
        self.problems = dict(problems)


class Parameters:
    """The parameters of the query, the form or a JSON object; camelCase is accepted, too."""

    def __init__(self, request: HttpRequest) -> None:
        self._given = {**request.GET.dict(), **_body(request)}
        self._problems: dict[str, str] = {}

    def check(self) -> None:
        """Raise BadParametersError where one that was read is wrong."""
        if self._problems:
            raise BadParametersError(self._problems)

    def text(self, name: str, default: str) -> str:
        return self._read(name, default, _text)

    def boolean(self, name: str) -> bool:
        return self._read(name, False, _boolean)

    def integer(self, name: str, default: int) -> int:
        return self._read(name, default, _integer)

    def seconds(self, name: str, default: float | None) -> float | None:
        return self._read(name, default, _seconds)

    def _read(self, name: str, default: T, read: Callable[[Any], T]) -> T:
        for spelling in (name, _camel_case(name)):
            if spelling in self._given:
                try:
                    return read(self._given[spelling])
                except (TypeError, ValueError) as error:
                    self._problems[name] = str(error)
                    return default
        return default


def _camel_case(name: str) -> str:
    return re.sub("_(.)", lambda match: match[1].upper(), name)


def _body(request: HttpRequest) -> dict[str, Any]:
    if request.method != "POST":
        return {}
    try:
        if request.content_type == "application/json":
            return _json_object(request.body)
        return dict(request.POST.dict())
    except (ValueError, RecursionError, MultiPartParserError, UnreadablePostError) as error:
        raise BadParametersError({"body": "It cannot be read."}) from error
    except RawPostDataException as error:
        raise BadParametersError({"body": "It was read before."}) from error


def _json_object(body: bytes) -> dict[str, Any]:
    given = json.loads(body) if body.strip() else {}
    if not isinstance(given, dict):
        raise BadParametersError({"body": "It must be a JSON object."})
    return given


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 255 or not value.isprintable():
        raise ValueError("It must be the name of a queue.")
    return value


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str | int) or str(value).lower() not in (*TRUE, *FALSE):
        raise ValueError("It must be true or false.")
    return str(value).lower() in TRUE


def _integer(value: Any) -> int:
    message = f"It must be an integer from 0 to {MOST_JOBS}."
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,6}", str(value), re.ASCII):
        raise ValueError(message)
    if int(value) > MOST_JOBS:
        raise ValueError(message)
    return int(value)


def _seconds(value: Any) -> float:
    message = f"It must be a number of seconds from 0 to {MOST_SECONDS}."
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(message)
    try:
        seconds = float(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(message) from error
    if not math.isfinite(seconds) or not 0 <= seconds <= MOST_SECONDS:
        raise ValueError(message)
    return seconds
