"""From an annotation to the form field that asks for such a value."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models.enums import Choices
from django.utils.translation import gettext_lazy as _

DURATION_HELP = _("Such as 1:30:00 for an hour and a half, or 2 00:00:00 for two days.")
JSON_HELP = _("JSON.")
TEXT_OR_JSON_HELP = _("JSON; other text is taken as it is.")


class JSONInput(forms.JSONField):
    """JSON, indented, where an empty list or object is an answer."""

    empty_values = [None, ""]

    def __init__(self, **options: Any) -> None:
        options.setdefault("encoder", DjangoJSONEncoder)
        options.setdefault("widget", forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}))
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        if value is None:
            return ""
        if isinstance(value, str):
            return super().prepare_value(value)
        return json.dumps(value, ensure_ascii=False, indent=2, cls=self.encoder)


class TextOrJSONInput(JSONInput):
    """For a value of which no type is known: text need not be quoted."""

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except ValidationError:
            if str(value).lstrip()[:1] in "{[":
                raise
            return value


class OneOf(forms.TypedChoiceField):
    """One of several values, whatever their types; none is the empty choice."""

    def __init__(self, options: Sequence[tuple[Any, Any]], **rest: Any) -> None:
        values = {_key(value): value for value, _label in options}
        choices = [(_key(value), label) for value, label in options]
        super().__init__(
            choices=[("", "---------"), *choices], coerce=values.__getitem__, empty_value=None,
            **rest,
        )  # fmt: skip

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else _key(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.prepare_value(initial) != (data or ""))


def _key(value: Any) -> str:
    value = value.value if isinstance(value, Enum) else value
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _temporal(cls: type[forms.Field], kind: str, shape: str) -> Callable[..., forms.Field]:
    """Return what makes fields that a browser has a picker for."""

    def make(**options: Any) -> forms.Field:
        widget = forms.DateTimeInput(attrs={"type": kind, "step": "any"}, format=shape)
        return cls(widget=widget, **options)

    return make


datetime_input = _temporal(forms.DateTimeField, "datetime-local", "%Y-%m-%dT%H:%M:%S")


def _duration(**options: Any) -> forms.Field:
    return forms.DurationField(help_text=DURATION_HELP, **options)


def _text(**options: Any) -> forms.Field:
    return forms.CharField(strip=False, **options)


def _json(**options: Any) -> forms.Field:
    return JSONInput(help_text=JSON_HELP, **options)


def _anything(**options: Any) -> forms.Field:
    return TextOrJSONInput(help_text=TEXT_OR_JSON_HELP, **options)


BY_TYPE: dict[Any, Callable[..., forms.Field]] = {
    str: _text,
    int: forms.IntegerField,
    float: forms.FloatField,
    Decimal: forms.DecimalField,
    datetime: datetime_input,
    date: _temporal(forms.DateField, "date", "%Y-%m-%d"),
    time: _temporal(forms.TimeField, "time", "%H:%M:%S"),
    timedelta: _duration,
    UUID: forms.UUIDField,
}
CONTAINERS = (list, tuple, set, frozenset, dict)


def field_for(annotation: Any, *, required: bool) -> forms.Field:
    """Return the field for a resolved annotation, in doubt one that takes JSON."""
    annotation = _bare(annotation)
    members = _members(annotation)
    if types.NoneType in members:
        return _optional([member for member in members if member is not types.NoneType])
    if annotation is bool:
        # Not ticked is an answer.
        return forms.BooleanField(required=False)
    if get_origin(annotation) is Literal:
        return OneOf([(value, str(value)) for value in get_args(annotation)], required=required)
    return _class_field(annotation, required=required)


def _optional(members: Sequence[Any]) -> forms.Field:
    if len(members) != 1:
        return _anything(required=False)
    if _bare(members[0]) is bool:
        return OneOf([(True, _("Yes")), (False, _("No"))], required=False)
    return field_for(members[0], required=False)


def _class_field(annotation: Any, *, required: bool) -> forms.Field:
    cls = get_origin(annotation) or annotation
    if cls in BY_TYPE:
        return BY_TYPE[cls](required=required)
    if isinstance(cls, type) and issubclass(cls, Enum) and list(cls):
        return OneOf([(member.value, _label(member)) for member in cls], required=required)
    if isinstance(cls, type) and issubclass(cls, CONTAINERS):
        return _json(required=required)
    return _anything(required=required)


def _label(member: Enum) -> Any:
    return member.label if isinstance(member, Choices) else member.name


def _bare(annotation: Any) -> Any:
    """Return what an alias, a new type or metadata is about."""
    while True:
        if type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        else:
            return annotation


def _members(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return ()
