"""Rows for tables that nobody has a model of, so that migrations meet data."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import Column, Enum, MetaData, Table, inspect, select, table
from sqlalchemy.exc import DBAPIError

from .exceptions import UsageError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Inspector

_DAY = datetime.date(2000, 2, 29)
_VALUES: dict[type[Any], Any] = {
    bool: True,
    int: 1,
    float: 0.5,
    decimal.Decimal: decimal.Decimal(0),
    str: "x",
    bytes: b"x",
    datetime.date: _DAY,
    datetime.time: datetime.time(12, 30),
    datetime.datetime: datetime.datetime.combine(_DAY, datetime.time(12, 30)),
    datetime.timedelta: datetime.timedelta(days=1),
    uuid.UUID: uuid.UUID(int=1),
    dict: {},
    list: [],
}


class SampleRows:
    """A row for each table, made from what the database says of its columns.

    :param given: values of columns, by column and table, where a made-up one would not do; None
        for a table that is to stay empty. Tables of other schemas are named with these.
    :param schemas: look for tables in all schemas, not in the default one only.
    """

    def __init__(
        self, given: Mapping[str, Mapping[str, Any] | None], *, schemas: bool = False
    ) -> None:
        self._given = given
        self._schemas = schemas
        self._seen = {table for table, row in given.items() if row is None}
        self._tables = MetaData()  # as they were when they were new

    def fill(self, connection: Connection, exclude: str) -> None:
        """Put a row into each table that is new and empty.

        :param exclude: a table to leave as it is.
        :raises UsageError: a row cannot be made up.
        """
        inspector = inspect(connection)
        self._seen.add(exclude.removeprefix(f"{inspector.default_schema_name}."))
        new: set[str] = set()
        for schema in (None, *self._other_schemas(inspector)):
            keys = {_key(schema, name): name for name in inspector.get_table_names(schema)}
            names = [name for key, name in keys.items() if key not in self._seen]
            new.update(_key(schema, name) for name in names)
            if names:
                self._tables.reflect(connection, schema, only=sorted(names))
        self._seen |= new
        for one in self._tables.sorted_tables if new else ():
            if one.key in new and connection.execute(select(one).limit(1)).first() is None:
                self._insert(connection, one)

    def _other_schemas(self, inspector: Inspector) -> list[str]:
        if not self._schemas:
            return []
        no_others = (inspector.default_schema_name, "information_schema")
        return [name for name in inspector.get_schema_names() if name not in no_others]

    def _insert(self, connection: Connection, table: Table) -> None:
        given = self._given.get(table.key) or {}
        try:
            row = self._row(connection, table, given)
            connection.execute(table.insert().values({**row, **given}))
        except (DBAPIError, LookupError) as error:
            reason = getattr(error, "orig", error)
            raise UsageError(
                f"Cannot make up a row for the table {table.key}: {reason}\n"
                f"  To fix this, say what it may hold: sample_rows = {{{table.key!r}: "
                '{"column": value}}; or None in place of the columns, for no row'
            ) from error

    def _row(
        self, connection: Connection, table: Table, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        row = {}
        for column in table.columns:
            if column.name in given or not _is_needed(column):
                continue
            value = _referenced(connection, column) if column.foreign_keys else _value(column)
            if value is not None:
                row[column.name] = value
            elif not column.nullable:
                raise LookupError(f"the column {column.name} must not be NULL")
        return row


def _key(schema: str | None, name: str) -> str:
    """Return what ``MetaData.tables`` has a table by."""
    return f"{schema}.{name}" if schema else name


def _is_needed(column: Column[Any]) -> bool:
    by_itself = column.server_default is not None or column.identity is not None
    counts = column is column.table.autoincrement_column
    return not (by_itself or column.computed is not None or counts)


def _referenced(connection: Connection, column: Column[Any]) -> Any:
    [key, *_] = column.foreign_keys
    path, _, name = key.target_fullname.rpartition(".")
    schema, _, other = path.rpartition(".")
    there = table(other, sqlalchemy.column(name), schema=schema or None)
    return connection.scalar(select(there.c[name]).limit(1))


def _value(column: Column[Any]) -> Any:
    """Return a value of the type of ``column``, or None if there is none to be thought of."""
    if isinstance(column.type, Enum):
        return column.type.enums[0]
    try:
        return _VALUES.get(column.type.python_type)
    except NotImplementedError:
        return None
