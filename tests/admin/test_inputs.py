from __future__ import annotations

import enum
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from django import forms
from django.test import override_settings
from django.utils.datastructures import MultiValueDict
from pydantic import BaseModel, Field

from django_jobs import register_task, task
from django_jobs.admin.inputs import InputForm, input_form
from django_jobs.tasks_backend.arguments import ArgumentsSchema


class Size(enum.Enum):
    SMALL = "s"
    LARGE = 2


def fill_in(declaration: Any, stored: Any = None, /, **answers: Any) -> InputForm:
    """Return the form as a browser sends it with these answers in place of what it shows."""
    made = input_form(declaration, stored)
    shown = made()
    data = {}
    for field in shown:
        value = field.value()
        if isinstance(value, bool):
            value = "on" if value else None
        value = field.field.widget.format_value(value)
        if isinstance(value, list):
            value = next(iter(value), None)
        if isinstance(field.field.widget, forms.PasswordInput):
            value = ""
        data[field.html_name] = value
    data |= {f"input-{name}": value for name, value in answers.items()}
    sent = {name: value for name, value in data.items() if value is not None}
    return made(
        MultiValueDict(
            {name: value if isinstance(value, list) else [value] for name, value in sent.items()}
        )
    )


def test_each_annotation_has_a_field_whose_answer_the_task_accepts() -> None:
    @task
    def ask(
        text: str, number: int, ratio: float, price: Decimal, sure: bool, day: date,
        moment: datetime, at: time, lasts: timedelta, key: UUID, size: Size,
        word: Literal["a", "b"], items: list[int], table: dict[str, int], any_thing: Any,
    ) -> None: ...  # fmt: skip

    form = fill_in(
        ask, text=" x ", number="3", ratio="0.5", price="1.10", sure="on", day="2026-01-02",
        moment="2026-01-02T03:04", at="03:04", lasts="1:30:00",
        key="6f1d4f7e-4a9b-4d0c-9f67-1f3b5b7a1c11", size="2", word="b", items="[1, 2]",
        table='{"a": 1}', any_thing="just text",
    )  # fmt: skip
    assert form.is_valid(), form.errors
    assert form.input == {
        "text": " x ", "number": 3, "ratio": 0.5, "price": "1.10", "sure": True,
        "day": "2026-01-02", "moment": "2026-01-02T03:04:00+00:00", "at": "03:04:00",
        "lasts": "P0DT01H30M00S", "key": "6f1d4f7e-4a9b-4d0c-9f67-1f3b5b7a1c11", "size": 2,
        "word": "b", "items": [1, 2], "table": {"a": 1}, "any_thing": "just text",
    }  # fmt: skip


def test_what_is_missing_or_wrong_is_said_at_its_field() -> None:
    @task
    def ask(number: int, items: list[int], moment: datetime, text: str, sure: bool) -> None: ...

    form = fill_in(ask, number="three", items='["a"]', moment="soon")
    assert set(form.errors) == {"number", "items", "moment", "text"}
    assert "must be an integer" in form.errors["items"][0]


def test_the_default_is_shown_and_left_to_the_task() -> None:
    @task
    def ask(
        number: int = 3, sure: bool = True, size: Size = Size.LARGE, text: str | None = None
    ) -> None: ...

    form = fill_in(ask)
    assert form["number"].value() == "3"
    assert form.is_valid(), form.errors
    assert form.given == {}
    form = fill_in(ask, number="4", sure=None, size="s", text="x")
    assert form.is_valid(), form.errors
    assert form.given == {"number": 4, "sure": False, "size": "s", "text": "x"}


def test_what_was_not_changed_stays_as_it_is_stored() -> None:
    @task
    def ask(moment: datetime, text: str, items: list[Any], extra: int = 7) -> None: ...

    stored = {
        "moment": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC).isoformat(),
        "text": "", "items": [],
    }  # fmt: skip
    form = fill_in(ask, stored)
    assert form.is_valid(), form.errors
    assert form.input == stored
    form = fill_in(ask, stored, text="changed")
    assert form.is_valid(), form.errors
    assert form.input == stored | {"text": "changed"}


def test_further_arguments_are_json() -> None:
    @task
    def ask(number: int, **rest: int) -> None: ...

    form = fill_in(ask, {"number": 1, "more": 2}, **{"**": '{"more": 3, "other": 4}'})
    assert form.is_valid(), form.errors
    assert form.input == {"number": 1, "more": 3, "other": 4}
    assert set(fill_in(ask, number="1", **{"**": '{"more": "x"}'}).errors) == {"**"}


def test_a_task_declared_by_a_path_takes_a_json_object() -> None:
    declared = register_task("by-path", handler="nowhere.at_all")
    form = fill_in(declared, **{"**": '{"anything": [1]}'})
    assert form.is_valid(), form.errors
    assert form.input == {"anything": [1]}


def test_a_parameter_may_be_named_as_a_part_of_a_form_is() -> None:
    @task
    def ask(schema: str, stored: str, prefix: str, clean: str, data: str) -> None: ...

    answers = dict.fromkeys(("schema", "stored", "prefix", "clean", "data"), "x")
    form = fill_in(ask, None, **answers)
    assert form.is_valid(), form.errors
    assert form.input == answers


