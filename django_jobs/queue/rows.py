"""Rows: their locks, where the database has them, and instances made of them cheaply."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar

from django.db import connections
from django.db.models import DateTimeField, Field, JSONField, Model, QuerySet
from django.db.models.base import ModelState

M = TypeVar("M", bound=Model)


def skip_locked(rows: QuerySet[M]) -> QuerySet[M]:
    """Lock the rows, leaving out those that others have locked."""
    features = connections[rows.db].features
    return rows.select_for_update(
        skip_locked=features.has_select_for_update_skip_locked,
        of=("self",) if features.has_select_for_update_of else (),
    )


def stored_fields(model: type[Model]) -> list[Field[Any, Any]]:
    """Return the fields that are written; the database derives the others from them."""
    return [field for field in model._meta.concrete_fields if not field.generated]


def _made(model: type[M], values: dict[str, Any], using: str | None) -> M:
    """Return an instance with these attributes; stored in `using`, where that is given.

    Without `Model.__init__`, which for a job costs as much as all that is done with it here:
    no signals, and what is left out is deferred.
    """
    made = model.__new__(model)
    values["_state"] = state = ModelState()
    state.db, state.adding = using, using is None
    made.__dict__ = values
    return made


def new(model: type[M], values: Mapping[str, Any]) -> M:
    """Return an instance that is not stored yet, with the defaults of what is left out."""
    return _made(model, {**_defaults(model), **values}, None)


def another(like: M, values: dict[str, Any]) -> M:
    """Return an instance that is not stored yet, with these attributes and those of `like`."""
    made = type(like).__new__(type(like))
    made.__dict__ = vars(like) | values
    made._state = ModelState()
    return made


@cache
def _defaults(model: type[Model]) -> dict[str, Any]:
    return {field.attname: field.get_default() for field in stored_fields(model)}


def instances(
    model: type[M], fields: Sequence[Field[Any, Any]], rows: Iterable[tuple[Any, ...]],
    alike: Mapping[str, Any] = MappingProxyType({}), *, using: str,
) -> list[M]:  # fmt: skip
    """Return instances of rows as the drivers of PostgreSQL and SQLite return them.

    `alike` are attributes that all have alike. See selected_as() for PostgreSQL.
    """
    names = [field.attname for field in fields]
    in_json = [field.attname for field in fields if isinstance(field, JSONField)]
    times = [field.attname for field in fields if isinstance(field, DateTimeField)]
    zone = connections[using].timezone
    parse = json.JSONDecoder().raw_decode
    # To copy a dictionary and fill it is cheaper than to let one grow.
    filled = {**dict.fromkeys(names), "_state": None, **alike}
    found = []
    for row in rows:
        values = filled.copy()
        values.update(zip(names, row, strict=True))
        for name in in_json:
            if values[name] is not None:
                # SQLite has the text as it was written, perhaps not by Django.
                values[name] = parse(values[name].lstrip())[0]
        for name in times:
            if values[name] is not None:
                values[name] = values[name].replace(tzinfo=zone)
        found.append(_made(model, values, using))
    return found


def selected_as(field: Field[Any, Any], using: str) -> str:
    """Return how PostgreSQL is asked for a column of which `instances` makes an attribute.

    Times come without their zone, which is that of the connection: Django has those with
    one parsed by Python.
    """
    column = connections[using].ops.quote_name(str(field.column))
    return f"{column}::timestamp" if isinstance(field, DateTimeField) else column
