"""Locks on rows, where the database has them."""

from __future__ import annotations

from typing import TypeVar

from django.db import connections
from django.db.models import Model, QuerySet

M = TypeVar("M", bound=Model)


def skip_locked(rows: QuerySet[M]) -> QuerySet[M]:
    """Lock the rows, leaving out those that others have locked."""
    features = connections[rows.db].features
    return rows.select_for_update(
        skip_locked=features.has_select_for_update_skip_locked,
        of=("self",) if features.has_select_for_update_of else (),
    )
