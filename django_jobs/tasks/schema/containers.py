"""Lists, tuples, sets and mappings of a kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from typing import Any

from django_jobs.tasks.schema.kinds import ANY, INT, STR, Kind, Refused, json_ready, must_be

Converter = Callable[[Any], Any]


def list_kind(item: Kind) -> Kind:
    """Return the kind of `list[item]` and of other sequences; tuples are accepted."""
    return _collection_kind("a list", item, accepts=(list, tuple), build=None)


def tuple_kind(item: Kind) -> Kind:
    """Return the kind of `tuple[item, ...]`; lists are accepted."""
    return _collection_kind("a list", item, accepts=(tuple, list), build=tuple)


def set_kind(cls: type[Any], item: Kind) -> Kind:
    """Return the kind of a set, stored as a list in an order that only its items decide."""
    kind = _collection_kind(
        "a set or a list", item, accepts=(set, frozenset, list, tuple), build=cls
    )

    def encode(value: Any) -> Any:
        distinct = {json.dumps(item, sort_keys=True): item for item in kind.encode(value)}
        return [distinct[text] for text in sorted(distinct)]

    return Kind(noun=kind.noun, encode=encode, decode=kind.decode, types=(cls,))


def fixed_kind(items: list[Kind]) -> Kind:
    """Return the kind of a tuple with one kind for each place."""
    noun = f"a list of {len(items)}"
    encoders: list[Converter] = [item.encode for item in items]
    decoders: list[Converter] = [item.decode or _as_it_is for item in items]

    def check(value: Any) -> None:
        if not isinstance(value, tuple | list) or len(value) != len(items):
            must_be(noun)

    def encode(value: Any) -> Any:
        check(value)
        return _converted(zip(encoders, value, strict=True))

    def decode(stored: Any) -> Any:
        check(stored)
        return tuple(_converted(zip(decoders, stored, strict=True)))

    return Kind(noun=noun, encode=encode, decode=decode, types=(tuple,))


def mapping_kind(key: Kind, value: Kind) -> Kind:
    """Return the kind of `dict[key, value]`; JSON has text as keys, and integers as text."""
    decode_key = _key_from_text if key is INT else key.decode
    decode_value = value.decode

    def encode(given: Any) -> Any:
        if not isinstance(given, dict):
            must_be("a mapping")
        if key is ANY and value is ANY:
            return json_ready(given)
        return {_key_text(key, k): _value(value.encode, v) for k, v in given.items()}

    def decode(stored: Any) -> Any:
        if not isinstance(stored, dict):
            must_be("a mapping")
        convert = decode_value or _as_it_is
        return {decode_key(k) if decode_key else k: _value(convert, v) for k, v in stored.items()}

    return Kind(
        noun="a mapping",
        encode=encode,
        decode=decode if decode_key or decode_value else None,
        types=(dict,),
    )


def _collection_kind(
    noun: str, item: Kind, *, accepts: tuple[type[Any], ...], build: Converter | None
) -> Kind:
    encode_item = item.encode
    decode_item = item.decode or _as_it_is

    def encode(value: Any) -> Any:
        if not isinstance(value, accepts):
            must_be(noun)
        if item is ANY and isinstance(value, list | tuple):
            return json_ready(list(value))
        return _converted((encode_item, part) for part in value)

    def decode(stored: Any) -> Any:
        if not isinstance(stored, list):
            must_be(noun)
        parts = _converted((decode_item, part) for part in stored)
        return _built(build, parts) if build else parts

    return Kind(
        noun=noun,
        encode=encode,
        decode=decode if build or item.decode else None,
        types=accepts[:1],
    )


def _built(build: Converter, parts: Collection[Any]) -> Any:
    try:
        return build(parts)
    except TypeError:
        raise Refused("holds an item that cannot be in a set") from None


def _converted(parts: Iterable[tuple[Converter, Any]]) -> list[Any]:
    converted: list[Any] = []
    for convert, part in parts:
        try:
            converted.append(convert(part))
        except Refused as refusal:
            raise refusal.inside(f"item {len(converted) + 1}") from None
    return converted


def _value(convert: Converter, value: Any) -> Any:
    try:
        return convert(value)
    except Refused as refusal:
        raise refusal.inside("one of its values") from None


def _key_text(kind: Kind, key: Any) -> str:
    try:
        text = STR.encode(key) if kind is ANY else kind.encode(key)
    except Refused as refusal:
        raise refusal.inside("one of its keys") from None
    if isinstance(text, int) and not isinstance(text, bool):
        return str(text)
    return text if isinstance(text, str) else must_be("a mapping with keys of text")


def _key_from_text(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        raise Refused("must be an integer", "one of its keys") from None


def _as_it_is(value: Any) -> Any:
    return value
