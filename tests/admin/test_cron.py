"""Cron expressions in words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.utils.translation import override

from django_jobs.admin import cron
from django_jobs.admin.cron import in_words, outlook


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("*/5 * * * *", "Every 5 minutes"),
        ("0 9 * * 1-5", "At 09:00, Monday through Friday"),
        ("0 22 * * 7", "At 22:00, only on Sunday"),
        ("@daily", "At 00:00"),
        # The first of six fields has the seconds.
        ("*/10 * * * * *", "Every 10 seconds"),
        ("30 0 9 * * 1", "At 09:00:30, only on Monday"),
        ("30 0 9 ? * 1", "At 09:00:30, only on Monday"),
        # Either day will do.
        ("0 3 1 * 1", "At 03:00, on day 1 of the month, or on Monday"),
    ],
)
def test_an_expression_is_put_in_words(expression: str, words: str) -> None:
    assert in_words(expression) == words


@pytest.mark.parametrize("expression", ["*/90 * * * *", "0 0 31 2 *", "nonsense", "", "@never"])
def test_where_there_are_no_true_words_they_are_left_out(expression: str) -> None:
    assert in_words(expression) == ""


def test_the_words_are_in_the_language_of_the_reader() -> None:
    with override("de"):
        assert in_words("0 9 * 1 1-5") == "Um 09:00, Montag bis Freitag, nur im Januar"
    with override("de-at"):
        assert in_words("*/5 * * * *") == "Alle 5 Minuten"
    with override("cy"):
        assert in_words("*/5 * * * *") == "Every 5 minutes"


def test_without_the_library_there_are_no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cron, "ExpressionDescriptor", None)
    assert in_words("*/5 * * * *") == ""


def test_the_next_five_times_are_told_in_the_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 3, 28, 12, tzinfo=UTC)
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)
    found = outlook("0 2 * * *", "Europe/Berlin")
    assert found is not None
    # On the 29th there is no two o'clock.
    assert [f"{time:%d. %H:%M %Z}" for time in found.times] == [
        "29. 03:00 CEST", "30. 02:00 CEST", "31. 02:00 CEST", "01. 02:00 CEST", "02. 02:00 CEST",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "zone"), [("61 * * * *", ""), ("@daily", "Europe/Atlantis")]
)
def test_what_cannot_be_reckoned_has_no_outlook(expression: str, zone: str) -> None:
    assert outlook(expression, zone) is None
