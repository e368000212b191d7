from __future__ import annotations

from typing import Any

import pytest

from django_jobs.exceptions import InvalidInputError
from django_jobs.tasks.options import Concurrency


def returning(key: Any) -> Concurrency:
    return Concurrency(key=lambda input, queue: key)


def test_a_callable_is_the_key_of_an_exclusive_concurrency() -> None:
    def key(input: dict[str, Any], queue: str) -> str:
        return queue

    assert Concurrency.of(key) == Concurrency(key=key, exclusive=True, supersedes=False, limit=1)
    assert Concurrency.of(None) is None
    given = Concurrency(key, limit=2)
    assert Concurrency.of(given) is given


def test_the_key_is_computed_from_input_and_queue() -> None:
    concurrency = Concurrency(lambda input, queue: f"{queue}:{input['user_id']}")
    assert concurrency.compute({"user_id": 7}, "mail") == "mail:7"


@pytest.mark.parametrize("key", [None, ""])
def test_no_key_restricts_nothing(key: str | None) -> None:
    assert returning(key).compute({}, "default") is None


def test_the_longest_key_is_taken() -> None:
    assert returning("é" * 255).compute({}, "default") == "é" * 255


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (7, "must be text or None, not int"),
        (b"key", "must be text or None, not bytes"),
        (False, "must be text or None, not bool"),
        ("k" * 256, "must not be longer than 255 characters, but has 256"),
        ("a\x00b", "holds a NUL character"),
        ("a\ud800b", "holds half of a surrogate pair"),
    ],
)
def test_a_key_that_cannot_be_stored_is_invalid_input(key: Any, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem) as raised:
        returning(key).compute({}, "default", where="Task 'mail'")
    assert str(raised.value).startswith("Task 'mail' cannot take this input: its concurrency key")
    assert list(raised.value.errors) == ["__all__"]


def test_an_error_in_the_callable_is_invalid_input_with_its_cause() -> None:
    concurrency = Concurrency(lambda input, queue: input["user_id"])
    with pytest.raises(InvalidInputError, match="the callable raised KeyError") as raised:
        concurrency.compute({}, "default")
    assert isinstance(raised.value.__cause__, KeyError)


@pytest.mark.parametrize("value", ["key", 1, {}])
def test_nothing_else_means_a_concurrency(value: Any) -> None:
    with pytest.raises(TypeError, match="'concurrency' must be"):
        Concurrency.of(value)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"key": "user"}, TypeError),
        ({"exclusive": 1}, TypeError),
        ({"supersedes": None}, TypeError),
        ({"limit": True}, TypeError),
        ({"limit": "2"}, TypeError),
        ({"limit": 0}, ValueError),
    ],
)
def test_wrong_options_are_refused_at_declaration(
    options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"'{next(iter(options))}' of Concurrency must"):
        Concurrency(**{"key": lambda input, queue: None, **options})
