"""How a value of one kind becomes JSON, and JSON a value of that kind again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from types import NoneType
from typing import Any, NoReturn
from uuid import UUID

from django.utils.dateparse import parse_date, parse_datetime, parse_duration, parse_time
from django.utils.duration import duration_iso_string
from django.utils.functional import Promise

from django_jobs.queue.json import encode as json_text
from django_jobs.queue.json import normalise

# Integers within it are JSON for every database; longer ones are asked of the encoder.
_SMALL = 2**63


class Refused(ValueError):  # noqa: N818 - control flow, not an error
    """A value is not accepted; `predicate` says of it, or of the part at `place`, why."""

    def __init__(self, predicate: str, place: str = "it") -> None:
        super().__init__(predicate)
        self.predicate = predicate
        self.place = place

    @property
    def sentence(self) -> str:
        return f"{self.place[0].upper()}{self.place[1:]} {self.predicate}."

    def inside(self, place: str) -> Refused:
        """Return the same refusal, told of the container."""
        return Refused(self.predicate, place if self.place == "it" else f"{place}, {self.place}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What an annotation accepts.

    `noun` completes "It must be …". `encode` returns JSON, `decode` the value again; both
    raise Refused. `decode` is None where the value is what JSON gives back. A union asks the
    members first whose `types` has the type of the value.
    """

    noun: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any] | None = None
    types: tuple[type, ...] = ()


def json_ready(value: Any) -> Any:
    """Return any value that JSON can hold as it will be read back."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is int and -_SMALL <= value < _SMALL:
        return value
    if kind is str and value.isascii() and "\x00" not in value:
        return value
    return _normalised(value)


def _normalised(value: Any) -> Any:
    try:
        if isinstance(value, int):
            json_text(value)
        return normalise(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Refused(_why_not_json(value, error)) from None


def _why_not_json(value: Any, error: Exception) -> str:
    if model := _model_in(value):
        return f"is or holds a {model}; pass its primary key instead"
    message = str(error).rstrip(".")
    if message.startswith("It "):
        return message.removeprefix("It ")
    return f"cannot be stored as JSON ({message})"


def _model_in(value: Any, depth: int = 4) -> str | None:
    """Return the name of the model of which an instance is in `value`."""
    from django.db.models import Model

    if isinstance(value, Model):
        return type(value).__name__
    if not depth or not isinstance(value, dict | list | tuple):
        return None
    parts = value.values() if isinstance(value, dict) else value
    return next(filter(None, (_model_in(part, depth - 1) for part in parts)), None)


def must_be(noun: str) -> NoReturn:
    """Refuse a value of another kind."""
    raise Refused(f"must be {noun}")


def _int(value: Any) -> Any:
    if type(value) is int and -_SMALL <= value < _SMALL:
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        must_be(INT.noun)
    return json_ready(int(value))


def _float(value: Any) -> Any:
    if type(value) in (float, int) and -_SMALL < value < _SMALL:
        return value
    if not isinstance(value, float | int) or isinstance(value, bool):
        must_be(FLOAT.noun)
    _to_float(value)
    return int(value) if isinstance(value, int) else float(value)


def _to_float(stored: Any) -> float:
    try:
        number = float(stored)
    except (TypeError, ValueError, OverflowError):
        must_be(FLOAT.noun)
    if not math.isfinite(number):
        raise Refused("must be a finite number")
    return number


def _str(value: Any) -> Any:
    if not isinstance(value, str):
        if not isinstance(value, Promise):
            must_be(STR.noun)
        value = str(value)
    return json_ready(value)


def _bool(value: Any) -> Any:
    return value if isinstance(value, bool) else must_be(BOOL.noun)


def _none(value: Any) -> Any:
    return must_be(NONE.noun) if value is not None else None


ANY = Kind(noun="anything", encode=json_ready)
INT = Kind(noun="an integer", encode=_int, types=(int,))
FLOAT = Kind(noun="a number", encode=_float, decode=_to_float, types=(float,))
STR = Kind(noun="text", encode=_str, types=(str,))
BOOL = Kind(noun="true or false", encode=_bool, types=(bool,))
NONE = Kind(noun="None", encode=_none, types=(NoneType,))


def _typed(
    noun: str,
    cls: type[Any],
    *,
    dump: Callable[[Any], str],
    parse: Callable[[Any], Any],
    parses: tuple[type, ...] = (str,),
) -> Kind:
    """Return the kind of a type that is text in JSON; text that `parse` reads is accepted."""

    def decode(stored: Any) -> Any:
        if type(stored) not in parses:
            must_be(noun)
        try:
            value = parse(stored)
        except (ValueError, OverflowError, InvalidOperation):
            value = None
        return must_be(noun) if value is None else value

    def encode(value: Any) -> Any:
        if not isinstance(value, cls):
            value = decode(value)
        elif cls is date and isinstance(value, datetime):
            raise Refused("must be a date without a time")
        return dump(value)

    return Kind(noun=noun, encode=encode, decode=decode, types=(cls,))


def _parse_time(text: str) -> time | None:
    # Django's parser drops the offset of an aware time.
    try:
        return time.fromisoformat(text)
    except ValueError:
        return parse_time(text)


def _dump_decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise Refused("must be a finite number")
    return str(value)


# In full precision, where DjangoJSONEncoder keeps milliseconds.
DATETIME = _typed(
    "a date and time", datetime, dump=lambda value: value.isoformat(), parse=parse_datetime
)
DATE = _typed("a date", date, dump=lambda value: value.isoformat(), parse=parse_date)
TIME = _typed("a time", time, dump=lambda value: value.isoformat(), parse=_parse_time)
TIMEDELTA = _typed("a duration", timedelta, dump=duration_iso_string, parse=parse_duration)
# A float is refused: what was meant by 0.1 is not what it holds.
DECIMAL = _typed("a decimal number", Decimal, dump=_dump_decimal, parse=Decimal, parses=(str, int))
UUID_ = _typed("a UUID", UUID, dump=str, parse=UUID)

BY_TYPE: dict[Any, Kind] = {
    object: ANY,
    int: INT,
    float: FLOAT,
    str: STR,
    bool: BOOL,
    NoneType: NONE,
    datetime: DATETIME,
    date: DATE,
    time: TIME,
    timedelta: TIMEDELTA,
    Decimal: DECIMAL,
    UUID: UUID_,
}


def or_none(kind: Kind) -> Kind:
    """Return the kind of `X | None`, and of a parameter whose default is None."""
    encode, decode = kind.encode, kind.decode
    return Kind(
        noun=f"{kind.noun} or None",
        encode=lambda value: None if value is None else encode(value),
        decode=decode and (lambda stored: None if stored is None else decode(stored)),
        types=(*kind.types, NoneType),
    )
