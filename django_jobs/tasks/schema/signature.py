"""Input validated by the signature of the handler."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS

from django_jobs.tasks.schema.base import (
    MISSING,
    NOT_A_MAPPING,
    UNKNOWN,
    Errors,
    InputSchema,
)
from django_jobs.tasks.schema.kinds import Refused, json_ready

Converter = Callable[[Any], Any]


class SignatureSchema(InputSchema):
    """Input as the parameters and the annotations of the handler want it.

    Defaults are not filled in: they are the handler's, as it is when the job runs.
    """

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(given, dict):
            raise self.invalid({NON_FIELD_ERRORS: [NOT_A_MAPPING]})
        stored: dict[str, Any] = {}
        errors: Errors = {}
        for name, required, encode in self._encoders:
            if name in given:
                try:
                    stored[name] = encode(given[name])
                except Refused as refusal:
                    errors[name] = [refusal.sentence]
            elif required:
                errors[name] = [MISSING]
        if errors or len(stored) != len(given):
            self._take_others(given, stored, errors)
        if errors:
            raise self.invalid(errors)
        return stored

    def restore(self, stored: dict[str, Any]) -> dict[str, Any]:
        if not self._decoders and self._decode_extra is None:
            return stored
        restored = dict(stored)
        errors: Errors = {}
        for name, decode in self._decoders_of(stored):
            try:
                restored[name] = decode(stored[name])
            except Refused as refusal:
                errors[name] = [refusal.sentence]
        if errors:
            raise self.invalid(errors)
        return restored

    @cached_property
    def _encoders(self) -> tuple[tuple[str, bool, Converter], ...]:
        return tuple((p.name, p.required, p.kind.encode) for p in self.signature.parameters)

    @cached_property
    def _decoders(self) -> dict[str, Converter]:
        return {p.name: p.kind.decode for p in self.signature.parameters if p.kind.decode}

    @cached_property
    def _decode_extra(self) -> Converter | None:
        return self.signature.extra.kind.decode if self.signature.extra else None

    def _decoders_of(self, stored: dict[str, Any]) -> list[tuple[str, Converter]]:
        found = [(name, decode) for name, decode in self._decoders.items() if name in stored]
        if self._decode_extra:
            known = self.signature.by_name
            found += [(name, self._decode_extra) for name in stored if name not in known]
        return found

    def _take_others(self, given: dict[str, Any], stored: dict[str, Any], errors: Errors) -> None:
        """Take what is no parameter: by **kwargs, or as an error."""
        extra = self.signature.extra
        for name in given:
            if name in self.signature.by_name:
                continue
            if extra is None or not isinstance(name, str):
                errors[str(name)] = [UNKNOWN]
                continue
            try:
                stored[json_ready(name)] = extra.kind.encode(given[name])
            except Refused as refusal:
                errors[name] = [refusal.sentence]
