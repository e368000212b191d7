from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum, auto
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType, Optional, TypedDict, Union
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pydantic
import pytest
from django import forms
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import models
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from django_jobs.exceptions import InvalidInputError
from django_jobs.queue.json import normalise
from django_jobs.tasks.schema import InputSchema, input_schema, output_schema
from tests.testapp.models import Entry

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]  # noqa: F401

UserId = NewType("UserId", int)
SECRET = "hunter2"


class Color(Enum):
    RED = "r"
    BLUE = "b"


class Weekday(Enum):
    MONDAY = date(2026, 1, 5)
    PAIR = (1, 2)


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Level(StrEnum):
    LOW = auto()


class Rights(Flag):
    READ = 1
    WRITE = 2


class State(models.TextChoices):
    OPEN = "open", "Open"


@dataclass
class Point:
    x: int


class Options(TypedDict):
    x: int


def of(handler: Callable[..., Any] | None, schema: Any = None, **options: Any) -> InputSchema:
    return input_schema(
        handler, schema, **{"takes_context": False, "where": "Task 'mail'", **options}
    )


def accepting(annotation: Any) -> InputSchema:
    """Return the schema of a handler with one parameter, annotated so."""

    def handler(value): ...

    handler.__annotations__ = {"value": annotation}
    return of(handler)


def round_trip(annotation: Any, value: Any) -> Any:
    schema = accepting(annotation)
    stored = schema.validate({"value": value})
    assert normalise(stored) == stored
    return schema.restore(stored)["value"]


def errors_of(schema: InputSchema, **given: Any) -> dict[str, list[str]]:
    with pytest.raises(InvalidInputError) as raised:
        schema.validate(given)
    assert str(raised.value).startswith("Task 'mail' cannot take this input: ")
    assert str(raised.value).endswith(".")
    assert SECRET not in str(raised.value) + repr(raised.value.errors)
    assert all(field in str(raised.value) for field in raised.value.errors if field != "__all__")
    return raised.value.errors


def sync_media(media_id: int, size: Size = Size.SMALL, *, note: str = "") -> None: ...


