"""What the three databases do not do alike, made alike."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models.functions import Now


class KeyField(models.CharField):  # type: ignore[type-arg]
    """Text that is compared as it is, also by MySQL and MariaDB.

    Their usual collations hold "A" and "a", and often "a" and "a ", for the same key.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            mariadb = connection.mysql_is_mariadb  # type: ignore[attr-defined]
            collation = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
            return {**parameters, "collation": collation}
        return parameters


class _OnlyNotNull:
    """Leave the rows out in which the field `not_null` is null, where that can be done.

    MySQL and MariaDB have no partial indexes; there nulls are in the index, together at one end.
    A `condition` would make Django warn about such databases, and leave a constraint out.
    """

    def __init__(self, *, not_null: str, **options: Any) -> None:
        self.not_null = not_null
        super().__init__(**options)

    def deconstruct(self) -> Any:
        path, args, options = super().deconstruct()  # type: ignore[misc]
        return path, args, {**options, "not_null": self.not_null}

    def _get_condition_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor
    ) -> str | None:
        if not schema_editor.connection.features.supports_partial_indexes:
            return None
        column = model._meta.get_field(self.not_null).column  # type: ignore[union-attr]
        return f"{schema_editor.quote_name(str(column))} IS NOT NULL"


class NotNullIndex(_OnlyNotNull, models.Index):
    """An index of the rows whose field `not_null` is not null."""


class NotNullUnique(_OnlyNotNull, models.UniqueConstraint):
    """A unique constraint on the rows whose field `not_null` is not null."""


class ValueIndex(models.Index):
    """An index of the rows whose `field` has this value; of all rows without partial indexes."""

    def __init__(self, *, field: str, value: str, **options: Any) -> None:
        self.field = field
        self.value = value
        super().__init__(**options)

    def deconstruct(self) -> Any:
        path, args, options = super().deconstruct()
        return path, args, {**options, "field": self.field, "value": self.value}

    def _get_condition_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor
    ) -> str | None:
        if not schema_editor.connection.features.supports_partial_indexes:
            return None
        column = model._meta.get_field(self.field).column  # type: ignore[union-attr]
        quoted = schema_editor.quote_value(self.value)
        return f"{schema_editor.quote_name(str(column))} = {quoted}"


class DatabaseNow(Now):
    """The database's clock in UTC, whatever the session's time zone.

    Leases are computed and compared by it, so that a machine with a wrong clock does no harm.
    """

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra)
