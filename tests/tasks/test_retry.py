from __future__ import annotations

from datetime import timedelta

import pytest

from django_jobs.tasks.retry import Retry


def seconds(*numbers: float) -> list[timedelta]:
    return [timedelta(seconds=number) for number in numbers]


@pytest.mark.parametrize(
    ("retry", "waits"),
    [
        (Retry(3), seconds(0, 0, 0)),
        (Retry(3, delay=5), seconds(5, 5, 5)),
        (Retry(3, delay=timedelta(minutes=1)), seconds(60, 60, 60)),
        (Retry(3, delay=5, max_delay=3), seconds(3, 3, 3)),
        (Retry(3, backoff="exponential"), seconds(0, 0, 0)),
        (Retry(3, backoff="exponential", delay=2), seconds(2, 4, 8)),
        (Retry(3, backoff="exponential", delay=0.5), seconds(0.5, 1, 2)),
        (Retry(3, backoff="exponential", delay=2, max_delay=5), seconds(2, 4, 5)),
        (Retry(3, backoff="exponential", delay=2, max_delay=1), seconds(1, 1, 1)),
        (Retry(3, delay=5, max_delay=0), seconds(0, 0, 0)),
    ],
)
def test_the_wait_after_each_failure(retry: Retry, waits: list[timedelta]) -> None:
    assert [retry.wait(failures) for failures in (1, 2, 3)] == waits


@pytest.mark.parametrize(("drawn", "wait"), [(0.0, 2.5), (0.5, 3.75), (1.0, 5.0)])
def test_jitter_draws_the_capped_wait_from_its_half_to_the_whole(drawn: float, wait: float) -> None:
    retry = Retry(9, backoff="exponential", delay=4, max_delay=5, jitter=True)
    assert retry.wait(3, random=lambda: drawn) == timedelta(seconds=wait)


@pytest.mark.parametrize("failures", [60, 1_000, 10**9])
def test_endless_doubling_stays_a_duration(failures: int) -> None:
    retry = Retry(10**9, backoff="exponential", delay=1)
    assert retry.wait(failures) == timedelta(days=366)
    long = Retry(10**9, backoff="exponential", delay=1, max_delay=timedelta(days=1000))
    assert long.wait(failures) == timedelta(days=1000)


@pytest.mark.parametrize(
    ("retry", "error", "failures", "allowed"),
    [
        (Retry(), OSError(), 1, False),
        (Retry(2), OSError(), 1, True),
        (Retry(2), OSError(), 2, True),
        (Retry(2), OSError(), 3, False),
        (Retry(2, retry_on=OSError), ConnectionError(), 1, True),
        (Retry(2, retry_on=OSError), ValueError(), 1, False),
        (Retry(2, retry_on=(OSError, KeyError)), KeyError(), 1, True),
        (Retry(2, retry_on=()), OSError(), 1, False),
        (Retry(2, give_up_on=ValueError), UnicodeError(), 1, False),
        (Retry(2, give_up_on=(ValueError, OSError)), KeyError(), 1, True),
        (Retry(2, retry_on=OSError, give_up_on=ConnectionError), ConnectionError(), 1, False),
    ],
)
def test_attempts_and_classes_decide_whether_to_try_again(
    retry: Retry, error: Exception, failures: int, allowed: bool
) -> None:
    assert retry.allows(error, failures) is allowed


def test_an_integer_is_a_number_of_attempts() -> None:
    assert Retry.of(3) == Retry(attempts=3)
    assert Retry.of(None) is None
    given = Retry(1)
    assert Retry.of(given) is given


@pytest.mark.parametrize("value", [True, "3", 1.5, [3]])
def test_nothing_else_means_retries(value: object) -> None:
    with pytest.raises(TypeError, match="'retries' must be"):
        Retry.of(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": -1},
        {"backoff": "linear"},
        {"backoff": None},
        {"delay": -1},
        {"delay": timedelta(seconds=-1)},
        {"delay": float("nan")},
        {"delay": float("inf")},
        {"max_delay": -1},
        {"max_delay": timedelta.max},
        {"delay": 10**400},
    ],
)
def test_impossible_values_are_refused_at_declaration(options: dict) -> None:
    with pytest.raises(ValueError, match=f"'{next(iter(options))}' of Retry must"):
        Retry(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": "3"},
        {"attempts": True},
        {"attempts": 1.0},
        {"delay": "1"},
        {"delay": None},
        {"delay": True},
        {"max_delay": "1"},
        {"jitter": 1},
        {"should_restore": "yes"},
        {"retry_on": [OSError]},
        {"retry_on": "OSError"},
        {"give_up_on": (OSError, "KeyError")},
        {"give_up_on": None},
    ],
)
def test_values_of_a_wrong_type_are_refused_at_declaration(options: dict) -> None:
    with pytest.raises(TypeError, match=f"'{next(iter(options))}' of Retry must"):
        Retry(**options)


@pytest.mark.parametrize(
    "retry",
    [
        Retry(3),
        Retry(3, backoff="exponential", delay=1.5, max_delay=60.0, jitter=True),
        Retry(should_restore=False),
    ],
)
def test_arithmetic_survives_json(retry: Retry) -> None:
    assert Retry.from_json(retry.to_json()) == retry


def test_durations_are_seconds_in_json() -> None:
    data = Retry(delay=timedelta(minutes=1), max_delay=timedelta(hours=1)).to_json()
    assert (data["delay"], data["max_delay"]) == (60.0, 3600.0)


def test_json_of_another_version_is_read() -> None:
    assert Retry.from_json({"attempts": 2, "invented_later": 1}) == Retry(2)


@pytest.mark.parametrize(
    "retry",
    [
        Retry(retry_on=OSError),
        Retry(retry_on=()),
        Retry(give_up_on=OSError),
        Retry(should_restore=lambda context, status: True),
    ],
)
def test_what_is_not_arithmetic_cannot_be_stored(retry: Retry) -> None:
    with pytest.raises(ValueError, match="declare them on the task"):
        retry.to_json()
