"""Enums, literals and unions: values that are one of several."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from django_jobs.tasks.schema.kinds import ANY, Kind, Refused, json_ready, must_be


def enum_kind(cls: type[Enum]) -> Kind:
    """Return the kind of an enum, stored by value; a value is accepted for its member."""
    noun = f"a value of {cls.__name__}"
    members = _by_stored_value(list(cls))

    def decode(stored: Any) -> Any:
        found = members.get(_text(stored))
        return _looked_up(cls, stored, noun) if found is None else found

    def encode(value: Any) -> Any:
        member = value if isinstance(value, cls) else decode(json_ready(value))
        return json_ready(member.value)

    return Kind(noun=noun, encode=encode, decode=decode, types=(cls,))


def literal_kind(choices: tuple[Any, ...]) -> Kind:
    """Return the kind of `Literal[...]`; members of enums come back as such."""
    noun = f"one of {', '.join(repr(choice) for choice in choices)}"
    enums = {type(choice): enum_kind(type(choice)) for choice in choices if _is_member(choice)}

    def find(value: Any) -> Any:
        for choice in choices:
            if type(choice) is type(value) and choice == value:
                return choice
            if _is_member(choice) and _stored(choice) == _text(value):
                return choice
        must_be(noun)

    def encode(value: Any) -> Any:
        choice = find(value)
        return enums[type(choice)].encode(choice) if _is_member(choice) else json_ready(choice)

    types = tuple({type(choice) for choice in choices})
    return Kind(noun=noun, encode=encode, decode=find if enums else None, types=types)


def union_kind(members: list[Kind]) -> Kind:
    """Return the kind of a union.

    A stored value belongs to the first member that would have stored it so. Text which is
    exactly how a date of `str | date` is stored therefore comes back as a date.
    """
    if ANY in members:
        return ANY
    noun = " or ".join(dict.fromkeys(member.noun for member in members))
    typed = [member for member in members if member.decode]

    def encode(value: Any) -> Any:
        for member in sorted(members, key=lambda member: type(value) not in member.types):
            try:
                return member.encode(value)
            except Refused:
                continue
        must_be(noun)

    def decode(stored: Any) -> Any:
        for member in typed:
            try:
                value = member.decode(stored) if member.decode else stored
                if _text(member.encode(value)) == _text(stored):
                    return value
            except Refused:
                continue
        return stored

    types = tuple(cls for member in members for cls in member.types)
    return Kind(noun=noun, encode=encode, decode=decode if typed else None, types=types)


def _by_stored_value(members: list[Enum]) -> dict[str, Enum]:
    """Return the members that JSON can hold by the JSON text of their values."""
    found = {}
    for member in members:
        text = _stored(member)
        if text is not None:
            found[text] = member
    return found


def _stored(member: Enum) -> str | None:
    try:
        return _text(json_ready(member.value))
    except Refused:
        return None


def _looked_up(cls: type[Enum], stored: Any, noun: str) -> Enum:
    """Return what the enum itself makes of a value: flags, and what `_missing_` knows."""
    if isinstance(stored, bool):
        must_be(noun)
    try:
        return cls(stored)
    except (ValueError, TypeError, KeyError):
        must_be(noun)


def _is_member(value: Any) -> bool:
    return isinstance(value, Enum)


def _text(value: Any) -> str:
    # Not of stored values only: what JSON does not know is like no stored value.
    return json.dumps(value, sort_keys=True, default=repr)
