"""What the three databases do not do alike, made alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.apps import apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Q
from django.db.models.expressions import Col
from django.db.models.functions import Now
from django.db.models.sql import Query


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


class DerivedCol(Col):
    """A derived field in a query."""

    target: DerivedField

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> Any:
        column, params = super().as_sql(compiler, connection)
        if _has_only_columns(connection):
            return column, params
        return self.target.literal_sql(self.alias, column, compiler, connection), params


class _Derived:
    """Read a derived field of a row as it is stored now."""

    def __init__(self, field: DerivedField) -> None:
        self.field = field

    def __get__(self, row: models.Model | None, _owner: type[models.Model]) -> Any:
        if row is None:
            return self
        if row.pk is None:
            raise AttributeError(f"{self.field.name} cannot be read before the row is saved.")
        rows = type(row)._base_manager.using(row._state.db).filter(pk=row.pk)
        return rows.values_list(self.field.attname, flat=True).get()


class DerivedField(models.GeneratedField):
    """What follows from other columns of the row, for queries and indexes.

    It is a generated column on MySQL and MariaDB only, which have no partial indexes. Elsewhere
    it is its expression: to derive seven columns costs an INSERT as much as all the rest of it.
    A query does not fetch it unless it names it.
    """

    db_returning = False  # type: ignore[assignment]
    expression: Any
    descriptor_class = _Derived

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, db_persist=True)
        self._literal_sql: dict[tuple[str, str], str] = {}

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        del options["db_persist"]
        return name, path, args, options

    def contribute_to_class(
        self, cls: type[models.Model], name: str, private_only: bool = False
    ) -> None:
        super().contribute_to_class(cls, name, private_only)
        # It is concrete in migrations: a table that SQLite remakes keeps its concrete fields.
        self.concrete = cls._meta.apps is not apps

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        if _has_only_columns(connection):
            return super().db_parameters(connection)
        return {"type": None, "check": None}

    def get_col(self, alias: Any, output_field: Any = None) -> DerivedCol:
        return DerivedCol(alias, self, self.output_field)

    def literal_sql(self, alias: str | None, column: str, compiler: Any, connection: Any) -> str:
        """Return the expression in place of the `column`, with its values written out.

        As parameters they would not tell the planner that a query asks for what an index has.
        """
        key = connection.vendor, column
        if key not in self._literal_sql:
            sql, params = compiler.compile(self._resolved(alias))
            quote = connection.SchemaEditorClass(connection).quote_value
            self._literal_sql[key] = f"({sql})" % tuple(quote(value) for value in params)
        return self._literal_sql[key]

    def _resolved(self, alias: str | None) -> Any:
        query = Query(self.model, alias_cols=alias is not None)
        resolved = self.expression.resolve_expression(query, allow_joins=False)
        return resolved.relabeled_clone({self.model._meta.db_table: alias}) if alias else resolved


def _has_only_columns(connection: BaseDatabaseWrapper) -> bool:
    """Return whether an index cannot be of expressions and some rows, as on MySQL and MariaDB."""
    return not connection.features.supports_partial_indexes


class _OnlyNotNull:
    """Leave the rows out in which the field `not_null` is null, where that can be done.

    MySQL and MariaDB have no partial indexes; there nulls are in the index, together at one end.
    A `condition` would make Django warn about such databases, and leave a constraint out.
    """

    stock: ClassVar[type[Any]]
    fields: Sequence[str]
    name: str

    def __init__(self, *, not_null: str, only: Q | None = None, **options: Any) -> None:
        self.not_null = not_null
        # Queries that do not say the same are not answered by the index.
        self.only = only
        super().__init__(**options)

    def deconstruct(self) -> Any:
        path, args, options = super().deconstruct()  # type: ignore[misc]
        if self.only is not None:
            options["only"] = self.only
        return path, args, {**options, "not_null": self.not_null}

    def _stock(self, schema_editor: BaseDatabaseSchemaEditor) -> Any:
        """Return Django's own index or constraint that this one is on a database."""
        if _has_only_columns(schema_editor.connection):
            return self.stock(fields=self.fields, name=self.name)
        condition = Q((f"{self.not_null}__isnull", False)) & (self.only or Q())
        return self.stock(*self.fields, name=self.name, condition=condition)


class NotNullIndex(_OnlyNotNull, models.Index):
    """An index of the rows whose field `not_null` is not null."""

    stock = models.Index

    def create_sql(self, model: Any, schema_editor: Any, *args: Any, **options: Any) -> Any:
        return self._stock(schema_editor).create_sql(model, schema_editor, *args, **options)


class NotNullUnique(_OnlyNotNull, models.UniqueConstraint):
    """A unique constraint on the rows whose field `not_null` is not null."""

    stock = models.UniqueConstraint

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._stock(schema_editor).constraint_sql(model, schema_editor)

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._stock(schema_editor).create_sql(model, schema_editor)

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._stock(schema_editor).remove_sql(model, schema_editor)


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


class HourField(models.DateTimeField):  # type: ignore[type-arg]
    """The full hour, in UTC, of the moment in the field `of`; set when the row is added."""

    def __init__(self, *args: Any, of: str = "", **options: Any) -> None:
        self.of = of
        super().__init__(*args, **options)

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        return name, path, args, {**options, "of": self.of}

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        moment: datetime = getattr(model_instance, self.of)
        hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        setattr(model_instance, self.attname, hour)
        return hour


class DatabaseNow(Now):
    """The database's clock in UTC, whatever the session's time zone.

    Leases are computed and compared by it, so that a machine with a wrong clock does no harm.
    """

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra)
