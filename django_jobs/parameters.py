"""What a request may say to the endpoints, and the names of what is wrong with it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpRequest, RawPostDataException
from django.http.multipartparser import MultiPartParserError
from django.http.request import UnreadablePostError

from django_jobs.tasks.bounds import check_queue

T = TypeVar("T")

TRUE = ("1", "true", "yes", "on")
FALSE = ("0", "false", "no", "off", "")
MOST_JOBS = 10_000
MOST_SECONDS = 24 * 60 * 60
# What reading a request may raise that is not as it should be: its encoding, its size, its form.
UNREADABLE = (
    BadRequest, LookupError, MultiPartParserError, RawPostDataException, RecursionError,
    SuspiciousOperation, UnreadablePostError, ValueError,
)  # fmt: skip


class BadParametersError(Exception):
    """The names of the parameters that are wrong, each with a sentence. Never their values."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(", ".join(problems))
        self.problems = dict(problems)


class Parameters:
    """The parameters of the query, the form or a JSON object; camelCase is accepted, too."""

    def __init__(self, request: HttpRequest) -> None:
        with readable("query"):
            query = request.GET.dict()
        self._given = {**query, **_body(request)}
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


@contextmanager
def readable(part: str) -> Iterator[None]:
    """Raise BadParametersError where a part of the request cannot be read."""
    try:
        yield
    except UNREADABLE as error:
        raise BadParametersError({part: "It cannot be read."}) from error


def _body(request: HttpRequest) -> Mapping[str, Any]:
    if request.method != "POST":
        return {}
    with readable("body"):
        if request.content_type == "application/json":
            return _json_object(request.body)
        return request.POST.dict()


def _json_object(body: bytes) -> dict[str, Any]:
    given = json.loads(body) if body.strip() else {}
    if not isinstance(given, dict):
        raise BadParametersError({"body": "It must be a JSON object."})
    return given


def _text(value: Any) -> str:
    try:
        check_queue(value)
        value.encode()
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError("It must be the name of a queue.") from error
    return str(value)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str | int) or str(value).lower() not in (*TRUE, *FALSE):
        raise ValueError("It must be true or false.")
    return str(value).lower() in TRUE


def _integer(value: Any) -> int:
    message = f"It must be an integer from 0 to {MOST_JOBS}."
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(message)
    if not re.fullmatch("[0-9]{1,6}", str(value)):
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
