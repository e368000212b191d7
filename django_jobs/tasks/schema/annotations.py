"""From an annotation to the kind of values it accepts.

An annotation that is not known here, a dataclass or a TypedDict for example, accepts
anything that JSON can hold and is given to the handler as JSON holds it.
"""

from __future__ import annotations

import types
from collections.abc import (
    Collection,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
)
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

from django_jobs.tasks.schema.choices import enum_kind, literal_kind, union_kind
from django_jobs.tasks.schema.containers import (
    fixed_kind,
    list_kind,
    mapping_kind,
    set_kind,
    tuple_kind,
)
from django_jobs.tasks.schema.kinds import ANY, BY_TYPE, Kind

_LISTS = (list, Sequence, MutableSequence, Iterable, Collection)
_SETS = (set, MutableSet, AbstractSet)
_MAPPINGS = (dict, Mapping, MutableMapping)


def kind_of(annotation: Any, aliases: tuple[Any, ...] = ()) -> Kind:
    """Return the kind of a resolved annotation; `aliases` are those it is part of."""
    if type(annotation).__name__ == "TypeAliasType":
        return _alias_kind(annotation, aliases)
    if isinstance(annotation, NewType):
        return kind_of(annotation.__supertype__, aliases)
    if annotation is None:
        return BY_TYPE[types.NoneType]
    origin = get_origin(annotation)
    if origin is Annotated:
        return kind_of(get_args(annotation)[0], aliases)
    if origin is Literal:
        return literal_kind(get_args(annotation))
    if origin is Union or origin is types.UnionType:
        return union_kind([kind_of(member, aliases) for member in get_args(annotation)])
    if not isinstance(origin or annotation, type):
        return ANY
    return _class_kind(origin or annotation, get_args(annotation), aliases)


def _alias_kind(alias: Any, aliases: tuple[Any, ...]) -> Kind:
    """Return the kind of `type alias = …`, anything for one that is part of itself."""
    if any(alias is outer for outer in aliases):
        return ANY
    try:
        value = alias.__value__
    except Exception:  # evaluated only now, and by whatever was written there
        return ANY
    return kind_of(value, (*aliases, alias))


def _class_kind(cls: type[Any], args: tuple[Any, ...], aliases: tuple[Any, ...]) -> Kind:
    if cls in BY_TYPE:
        return BY_TYPE[cls]
    if issubclass(cls, Enum):
        return enum_kind(cls) if list(cls) else ANY
    if cls is tuple and args and args[-1] is not Ellipsis:
        return fixed_kind([kind_of(arg, aliases) for arg in args])
    parts = [kind_of(arg, aliases) for arg in args] or [ANY]
    if cls in _LISTS:
        return list_kind(parts[0])
    if cls is tuple:
        return tuple_kind(parts[0])
    if cls in _SETS or cls is frozenset:
        return set_kind(frozenset if cls is frozenset else set, parts[0])
    if cls in _MAPPINGS:
        return mapping_kind(parts[0], parts[-1])
    return ANY
