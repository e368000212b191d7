"""The parameters of a handler, and what their annotations accept."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_type_hints

from django.core.exceptions import ImproperlyConfigured

from django_jobs.tasks.schema.annotations import kind_of
from django_jobs.tasks.schema.kinds import Kind, or_none


@dataclass(frozen=True)
class Parameter:
    """A parameter that input can name; its annotation is resolved on first use."""

    name: str
    annotation: Any
    scope: dict[str, Any]
    required: bool
    by_position: bool = False
    default: Any = inspect.Parameter.empty

    @classmethod
    def of(cls, parameter: inspect.Parameter, scope: dict[str, Any]) -> Parameter:
        empty = inspect.Parameter.empty
        return cls(
            name=parameter.name,
            annotation=Any if parameter.annotation is empty else parameter.annotation,
            scope=scope,
            required=parameter.default is empty and parameter.kind != parameter.VAR_KEYWORD,
            by_position=parameter.kind == parameter.POSITIONAL_OR_KEYWORD,
            default=parameter.default,
        )

    @cached_property
    def kind(self) -> Kind:
        kind = kind_of(self.resolved)
        return or_none(kind) if self.default is None else kind

    @property
    def resolved(self) -> Any:
        """The annotation without strings, Any where one of its names cannot be found."""
        return _resolved(self.annotation, self.scope)


@dataclass(frozen=True)
class Signature:
    """What a handler can be called with; `extra` is its **kwargs."""

    parameters: tuple[Parameter, ...] = ()
    extra: Parameter | None = None

    @classmethod
    def of(cls, handler: Callable[..., Any], *, takes_context: bool, where: str) -> Signature:
        """Read the signature of a handler, without the context; refuse what has no name."""
        found = list(_inspected(handler, where).parameters.values())
        if takes_context:
            _check_context(found, where)
            found = found[1:]
        for parameter in found:
            _check_named(parameter, where)
        scope = scope_of(handler)
        return cls(
            parameters=tuple(Parameter.of(p, scope) for p in found if p.kind != p.VAR_KEYWORD),
            extra=next((Parameter.of(p, scope) for p in found if p.kind == p.VAR_KEYWORD), None),
        )

    @cached_property
    def positional(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters if parameter.by_position)

    @cached_property
    def by_name(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}


# Of a handler that is not known yet.
ANY_NAMES = Signature(extra=Parameter("input", Any, {}, required=False))


def _inspected(handler: Callable[..., Any], where: str) -> inspect.Signature:
    try:
        if sys.version_info >= (3, 14):
            # Names imported under TYPE_CHECKING must not break the declaration.
            from annotationlib import Format

            return inspect.signature(handler, annotation_format=Format.FORWARDREF)
        return inspect.signature(handler)
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(
            f"{where} has a handler whose signature cannot be read; wrap it in a function."
        ) from error


def _check_context(found: list[inspect.Parameter], where: str) -> None:
    positional = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    if not found or found[0].kind not in positional:
        raise ImproperlyConfigured(
            f"{where} takes the context, but its handler has no first argument for it."
        )


def _check_named(parameter: inspect.Parameter, where: str) -> None:
    if parameter.kind == parameter.VAR_POSITIONAL:
        raise ImproperlyConfigured(
            f"{where} cannot take *{parameter.name}, for input is stored by name; "
            "use a parameter that is a list."
        )
    if parameter.kind == parameter.POSITIONAL_ONLY:
        raise ImproperlyConfigured(
            f"{where} cannot take the positional-only parameter {parameter.name!r}, for input "
            "is stored by name; move it behind the '/'."
        )


def scope_of(handler: Any) -> dict[str, Any]:
    """Return the globals in which the annotations of a handler were written."""
    handler = inspect.unwrap(handler)
    while isinstance(handler, functools.partial):
        handler = inspect.unwrap(handler.func)
    if not hasattr(handler, "__globals__"):
        handler = type(handler).__call__
    scope: dict[str, Any] = getattr(handler, "__globals__", {})
    return scope


def _resolved(annotation: Any, scope: dict[str, Any]) -> Any:
    def bearer() -> None: ...

    bearer.__annotations__ = {"it": annotation}
    try:
        return get_type_hints(bearer, globalns=scope, include_extras=True)["it"]
    except Exception:  # evaluating an annotation runs whatever was written there
        return Any