class TestNames:
    def test_arguments_are_stored_by_name_without_defaults(self) -> None:
        schema = of(sync_media)
        given = schema.bind((3,), {"note": "now"})
        assert schema.validate(given) == {"media_id": 3, "note": "now"}

    def test_every_offending_field_is_named(self) -> None:
        with pytest.raises(InvalidInputError) as raised:
            of(sync_media).validate({"size": SECRET, "note": 5, "speed": SECRET})
        assert raised.value.errors == {
            "media_id": ["It is missing."],
            "size": ["It must be a value of Size."],
            "note": ["It must be text."],
            "speed": ["It is not an argument that is taken."],
        }
        assert str(raised.value) == (
            "Task 'mail' cannot take this input: media_id is missing; "
            "size must be a value of Size; note must be text; "
            "speed is not an argument that is taken."
        )

    @pytest.mark.parametrize(
        ("args", "kwargs", "field"),
        [((1, 2, 3), {}, "__all__"), ((1,), {"media_id": 2}, "media_id")],
    )
    def test_positional_arguments_too_many_or_given_twice(
        self, args: tuple, kwargs: dict, field: str
    ) -> None:
        with pytest.raises(InvalidInputError) as raised:
            of(sync_media).bind(args, kwargs)
        assert list(raised.value.errors) == [field]

    def test_the_context_is_not_input(self) -> None:
        def handler(ctx: Any, /, user_id: int) -> None: ...

        schema = of(handler, takes_context=True)
        assert schema.bind((7,), {}) == {"user_id": 7}
        assert list(errors_of(schema, ctx=1)) == ["user_id", "ctx"]

    def test_other_keywords_take_unknown_names(self) -> None:
        def handler(first: int, **others: date) -> None: ...

        schema = of(handler)
        stored = schema.validate({"first": 1, "day": "2026-01-05"})
        assert stored == {"first": 1, "day": "2026-01-05"}
        assert schema.restore(stored) == {"first": 1, "day": date(2026, 1, 5)}
        assert list(errors_of(schema, first=1, day=5)) == ["day"]
        assert list(errors_of(schema, first=1, **{"da\x00y": date.max})) == ["da\x00y"]

    @pytest.mark.parametrize("given", [[("media_id", 1)], None, "media_id"])
    def test_input_is_a_mapping(self, given: Any) -> None:
        with pytest.raises(InvalidInputError, match="the input must be a mapping"):
            of(sync_media).validate(given)

    def test_names_that_are_not_text_are_unknown(self) -> None:
        with pytest.raises(InvalidInputError) as raised:
            of(lambda **others: None).validate({1: 2})  # type: ignore[dict-item]
        assert list(raised.value.errors) == ["1"]

    def test_a_handler_that_is_not_known_yet_takes_any_json(self) -> None:
        schema = of(None)
        assert schema.validate({"a": date(2026, 1, 5)}) == {"a": "2026-01-05"}
        assert list(errors_of(schema, a=object(), b=1)) == ["a"]
        with pytest.raises(InvalidInputError, match="1 positional"):
            schema.bind((1,), {})

    @pytest.mark.parametrize(
        ("handler", "sentence"),
        [
            (lambda *values: None, r"cannot take \*values"),
            (lambda value, /: None, "positional-only parameter 'value'"),
        ],
    )
    def test_parameters_without_a_name_are_refused_at_declaration(
        self, handler: Any, sentence: str
    ) -> None:
        with pytest.raises(ImproperlyConfigured, match=f"Task 'mail' .*{sentence}"):
            of(handler)

    @pytest.mark.parametrize("handler", [lambda: None, lambda *, ctx: None])
    def test_a_handler_without_room_for_the_context_is_refused(self, handler: Any) -> None:
        with pytest.raises(ImproperlyConfigured, match="no first argument"):
            of(handler, takes_context=True)

    def test_partials_and_callable_objects_have_signatures(self) -> None:
        class Handler:
            def __call__(self, color: Color) -> None: ...

        for handler in (Handler(), functools.partial(lambda media, color: None, 1)):
            assert of(handler).validate({"color": Color.RED.value}) == {"color": "r"}
        assert of(Handler()).restore({"color": "r"}) == {"color": Color.RED}

    def test_input_that_needs_no_restoring_is_given_as_it_is(self) -> None:
        stored = {"media_id": 3}
        assert of(lambda media_id: None).restore(stored) is stored


