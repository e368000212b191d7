"""Input and output validated by a Django form."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import Model, QuerySet

from django_jobs.tasks.schema.base import (
    NOT_A_MAPPING,
    Errors,
    InputSchema,
    OutputSchema,
    check_fields,
    unknown_names,
)
from django_jobs.tasks.schema.kinds import (
    ANY,
    BY_TYPE,
    DATE,
    DATETIME,
    DECIMAL,
    FLOAT,
    TIME,
    TIMEDELTA,
    UUID_,
    Kind,
    Refused,
    json_ready,
)
from django_jobs.tasks.schema.parameters import Signature

HIDDEN = "•••"

# The first that a field is an instance of.
_KINDS: tuple[tuple[type[forms.Field], Kind], ...] = (
    (forms.DateTimeField, DATETIME),
    (forms.DateField, DATE),
    (forms.TimeField, TIME),
    (forms.DurationField, TIMEDELTA),
    (forms.DecimalField, DECIMAL),
    (forms.FloatField, FLOAT),
    (forms.UUIDField, UUID_),
)


class FormSchema(InputSchema):
    """Input as a form cleans it.

    The handler gets the cleaned types; of a model instance it gets the primary key. A field
    left out whose cleaned value is empty is left to the default of the parameter.
    """

    def __init__(self, form: type[forms.BaseForm], signature: Signature, where: str) -> None:
        super().__init__(signature, where)
        check_fields("input_schema", set(_fields(form)), signature, where)
        self.form = form

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        cleaned, errors = _cleaned(self.form, given)
        stored: dict[str, Any] = {}
        for name, value in cleaned.items():
            try:
                plain = self._plain(name, value)
            except Refused as refusal:
                errors.setdefault(name, []).append(refusal.sentence)
                continue
            if name in given or not self._is_left_out(name, plain):
                stored[name] = plain
        if errors:
            raise self.invalid(errors)
        return stored

    def restore(self, stored: dict[str, Any]) -> dict[str, Any]:
        restored = dict(stored)
        errors: Errors = {}
        for name, value in stored.items():
            try:
                restored[name] = self._restored(name, value)
            except Refused as refusal:
                errors[name] = [refusal.sentence]
        if errors:
            raise self.invalid(errors)
        return restored

    def _plain(self, name: str, value: Any) -> Any:
        value = _without_models(value)
        if _is_blank(value):
            return _storable(value)
        kind = self._kind(name)
        return _storable(value) if kind is ANY else kind.encode(value)

    def _restored(self, name: str, value: Any) -> Any:
        if _is_blank(value):
            return value
        if decode := self._kind(name).decode:
            return decode(value)
        return _coerced(_fields(self.form).get(name), value)

    def _kind(self, name: str) -> Kind:
        """Return what the field cleans to, or, where that is plain, what is annotated."""
        field = _fields(self.form).get(name)
        for cls, kind in _KINDS:
            if isinstance(field, cls):
                return kind
        parameter = self.signature.by_name.get(name)
        if parameter and parameter.kind.decode and not hasattr(field, "coerce"):
            return parameter.kind
        return ANY

    def _is_left_out(self, name: str, value: Any) -> bool:
        parameter = self.signature.by_name.get(name)
        optional = parameter is not None and not parameter.required
        return optional and (_is_blank(value) or value is False)


class FormOutput(OutputSchema):
    """Output as a form cleans it."""

    def __init__(self, form: type[forms.BaseForm], where: str) -> None:
        super().__init__(where)
        self.form = form

    def validate(self, value: Any) -> Any:
        cleaned, errors = _cleaned(self.form, value)
        stored: dict[str, Any] = {}
        for name, part in cleaned.items():
            try:
                stored[name] = _storable(_without_models(part))
            except Refused as refusal:
                errors.setdefault(name, []).append(refusal.sentence)
        if errors:
            raise self.invalid(errors)
        return stored


def _fields(form: Any) -> dict[str, forms.Field]:
    fields: dict[str, forms.Field] = form.base_fields
    return fields


def _cleaned(form_class: type[forms.BaseForm], given: Any) -> tuple[dict[str, Any], Errors]:
    """Return the cleaned values of the fields, and what is wrong."""
    if not isinstance(given, Mapping):
        return {}, {NON_FIELD_ERRORS: [NOT_A_MAPPING]}
    form = form_class(data=dict(given))
    errors = unknown_names(given, form.fields)
    for name, problems in form.errors.as_data().items():
        errors[name] = [message for problem in problems for message in _messages(problem)]
    cleaned = form.cleaned_data or {}
    return {name: cleaned[name] for name in form.fields if name in cleaned}, errors


def _messages(problem: ValidationError) -> list[str]:
    """Return the messages of an error without the value, which may be a secret."""
    params = problem.params
    if not params:
        return [str(problem.message)]
    hidden = {name: HIDDEN if name in ("value", "pk") else params[name] for name in params}
    try:
        return [str(problem.message) % hidden]
    except (TypeError, ValueError):
        return [f"It is not valid ({problem.code or 'invalid'})."]


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | tuple | dict | set) and not value)


def _without_models(value: Any) -> Any:
    """Return primary keys for the instances that a ModelChoiceField cleans to."""
    if isinstance(value, Model):
        return value.pk
    if isinstance(value, QuerySet):
        return [instance.pk for instance in value]
    return value


def _storable(value: Any) -> Any:
    """Return a cleaned value as JSON, in the full precision of its type."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, list | tuple | set | frozenset):
        return [_storable(_without_models(part)) for part in value]
    return BY_TYPE.get(type(value), ANY).encode(value)


def _coerced(field: forms.Field | None, value: Any) -> Any:
    """Return what a TypedChoiceField coerced to, if `coerce` gives that for the stored value.

    It may not: it was written for the text that a browser sends.
    """
    coerce = getattr(field, "coerce", None)
    if coerce is None:
        return value
    try:
        if isinstance(field, forms.TypedMultipleChoiceField):
            coerced = [coerce(part) for part in value]
        else:
            coerced = coerce(value)
        return coerced if _storable(coerced) == json_ready(value) else value
    except Exception:  # the project's own callable
        return value
