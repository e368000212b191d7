"""What every schema has in common."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ImproperlyConfigured

from django_jobs.exceptions import InvalidInputError
from django_jobs.tasks.schema.parameters import Parameter, Signature

Errors = dict[str, list[str]]

MISSING = "It is missing."
UNKNOWN = "It is not an argument that is taken."
NOT_A_MAPPING = "It must be a mapping of names to values."


NO_DEFAULT = inspect.Parameter.empty


@dataclass(frozen=True, slots=True, kw_only=True)
class InputField:
    """One of the values that a schema asks for, told to those who make forms of it."""

    # As it is stored; `given_as` is how `validate` wants it named.
    name: str
    given_as: str
    annotation: Any
    required: bool
    default: Any = NO_DEFAULT
    label: str = ""
    help_text: str = ""


def fields_of(parameters: Iterable[Parameter]) -> list[InputField]:
    return [
        InputField(
            name=parameter.name, given_as=parameter.name, annotation=parameter.resolved,
            required=parameter.required, default=parameter.default,
        )
        for parameter in parameters
    ]  # fmt: skip


class InputSchema(ABC):
    """What a task accepts: a JSON object keyed by the parameters of its handler."""

    def __init__(self, signature: Signature, where: str) -> None:
        self.signature = signature
        self.where = where

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return positional and keyword arguments by name."""
        if not args:
            return kwargs
        names = self.signature.positional
        if len(args) > len(names):
            problem = f"It has {len(args)} positional arguments where {len(names)} are possible."
            raise self.invalid({NON_FIELD_ERRORS: [problem]})
        bound = dict(zip(names, args, strict=False))
        if twice := [name for name in bound if name in kwargs]:
            raise self.invalid(
                {name: ["It is given twice, by position and by name."] for name in twice}
            )
        return bound | kwargs

    @property
    def fields(self) -> list[InputField]:
        return fields_of(self.signature.parameters)

    @property
    def takes_more(self) -> bool:
        """Whether it takes other names than those of its fields."""
        return self.signature.extra is not None

    @abstractmethod
    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the input as it is stored; raise InvalidInputError naming what is wrong."""

    @abstractmethod
    def restore(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments of the handler, typed as it declares them.

        The answer may be `stored` itself.
        """

    def invalid(self, errors: Errors) -> InvalidInputError:
        """Return the error for this task's input."""
        return invalid(f"{self.where} cannot take this input", errors)


class OutputSchema(ABC):
    """What a task returns."""

    def __init__(self, where: str) -> None:
        self.where = where

    @abstractmethod
    def validate(self, value: Any) -> Any:
        """Return the output as it is stored; raise InvalidInputError naming what is wrong."""

    def invalid(self, errors: Errors) -> InvalidInputError:
        """Return the error for this task's output."""
        return invalid(f"{self.where} returned an invalid output", errors, whole="the output")


def invalid(complaint: str, errors: Errors, *, whole: str = "the input") -> InvalidInputError:
    """Return one sentence with every field and its problems, never with a value."""
    problems = [
        _problem(whole if field == NON_FIELD_ERRORS else field, message)
        for field, messages in errors.items()
        for message in messages
    ]
    return InvalidInputError(f"{complaint}: {'; '.join(problems)}.", errors)


def _problem(field: str, message: str) -> str:
    message = message.rstrip(".")
    if message.startswith("It "):
        return f"{field} {message.removeprefix('It ')}"
    return f"{field}: {message}"


def unknown_names(given: Mapping[Any, Any], known: Mapping[str, Any] | set[str]) -> Errors:
    """Return an error for every given name that nothing takes."""
    return {str(name): [UNKNOWN] for name in given if name not in known}


def check_fields(option: str, fields: set[str], signature: Signature, where: str) -> None:
    """Refuse a schema whose fields are not the parameters of the handler."""
    if signature.extra is None:
        _refuse_strangers(option, fields, signature, where)
    lacking = sorted(p.name for p in signature.parameters if p.required and p.name not in fields)
    if lacking:
        raise ImproperlyConfigured(
            f"{where} cannot be called with its {option!r}, which has no field for "
            f"{_quoted(lacking)}; add it, or give the parameter a default."
        )


def _refuse_strangers(option: str, fields: set[str], signature: Signature, where: str) -> None:
    strangers = sorted(fields - {parameter.name for parameter in signature.parameters})
    if strangers:
        raise ImproperlyConfigured(
            f"{where} has an {option!r} with fields that its handler has no parameter for: "
            f"{_quoted(strangers)}; add them to the handler, or **kwargs."
        )


def _quoted(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