class TestAnnotations:
    @pytest.mark.parametrize(
        ("annotation", "value"),
        [
            (int, 3),
            (int, 10**30),
            (float, 2.5),
            (float, 3),
            (str, "é\n"),
            (bool, False),
            (None, None),
            (Any, {"a": [1, None, "x"]}),
            (object, [1]),
            (datetime, datetime(2026, 1, 5, 1, 2, 3, 456789)),
            (datetime, datetime(2026, 1, 5, tzinfo=UTC)),
            (datetime, datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=timezone(timedelta(hours=1)))),
            (date, date(2026, 1, 5)),
            (time, time(1, 2, 3, 456789)),
            (time, time(1, 2, tzinfo=UTC)),
            (timedelta, timedelta(days=-2, microseconds=1)),
            (Decimal, Decimal("1.10")),
            (UUID, UUID(int=5)),
            (Color, Color.BLUE),
            (Weekday, Weekday.MONDAY),
            (Weekday, Weekday.PAIR),
            (Size, Size.LARGE),
            (Level, Level.LOW),
            (State, State.OPEN),
            (Rights, Rights.READ | Rights.WRITE),
            (Literal["a", 1, None], 1),
            (Literal[Color.RED, "x"], Color.RED),
            (Optional[date], None),  # noqa: UP045
            (date | None, date(2026, 1, 5)),
            (Union[int, Decimal], Decimal(5)),  # noqa: UP007
            (int | Decimal, 5),
            (int | float, 5),
            (str | date, date(2026, 1, 5)),
            (str | date, "tomorrow"),
            (list[date] | date, [date(2026, 1, 5)]),
            (list[int] | list[str], ["a"]),
            (list, [1, "a"]),
            (list[Color], [Color.RED, Color.BLUE]),
            (Sequence[Decimal], [Decimal(1)]),
            (dict, {"a": 1}),
            (dict[str, date], {"a": date(2026, 1, 5)}),
            (dict[int, UUID], {1: UUID(int=1)}),
            (dict[Color, int], {Color.RED: 1}),
            (dict[str, list[time | None]], {"a": [time(1), None]}),
            (Mapping[str, Any], {"a": {"b": 1}}),
            (tuple, (1, "a")),
            (tuple[Decimal, ...], (Decimal(1), Decimal(2))),
            (tuple[int, date], (1, date(2026, 1, 5))),
            (set[int], {3, 1, 2}),
            (frozenset[Color], frozenset({Color.RED, Color.BLUE})),
            (set, {1}),
            (Annotated[date, "the day"], date(2026, 1, 5)),
            (Annotated[date, 1] | None, date(2026, 1, 5)),
            (UserId, 3),
            (Point, {"x": 1}),
            (Options, {"x": 1}),
            (Callable[[], int], {"anything": 1}),
            ("list[date]", [date(2026, 1, 5)]),
            (list["Color"], [Color.RED]),
            ("Unknown", 5),
            ("list[Unknown]", 5),
            ("not even Python", 5),
        ],
    )
    def test_the_handler_gets_back_what_was_given(self, annotation: Any, value: Any) -> None:
        restored = round_trip(annotation, value)
        assert restored == value
        wanted = float if annotation is float else type(value)
        assert type(restored) is wanted

    @pytest.mark.parametrize(
        ("annotation", "value", "expected"),
        [
            (datetime, "2026-01-05T01:02:03Z", datetime(2026, 1, 5, 1, 2, 3, tzinfo=UTC)),
            (date, "2026-01-05", date(2026, 1, 5)),
            (time, "10:30", time(10, 30)),
            (timedelta, "P1DT2H", timedelta(days=1, hours=2)),
            (Decimal, "1.5", Decimal("1.5")),
            (Decimal, 2, Decimal(2)),
            (UUID, str(UUID(int=5)), UUID(int=5)),
            (Color, "r", Color.RED),
            (Size, 2, Size.LARGE),
            (Weekday, "2026-01-05", Weekday.MONDAY),
            (Literal[Color.RED], "r", Color.RED),
            (dict[int, str], {"1": "a"}, None),
            (set[int], [1, 1, 2], {1, 2}),
            (tuple[int, ...], [1, 2], (1, 2)),
            (list[int], (1, 2), [1, 2]),
            (str, gettext_lazy("Name"), "Name"),
        ],
    )
    def test_what_json_has_for_a_type_is_accepted(
        self, annotation: Any, value: Any, expected: Any
    ) -> None:
        if expected is None:
            assert list(errors_of(accepting(annotation), value=value)) == ["value"]
        else:
            assert round_trip(annotation, value) == expected

    @pytest.mark.parametrize(
        ("annotation", "value", "problem"),
        [
            (int, "3", "It must be an integer."),
            (int, True, "It must be an integer."),
            (int, 3.0, "It must be an integer."),
            (int, None, "It must be an integer."),
            (float, SECRET, "It must be a number."),
            (float, True, "It must be a number."),
            (float, float("nan"), "It must be a finite number."),
            pytest.param(float, 10**400, "It must be a number.", id="huge"),
            (str, 5, "It must be text."),
            (str, b"x", "It must be text."),
            (bool, 1, "It must be true or false."),
            (datetime, SECRET, "It must be a date and time."),
            (datetime, date(2026, 1, 5), "It must be a date and time."),
            (datetime, "2026-02-30T00:00", "It must be a date and time."),
            (date, datetime(2026, 1, 5), "It must be a date without a time."),
            (date, 5, "It must be a date."),
            (time, "25:00", "It must be a time."),
            (timedelta, 5, "It must be a duration."),
            (Decimal, 0.1, "It must be a decimal number."),
            (Decimal, True, "It must be a decimal number."),
            (Decimal, SECRET, "It must be a decimal number."),
            (Decimal, Decimal("NaN"), "It must be a finite number."),
            (UUID, SECRET, "It must be a UUID."),
            (Color, "green", "It must be a value of Color."),
            (Size, True, "It must be a value of Size."),
            (Size, Color.RED, None),
            (Literal["a", "b"], SECRET, "It must be one of 'a', 'b'."),
            (Literal[1], True, "It must be one of 1."),
            (int | None, SECRET, "It must be an integer or None."),
            (list[int], [1, SECRET], "Item 2 must be an integer."),
            (list[int], "12", "It must be a list."),
            (list[int], {1}, "It must be a list."),
            (list[list[int]], [[1], [1, None]], "Item 2, item 2 must be an integer."),
            (dict[str, int], {"a": SECRET}, "One of its values must be an integer."),
            (dict[str, int], {1: 1}, "One of its keys must be text."),
            (dict[str, int], [1], "It must be a mapping."),
            (tuple[int, int], (1, 2, 3), "It must be a list of 2."),
            (set[int], 5, "It must be a set or a list."),
        ],
    )
    def test_a_value_of_a_wrong_type_is_named(
        self, annotation: Any, value: Any, problem: str | None
    ) -> None:
        errors = errors_of(accepting(annotation), value=value)
        assert list(errors) == ["value"]
        assert problem is None or errors["value"] == [problem]

    @pytest.mark.parametrize(
        "value",
        [
            object(),
            float("nan"),
            [float("inf")],
            "a\x00b",
            {"a": ["\x00"]},
            {"\x00": 1},
            "\ud800",
            b"bytes",
            {1, 2},
            Color.RED,
            pytest.param(10**5000, id="huge"),
            {(1, 2): 3},
            Point(1),
        ],
    )
    @pytest.mark.parametrize("annotation", [Any, list, dict, str, Point])
    def test_what_json_cannot_hold_is_named(self, annotation: Any, value: Any) -> None:
        assert list(errors_of(accepting(annotation), value=value)) == ["value"]

    def test_a_list_in_itself_is_named(self) -> None:
        endless: list = []
        endless.append(endless)
        assert list(errors_of(accepting(Any), value=endless)) == ["value"]

    @pytest.mark.parametrize("value", [Entry(), [Entry()], {"a": (Entry(),)}])
    def test_a_model_instance_is_refused_with_the_remedy(self, value: Any) -> None:
        (message,) = errors_of(accepting(Any), value=value)["value"]
        assert message == "It is or holds a Entry; pass its primary key instead."

    def test_dates_without_annotation_are_kept_as_text(self) -> None:
        assert round_trip(Any, date(2026, 1, 5)) == "2026-01-05"

    def test_a_default_of_none_makes_the_parameter_optional(self) -> None:
        def handler(day: date = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

        assert of(handler).restore(of(handler).validate({"day": None})) == {"day": None}

    def test_local_annotations_resolve_each_for_itself(self) -> None:
        class Local: ...

        def handler(a: Local, day: date) -> None: ...

        stored = of(handler).validate({"a": 1, "day": date(2026, 1, 5)})
        assert of(handler).restore(stored) == {"a": 1, "day": date(2026, 1, 5)}

    def test_stored_input_of_an_older_signature_is_an_error_that_names_it(self) -> None:
        with pytest.raises(InvalidInputError) as raised:
            accepting(list[date]).restore({"value": ["2026-01-05", SECRET]})
        assert raised.value.errors == {"value": ["Item 2 must be a date."]}

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="type aliases are of Python 3.12")
    def test_type_aliases_are_followed_even_into_themselves(self) -> None:
        names: dict[str, Any] = {"date": date}
        exec("type Day = date\ntype Tree = list[Tree] | Day\ntype Broken = Nowhere", names)
        assert round_trip(names["Day"], date(2026, 1, 5)) == date(2026, 1, 5)
        assert round_trip(names["Tree"], [date(2026, 1, 5)]) == ["2026-01-05"]
        assert round_trip(names["Tree"], date(2026, 1, 5)) == date(2026, 1, 5)
        assert round_trip(names["Broken"], [5]) == [5]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5)
ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=-30))])
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**70), 2**70),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    datetime: st.datetimes(timezones=ZONES),
    date: st.dates(),
    time: st.times(timezones=ZONES),
    timedelta: st.timedeltas(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    UUID: st.uuids(),
    Color: st.sampled_from(Color),
    Size: st.sampled_from(Size),
}


