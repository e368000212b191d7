"""What a task accepts, and what it returns.

Input is validated at enqueue by the signature of the handler, or by a Django form or a
pydantic model, and given back to the handler with the types that it declared.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.forms import BaseForm

from django_jobs.tasks.schema.base import InputSchema, OutputSchema
from django_jobs.tasks.schema.forms import FormOutput, FormSchema
from django_jobs.tasks.schema.parameters import ANY_NAMES, Signature
from django_jobs.tasks.schema.signature import SignatureSchema

__all__ = ["InputSchema", "OutputSchema", "input_schema", "output_schema"]


def input_schema(
    handler: Callable[..., Any] | None,
    schema: type[Any] | None = None,
    *,
    takes_context: bool,
    where: str,
) -> InputSchema:
    """Return what validates the input of a handler; `where` names it in every message.

    A handler of None is not importable yet: it accepts every name, or what `schema` does.
    """
    signature = ANY_NAMES
    if handler is not None:
        signature = Signature.of(handler, takes_context=takes_context, where=where)
    if schema is None:
        return SignatureSchema(signature, where)
    if _is_form(schema):
        return FormSchema(schema, signature, where)
    if _is_pydantic_model(schema):
        # Imported late, for pydantic is optional.
        from django_jobs.tasks.schema.pydantic import PydanticSchema

        return PydanticSchema(schema, signature, where)
    raise _wrong_kind("input_schema", where)


def output_schema(
    schema: type[Any] | None = None, *, where: str = "The task"
) -> OutputSchema | None:
    """Return what validates the output of a handler, None where there is no schema."""
    if schema is None:
        return None
    if _is_form(schema):
        return FormOutput(schema, where)
    if _is_pydantic_model(schema):
        from django_jobs.tasks.schema.pydantic import PydanticOutput

        return PydanticOutput(schema, where)
    raise _wrong_kind("output_schema", where)


def _is_form(schema: object) -> bool:
    return isinstance(schema, type) and issubclass(schema, BaseForm)


def _is_pydantic_model(schema: object) -> bool:
    """Return whether it is a model of pydantic 2, which then has been imported already."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(schema, type):
        return False
    return issubclass(schema, pydantic.BaseModel) and hasattr(schema, "model_validate")


def _wrong_kind(option: str, where: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"{where} has an {option!r} that is neither a Django Form class nor a pydantic model."
    )
