from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from django_jobs.queue.json import encode, normalise, printable


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ((1, 2), [1, 2]),
        ({1: "a"}, {"1": "a"}),
        (date(2030, 1, 2), "2030-01-02"),
        (datetime(2030, 1, 2, tzinfo=UTC), "2030-01-02T00:00:00Z"),
        (Decimal("1.10"), "1.10"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("\\u0000", "\\u0000"),
        (True, True),
        (None, None),
        (12, 12),
    ],
)
def test_a_value_becomes_what_will_be_read_back(value: Any, stored: Any) -> None:
    assert normalise(value) == stored
    assert type(normalise(value)) is type(stored)


@pytest.mark.parametrize(
    "value", [float("nan"), float("-inf"), "\x00", "\\\x00", {"\x00": 1}, "\ud800", {"\udfff": 1}]
)
def test_what_no_database_holds_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"NaN|JSON compliant|NUL|surrogate"):
        encode({"a": [value]})


@pytest.mark.parametrize("value", [object(), {1}, b"a", {(1, 2): 3}])
def test_what_json_does_not_know_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)


def test_circles_are_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError, match=r"[Cc]ircular|deeply"):
        encode(circle)


def test_text_is_kept_readable() -> None:
    assert encode("é") == '"é"'


def test_hostile_text_is_made_printable() -> None:
    assert printable("a\x00b") == "a\N{REPLACEMENT CHARACTER}b"
    assert printable("\ud800") == "?"
    assert printable("é") == "é"


def test_long_text_loses_its_middle() -> None:
    short = printable("a" * 100 + "b" * 1000 + "c" * 100, limit=200)
    assert short == f"{'a' * 100}\n… 1000 characters left out …\n{'c' * 100}"