@st.composite
def annotated_values(draw: st.DrawFn, depth: int = 2) -> tuple[Any, st.SearchStrategy[Any]]:
    """Return an annotation and the values that it accepts."""
    shapes = ["scalar", "optional", "list", "dict", "tuple", "fixed"]
    shape = draw(st.sampled_from(shapes)) if depth else "scalar"
    if shape == "scalar":
        annotation = draw(st.sampled_from(list(SCALARS)))
        return annotation, SCALARS[annotation]
    drawn = draw(annotated_values(depth - 1))
    inner: Any = drawn[0]
    values = drawn[1]
    return {
        "optional": lambda: (inner | None, st.none() | values),
        "list": lambda: (list[inner], st.lists(values, max_size=3)),
        "dict": lambda: (dict[str, inner], st.dictionaries(TEXT, values, max_size=3)),
        "tuple": lambda: (tuple[inner, ...], st.lists(values, max_size=3).map(tuple)),
        "fixed": lambda: (tuple[inner, int], st.tuples(values, SCALARS[int])),
    }[shape]()


@given(st.data())
def test_every_typed_value_survives_storing(data: st.DataObject) -> None:
    annotation, values = data.draw(annotated_values())
    value = data.draw(values)
    restored = round_trip(annotation, value)
    assert restored == value
    assert shape(restored) == shape(value)


