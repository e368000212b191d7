"""What a task is called with, between Django's positional arguments and a job's input."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS

from django_jobs.queue.json import normalise
from django_jobs.tasks.schema import InputSchema
from django_jobs.tasks.schema.base import InputField, fields_of
from django_jobs.tasks.schema.parameters import ANY_NAMES, Parameter, scope_of


class ArgumentsSchema(InputSchema):
    """Takes what the function can be called with, stored by the names of its parameters.

    The values of `*args` are under their name with its star. Annotations do not count:
    values are what JSON holds, as with every backend.
    """

    def __init__(self, function: Callable[..., Any], *, takes_context: bool, where: str) -> None:
        super().__init__(ANY_NAMES, where)
        parameters = list(inspect.signature(function).parameters.values())
        self.parameters = parameters[1:] if takes_context else parameters
        self._taken = inspect.Signature(self.parameters)
        self._scope = scope_of(function)

    @property
    def fields(self) -> list[InputField]:
        """What has a name; the rest of the arguments may be given besides."""
        variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        named = (parameter for parameter in self.parameters if parameter.kind not in variable)
        return fields_of(Parameter.of(parameter, self._scope) for parameter in named)

    @property
    def takes_more(self) -> bool:
        return len(self.fields) < len(self.parameters)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        named: dict[str, Any] = {}
        for name, value in self._bound(args, kwargs).items():
            kind = self._taken.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                named[f"*{name}"] = list(value)
            elif kind is not inspect.Parameter.VAR_KEYWORD:
                named[name] = value
            elif twice := [key for key in value if key in named]:
                raise self.invalid({key: ["It is given twice."] for key in twice})
            else:
                named |= value
        return named

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        starred = [name for name in given if name.startswith("*")]
        if wrong := [name for name in starred if not isinstance(given[name], list)]:
            raise self.invalid({name: ["It must be a list."] for name in wrong})
        args, kwargs = self.split(given)
        self._bound(tuple(args), kwargs)
        try:
            stored: dict[str, Any] = normalise(given)
        except (TypeError, ValueError) as error:
            raise self.invalid({NON_FIELD_ERRORS: [str(error)]}) from error
        return stored

    def restore(self, stored: dict[str, Any]) -> dict[str, Any]:
        return stored

    def split(
        self, stored: Mapping[str, Any], positional: int = 0
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of a call, the first of them `positional`."""
        args: list[Any] = []
        rest = dict(stored)
        starred = any(name.startswith("*") for name in stored)
        for index, parameter in enumerate(self.parameters):
            by_position = parameter.kind is inspect.Parameter.POSITIONAL_ONLY or (
                parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
                and (starred or index < positional)
            )
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                args += rest.pop(f"*{parameter.name}", [])
            elif by_position and parameter.name in rest:
                args.append(rest.pop(parameter.name))
        return args, rest

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._taken.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise self.invalid({NON_FIELD_ERRORS: [str(error)]}) from error
