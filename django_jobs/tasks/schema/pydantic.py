"""Input and output validated by a pydantic model; imported only where one is used."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS
from pydantic import AliasChoices, AliasPath, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from django_jobs.tasks.schema.base import (
    NO_DEFAULT,
    NOT_A_MAPPING,
    Errors,
    InputField,
    InputSchema,
    OutputSchema,
    check_fields,
    unknown_names,
)
from django_jobs.tasks.schema.kinds import Refused, json_ready
from django_jobs.tasks.schema.parameters import Signature

# Stored by field name; before pydantic 2.11 it could only be read back by alias.
_BY_NAME: dict[str, Any] = (
    {"by_name": True, "by_alias": False}
    if "by_name" in inspect.signature(BaseModel.model_validate_json).parameters
    else {}
)


class PydanticSchema(InputSchema):
    """Input as a model validates it; the handler gets the values of the model's fields."""

    def __init__(self, model: type[BaseModel], signature: Signature, where: str) -> None:
        super().__init__(signature, where)
        check_fields("input_schema", set(model.model_fields), signature, where)
        self.model = model

    @property
    def fields(self) -> list[InputField]:
        return [_input_field(name, info) for name, info in self.model.model_fields.items()]

    @property
    def takes_more(self) -> bool:
        return self.model.model_config.get("extra") == "allow"

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(given, dict):
            raise self.invalid({NON_FIELD_ERRORS: [NOT_A_MAPPING]})
        errors = self._unknown(given)
        try:
            model = self.model.model_validate(given)
        except ValidationError as error:
            # Without the cause, whose text has the values.
            raise self.invalid(errors | _errors_of(error)) from None
        if errors:
            raise self.invalid(errors)
        stored, errors = _stored(model)
        if errors:
            raise self.invalid(errors)
        return stored

    def restore(self, stored: dict[str, Any]) -> dict[str, Any]:
        try:
            # As JSON, so that strict models take text for dates.
            model = self.model.model_validate_json(json.dumps(stored), **_BY_NAME)
        except ValidationError as error:
            raise self.invalid(_errors_of(error)) from None
        return {name: getattr(model, name) for name in _names(model)}

    def _unknown(self, given: dict[str, Any]) -> Errors:
        if self.takes_more:
            return {}
        return unknown_names(given, _accepted_names(self.model))


class PydanticOutput(OutputSchema):
    """Output as a model validates it; instances of the model are accepted."""

    def __init__(self, model: type[BaseModel], where: str) -> None:
        super().__init__(where)
        self.model = model

    def validate(self, value: Any) -> Any:
        try:
            model = self.model.model_validate(value)
        except ValidationError as error:
            raise self.invalid(_errors_of(error)) from None
        try:
            return json_ready(model.model_dump(mode="json", by_alias=False))
        except Refused as refusal:
            raise self.invalid({NON_FIELD_ERRORS: [refusal.sentence]}) from None
        except ValueError:
            problem = "It cannot be stored as JSON."
            raise self.invalid({NON_FIELD_ERRORS: [problem]}) from None


def _names(model: BaseModel) -> list[str]:
    return [*type(model).model_fields, *(model.model_extra or ())]


def _stored(model: BaseModel) -> tuple[dict[str, Any], Errors]:
    """Return the fields of a model as JSON, and those that JSON cannot hold."""
    stored: dict[str, Any] = {}
    errors: Errors = {}
    for name in _names(model):
        try:
            dumped = model.model_dump(mode="json", include={name}, by_alias=False)
            if name in dumped:
                stored[name] = json_ready(dumped[name])
        except Refused as refusal:
            errors[name] = [refusal.sentence]
        except ValueError:
            errors[name] = ["It cannot be stored as JSON."]
    return stored, errors


def _errors_of(error: ValidationError) -> Errors:
    """Return messages by place: "size", or "items.0.price" within a field."""
    errors: Errors = {}
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        place = ".".join(str(part) for part in detail["loc"]) or NON_FIELD_ERRORS
        errors.setdefault(place, []).append(detail["msg"])
    return errors


def _input_field(name: str, info: FieldInfo) -> InputField:
    has_default = info.default is not PydanticUndefined
    return InputField(
        name=name, given_as=next(_aliases(info), name), annotation=info.annotation,
        required=info.is_required(), default=info.default if has_default else NO_DEFAULT,
        label=info.title or "", help_text=info.description or "",
    )  # fmt: skip


def _accepted_names(model: type[BaseModel]) -> set[str]:
    """Return every name by which a field may be given."""
    fields = model.model_fields
    return {*fields, *(name for info in fields.values() for name in _aliases(info))}


def _aliases(info: FieldInfo) -> Iterator[str]:
    alias = info.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias, info.alias]
    for choice in choices:
        name = choice.path[0] if isinstance(choice, AliasPath) else choice
        if isinstance(name, str):
            yield name