def shape(value: Any) -> Any:
    """Return the types of a value and of what is in it; 3 and 3.0 are equal, but not alike."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [shape(part) for part in value]
    return type(value)


@given(st.sampled_from(list(SCALARS)), st.text() | st.integers() | st.floats() | st.none())
def test_any_scalar_is_stored_or_refused(annotation: Any, value: Any) -> None:
    schema = accepting(annotation)
    with contextlib.suppress(InvalidInputError):
        stored = schema.validate({"value": value})
        assert schema.validate(schema.restore(stored)) == normalise(stored)


def test_a_zoned_time_is_the_same_moment() -> None:
    zoned = datetime(2026, 10, 25, 2, 30, 0, 1, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    assert round_trip(datetime, zoned).astimezone(UTC) == zoned.astimezone(UTC)


class OrderForm(forms.Form):
    day = forms.DateField()
    price = forms.DecimalField(max_digits=6, decimal_places=2)
    kind = forms.ChoiceField(choices=[("a", "A"), ("b", "B")], required=False)
    note = forms.CharField(required=False, max_length=20)

    def clean(self) -> None:
        if self.cleaned_data.get("note") == "both":
            raise ValidationError("Not both.")


def order(day: date, price: Decimal, kind: str, note: str = "none") -> None: ...


class TestForm:
    def test_the_handler_gets_the_cleaned_types(self) -> None:
        schema = of(order, OrderForm)
        stored = schema.validate({"day": "2026-01-05", "price": Decimal("1.50"), "note": " x "})
        assert stored == {"day": "2026-01-05", "price": "1.50", "kind": "", "note": "x"}
        assert schema.restore(stored) == {
            "day": date(2026, 1, 5),
            "price": Decimal("1.50"),
            "kind": "",
            "note": "x",
        }

    def test_an_empty_field_left_out_keeps_the_default_of_the_handler(self) -> None:
        given = {"day": date(2026, 1, 5), "price": 1}
        stored = of(order, OrderForm).validate(given)
        assert "note" not in stored
        assert of(order, OrderForm).validate({**given, "note": ""})["note"] == ""
        assert of(None, OrderForm).validate(given)["note"] == ""

    def test_every_offending_field_is_named_without_its_value(self) -> None:
        errors = errors_of(of(order, OrderForm), price="x", kind=SECRET, speed=1, note="both")
        assert list(errors) == ["speed", "day", "price", "kind", "__all__"]
        assert errors["day"] == ["This field is required."]
        assert errors["kind"] == ["Select a valid choice. ••• is not one of the available choices."]
        assert errors["__all__"] == ["Not both."]

    def test_what_json_cannot_hold_is_named(self) -> None:
        given = {"day": date.max, "price": 1, "note": "\ud800"}
        assert list(errors_of(of(order, OrderForm), **given)) == ["note"]

    def test_input_is_a_mapping(self) -> None:
        with pytest.raises(InvalidInputError, match="the input must be a mapping"):
            of(order, OrderForm).validate([1])  # type: ignore[arg-type]

    def test_every_typed_field_comes_back_as_it_was_cleaned(self) -> None:
        class Form(forms.Form):
            at = forms.DateTimeField()
            hour = forms.TimeField(input_formats=["%Hh"])
            span = forms.DurationField()
            id = forms.UUIDField()
            ratio = forms.FloatField()
            color = forms.TypedChoiceField(choices=[(c.value, c.name) for c in Color], coerce=Color)
            sizes = forms.TypedMultipleChoiceField(
                choices=[(s.value, s.name) for s in Size], coerce=lambda v: Size(int(v))
            )
            flag = forms.TypedChoiceField(
                choices=[("True", "yes"), ("False", "no")], coerce=lambda v: v == "True"
            )
            state = forms.ChoiceField(choices=State)
            level = forms.CharField()

        def handler(
            at: Any, hour: Any, span: Any, id: Any, ratio: Any, color: Any, sizes: Any,
            flag: bool, state: State, level: Level,
        ) -> None: ...  # fmt: skip

        id_, at = uuid4(), datetime(2026, 1, 5, 1, 2, 3, 456789, tzinfo=UTC)
        schema = of(handler, Form)
        stored = schema.validate(
            {"at": at, "hour": "10h", "span": timedelta(seconds=5.5), "id": id_, "ratio": 2}
            | {"color": "r", "sizes": [1, 2], "flag": "True", "state": "open", "level": "low"}
        )
        assert normalise(stored) == stored
        restored = schema.restore(stored)
        assert restored == {
            "at": at,
            "hour": time(10),
            "span": timedelta(seconds=5.5),
            "id": id_,
            "ratio": 2.0,
            "color": Color.RED,
            "sizes": [Size.SMALL, Size.LARGE],
            "flag": True,
            "state": State.OPEN,
            "level": Level.LOW,
        }
        assert type(restored["state"]) is State
        assert list(errors_of(schema, **{**stored, "hour": "10h", "level": "high"})) == ["level"]

    @pytest.mark.django_db
    def test_of_a_model_choice_the_primary_key_is_stored_and_passed(self) -> None:
        class Form(forms.Form):
            entry = forms.ModelChoiceField(Entry.objects.all())
            others = forms.ModelMultipleChoiceField(Entry.objects.all(), required=False)

        entry = Entry.objects.create(name="a")
        schema = of(lambda entry, others: None, Form)
        for value in (entry, entry.pk, str(entry.pk)):
            stored = schema.validate({"entry": value, "others": [entry.pk]})
            assert stored == {"entry": entry.pk, "others": [entry.pk]}
            assert schema.restore(stored) == stored
        assert list(errors_of(schema, entry=entry.pk + 1)) == ["entry"]

    @pytest.mark.parametrize(
        ("handler", "sentence"),
        [
            (lambda day, price: None, "no parameter for: 'kind', 'note'"),
            (lambda day, price, kind, note, speed: None, "no field for 'speed'"),
        ],
    )
    def test_a_form_that_does_not_fit_the_handler_is_refused_at_declaration(
        self, handler: Any, sentence: str
    ) -> None:
        with pytest.raises(ImproperlyConfigured, match=f"Task 'mail' .*{sentence}"):
            of(handler, OrderForm)

    def test_other_keywords_take_every_field(self) -> None:
        schema = of(lambda day, **others: None, OrderForm)
        stored = schema.validate({"day": "2026-01-05", "price": "2"})
        assert schema.restore(stored)["price"] == Decimal(2)

    def test_output_is_what_the_form_cleans(self) -> None:
        schema = output_schema(OrderForm)
        assert schema is not None
        assert schema.validate({"day": date(2026, 1, 5), "price": 2}) == {
            "day": "2026-01-05",
            "price": "2",
            "kind": "",
            "note": "",
        }
        for output in (None, {"day": "x", "price": 1}, {"day": date.max, "price": 1, "a": 1}):
            with pytest.raises(InvalidInputError, match="The task returned an invalid output: "):
                schema.validate(output)


class Item(pydantic.BaseModel):
    size: int


class Order(pydantic.BaseModel):
    day: date
    items: list[Item] = []
    price: Decimal = Decimal("1.5")
    color: Color | None = None


def pack(day: date, items: list[Item], price: Decimal, color: Color | None = None) -> None: ...


class TestPydantic:
    def test_the_handler_gets_the_values_of_the_model(self) -> None:
        schema = of(pack, Order)
        stored = schema.validate({"day": date(2026, 1, 5), "items": [{"size": 1}], "color": "r"})
        assert stored == {
            "day": "2026-01-05",
            "items": [{"size": 1}],
            "price": "1.5",
            "color": "r",
        }
        assert schema.restore(stored) == {
            "day": date(2026, 1, 5),
            "items": [Item(size=1)],
            "price": Decimal("1.5"),
            "color": Color.RED,
        }

    def test_every_offending_field_is_named_without_its_value(self) -> None:
        errors = errors_of(of(pack, Order), items=[{"size": SECRET}], price=SECRET, speed=1)
        assert list(errors) == ["speed", "day", "items.0.size", "price"]
        assert errors["day"] == ["Field required"]

    def test_unknown_names_alone_are_an_error(self) -> None:
        assert list(errors_of(of(pack, Order), day=date.max, speed=1)) == ["speed"]

    def test_the_error_does_not_drag_the_values_along(self) -> None:
        with pytest.raises(InvalidInputError) as raised:
            of(pack, Order).validate({"day": SECRET})
        assert raised.value.__suppress_context__

    def test_models_may_allow_other_names(self) -> None:
        class Open(pydantic.BaseModel):
            model_config = pydantic.ConfigDict(extra="allow")
            day: date

        schema = of(lambda day, **others: None, Open)
        stored = schema.validate({"day": "2026-01-05", "a": 1})
        assert schema.restore(stored) == {"day": date(2026, 1, 5), "a": 1}

    def test_aliases_are_accepted_and_fields_stored_by_name(self) -> None:
        class Aliased(pydantic.BaseModel):
            model_config = pydantic.ConfigDict(strict=True)
            day: date = pydantic.Field(alias="theDay")
            size: int = pydantic.Field(
                validation_alias=pydantic.AliasChoices("sz", pydantic.AliasPath("dims", 0))
            )

        schema = of(lambda day, size: None, Aliased)
        stored = schema.validate({"theDay": date(2026, 1, 5), "dims": [4]})
        assert stored == {"day": "2026-01-05", "size": 4}
        assert schema.restore(stored) == {"day": date(2026, 1, 5), "size": 4}

    def test_computed_fields_are_not_input(self) -> None:
        class Computed(pydantic.BaseModel):
            model_config = pydantic.ConfigDict(extra="forbid")
            size: int

            @pydantic.computed_field
            def double(self) -> int:
                return self.size * 2

        schema = of(lambda size: None, Computed)
        assert schema.restore(schema.validate({"size": 2})) == {"size": 2}

    def test_what_json_cannot_hold_is_named(self) -> None:
        class Loose(pydantic.BaseModel):
            a: float
            b: Any
            c: str

        schema = of(lambda a, b, c: None, Loose)
        errors = errors_of(schema, a=float("nan"), b=object(), c="\x00")
        assert list(errors) == ["a", "b", "c"]

    def test_input_is_a_mapping(self) -> None:
        with pytest.raises(InvalidInputError, match="the input must be a mapping"):
            of(pack, Order).validate(Order(day=date.max))  # type: ignore[arg-type]

    def test_stored_input_that_no_longer_fits_is_an_error_that_names_it(self) -> None:
        with pytest.raises(InvalidInputError) as raised:
            of(pack, Order).restore({"day": SECRET})
        assert list(raised.value.errors) == ["day"]

    def test_a_model_that_does_not_fit_the_handler_is_refused_at_declaration(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="no parameter for: 'color'"):
            of(lambda day, items, price: None, Order)

    @pytest.mark.parametrize(
        "output", [Order(day=date(2026, 1, 5)), {"day": date(2026, 1, 5)}, {"day": "2026-01-05"}]
    )
    def test_output_is_the_model_as_json(self, output: Any) -> None:
        schema = output_schema(Order)
        assert schema is not None
        assert schema.validate(output) == {
            "day": "2026-01-05",
            "items": [],
            "price": "1.5",
            "color": None,
        }

    @pytest.mark.parametrize("output", [None, {"day": SECRET}, Item(size=1)])
    def test_wrong_output_is_named(self, output: Any) -> None:
        schema = output_schema(Order, where="Task 'mail'")
        assert schema is not None
        with pytest.raises(InvalidInputError) as raised:
            schema.validate(output)
        assert str(raised.value).startswith("Task 'mail' returned an invalid output: ")
        assert SECRET not in str(raised.value)

    def test_output_that_json_cannot_hold_is_refused(self) -> None:
        class Loose(pydantic.BaseModel):
            a: Any
            b: float = 0

        schema = output_schema(Loose)
        assert schema is not None
        for output in ({"a": object()}, {"a": 1, "b": float("nan")}, {"a": "\x00"}):
            with pytest.raises(InvalidInputError, match="the output"):
                schema.validate(output)


class TestKinds:
    @pytest.mark.parametrize("schema", [int, "OrderForm", OrderForm.base_fields, Point, {}])
    def test_a_schema_of_another_kind_is_refused_at_declaration(self, schema: Any) -> None:
        with pytest.raises(ImproperlyConfigured, match="neither a Django Form class nor"):
            of(sync_media, schema)
        with pytest.raises(ImproperlyConfigured, match="'output_schema'"):
            output_schema(schema)

    def test_no_output_schema_is_none(self) -> None:
        assert output_schema(None) is None

    def test_pydantic_is_imported_only_by_those_who_use_it(self) -> None:
        code = (
            "import sys\n"
            "sys.modules['pydantic'] = None\n"
            "from django_jobs.tasks.schema import input_schema\n"
            "s = input_schema(lambda a: None, None, takes_context=False, where='x')\n"
            "assert s.validate({'a': 1}) == {'a': 1}\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


def test_iterators_are_not_consumed() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    assert list(errors_of(accepting(list[int]), value=numbers())) == ["value"]