class Order(forms.Form):
    number = forms.IntegerField(min_value=1)
    note = forms.CharField(required=False)
    urgent = forms.BooleanField(required=False)
    tags = forms.MultipleChoiceField(choices=[("a", "A"), ("b", "B")], required=False)
    day = forms.DateField(required=False)

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if given.get("note") == "no":
            raise forms.ValidationError("Not with this note.")
        return given


def test_a_form_is_shown_as_it_is() -> None:
    @task(input_schema=Order)
    def ask(number: int, note: str = "x", urgent: bool = False, tags: Any = (), day: Any = None):
        pass

    form = fill_in(ask, number="2", urgent="on", tags=["b"], day="2026-01-02")
    assert form.is_valid(), form.errors
    assert form.input == {"number": 2, "urgent": True, "tags": ["b"], "day": "2026-01-02"}
    assert set(fill_in(ask, number="0").errors) == {"number"}
    assert fill_in(ask, number="1", note="no").non_field_errors() == ["Not with this note."]


class Parcel(BaseModel):
    weight: float = Field(gt=0, title="Weight in kg")
    to: str = Field(alias="recipient")
    parts: list[int] = [1]


def test_the_fields_of_a_pydantic_model_are_asked_for() -> None:
    @task(input_schema=Parcel)
    def ask(weight: float, to: str, parts: Any) -> None: ...

    form = fill_in(ask, weight="1.5", to="Ada")
    assert form["weight"].label == "Weight in kg"
    assert form.is_valid(), form.errors
    assert form.given == {"weight": 1.5, "recipient": "Ada"}
    assert form.input == {"weight": 1.5, "to": "Ada", "parts": [1]}
    form = fill_in(ask, {"weight": 1, "to": "Ada", "parts": []}, weight="-1", parts='["x"]')
    assert set(form.errors) == {"weight", "parts"}
    assert str(form.errors["parts"][0]).startswith("0: ")


@override_settings(DJANGO_JOBS={"REDACT": ["token", "pin"]})
def test_a_secret_is_not_shown_and_kept_where_it_is_left_empty() -> None:
    @task
    def ask(token: str, pin: int, name: str, default: dict[str, str] | None = None) -> None: ...

    stored = {"token": "secret-1", "pin": 98765, "name": "x"}
    page = input_form(ask, stored)().as_p()
    assert 'type="password" name="input-token"' in page
    assert "secret-1" not in page
    assert "98765" not in page
    form = fill_in(ask, stored, name="y")
    assert form.is_valid(), form.errors
    assert form.input == stored | {"name": "y"}
    form = fill_in(ask, stored, token="secret-2")
    assert form.is_valid(), form.errors
    assert form.input["token"] == "secret-2"
    assert "secret-2" not in form.as_p()
    assert set(fill_in(ask, name="y").errors) == {"token", "pin"}


@override_settings(DJANGO_JOBS={"REDACT": ["token"]})
def test_a_secret_of_a_form_is_kept_too() -> None:
    class Login(forms.Form):
        token = forms.CharField(min_length=4)
        name = forms.CharField()

    @task(input_schema=Login)
    def ask(token: str, name: str) -> None: ...

    form = fill_in(ask, {"token": "secret", "name": "x"}, name="y")
    assert "secret" not in form.as_p()
    assert form.is_valid(), form.errors
    assert form.input == {"token": "secret", "name": "y"}


@override_settings(DJANGO_JOBS={"REDACT": ["token"]})
def test_a_secret_within_json_is_put_back_or_asked_for() -> None:
    @task
    def ask(accounts: list[dict[str, str]], one: dict[str, str]) -> None: ...

    stored = {
        "accounts": [{"id": "1", "token": "first"}, {"id": "2", "token": "second"}],
        "one": {"token": "third", "name": "x"},
    }
    page = input_form(ask, stored)().as_p()
    for secret in ("first", "second", "third"):
        assert secret not in page
    hidden = {"token": "•••"}
    form = fill_in(
        ask, stored, accounts=json.dumps([{"id": "2", **hidden}, {"id": "1", **hidden}]),
        one=json.dumps({**hidden, "name": "y"}),
    )  # fmt: skip
    assert form.is_valid(), form.errors
    assert form.input == {
        "accounts": [{"id": "2", "token": "second"}, {"id": "1", "token": "first"}],
        "one": {"token": "third", "name": "y"},
    }
    form = fill_in(ask, stored, accounts=json.dumps([{"id": "3", **hidden}]))
    assert set(form.errors) == {"accounts"}


def test_the_arguments_of_a_function_of_djangos_tasks_are_asked_for() -> None:
    def ask(number: int, *rest: int, day: date = date(2026, 1, 2), **more: int) -> None: ...

    schema = ArgumentsSchema(ask, takes_context=False, where="The task 'ask'")
    declared = register_task("ask", handler="nowhere.at_all")
    declared.input_schema = schema
    form = fill_in(declared, number="1", **{"**": '{"*rest": [2, 3], "other": 4}'})
    assert form.is_valid(), form.errors
    assert form.input == {"number": 1, "*rest": [2, 3], "other": 4}
    assert set(fill_in(declared, number="x").errors) == {"number"}
    wrong = fill_in(declared, number="1", **{"**": '{"*rest": 4}'})
    assert wrong.errors["**"] == ["*rest: It must be a list."]
