"""Read a product feed: every line is either a product or a problem, never an exception."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django import forms

from catalogue.models import Product

COLUMNS = ["sku", "name", "price", "currency", "stock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    line: int
    reason: str
    content: str


class ProductForm(forms.ModelForm):
    class Meta:
        model = Product
        fields = COLUMNS


def read_feed(lines: Iterable[str]) -> Iterator[dict[str, Any] | Problem]:
    """Yield the cleaned values of each good line, and a `Problem` for each bad one."""
    reader = csv.reader(lines)
    seen: set[str] = set()
    next_row(reader)  # the names of the columns
    while (row := next_row(reader)) is not None:
        reason = ""
        form = ProductForm(dict(zip(COLUMNS, row, strict=False)))
        if len(row) != len(COLUMNS):
            reason = f"{len(row)} columns instead of {len(COLUMNS)}"
        elif not form.is_valid():
            reason = complaint(form)
        elif form.cleaned_data["sku"] in seen:
            reason = f"SKU {form.cleaned_data['sku']} is already used further up"
        if reason:
            yield problem(reader.line_num, reason, row)
        else:
            seen.add(form.cleaned_data["sku"])
            yield form.cleaned_data


def problem(line: int, reason: str, row: list[str]) -> Problem:
    """Return a problem that any database can store: PostgreSQL refuses NUL characters."""
    content = ",".join(row).replace("\0", "\N{REPLACEMENT CHARACTER}")
    return Problem(line=line, reason=reason[:200], content=content[:200])


def next_row(reader: Any) -> list[str] | None:
    """Return the next row that is not blank; one that is no CSV at all has no columns."""
    try:
        return next((row for row in reader if row), None)
    except csv.Error as error:
        return [f"({error})"]


def complaint(form: forms.BaseForm) -> str:
    return "; ".join(f"{name}: {errors[0]}" for name, errors in form.errors.items())
