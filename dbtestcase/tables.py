"""The tables of a test's databases, by mapped class, ``Table`` or name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData, Table, inspect
from sqlalchemy.exc import NotSupportedError
from sqlalchemy.sql import FromClause

from .aliases import ByAlias, DatabaseOptions
from .exceptions import UsageError
from .wording import suggestion

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, CursorResult


class QualifiedName(str):
    """The name of a table with that of its schema before it; there may be dots in both."""

    schema: str
    table: str

    @classmethod
    def of(cls, schema: str, table: str) -> QualifiedName:
        """Return ``schema.table``."""
        name = cls(f"{schema}.{table}")
        name.schema, name.table = schema, table
        return name


def parts_of(name: str) -> tuple[str | None, str]:
    """Return the schema, None if it is the default one, and the name of a table in it."""
    return (name.schema, name.table) if isinstance(name, QualifiedName) else (None, name)


def as_found(connection: Connection, name: str) -> str:
    """Return the ``name`` that somebody has written, which may begin with a schema."""
    schema, _, table = name.rpartition(".")
    inspector = inspect(connection)
    if schema and not inspector.has_table(name) and inspector.has_table(table, schema):
        return QualifiedName.of(schema, table)
    return name


def table_name(target: Any) -> str:
    """Return the name of the table of ``target``, a mapped class, a ``Table`` or a name."""
    mapper = inspect(target, raiseerr=False)
    return str(getattr(mapper, "local_table", target))


def name_in(connection: Connection, target: Any) -> str:
    """Return the name of the table of ``target`` as :func:`table_names` has it."""
    return table_name(target).removeprefix(f"{connection.dialect.default_schema_name}.")


def table_names(connection: Connection, options: DatabaseOptions) -> list[str]:
    """Return the names of all tables in the database that ``options`` are of."""
    inspector = inspect(connection)
    names = inspector.get_table_names()
    for schema in schemas_of(options, inspector.default_schema_name):
        names += [QualifiedName.of(schema, name) for name in inspector.get_table_names(schema)]
    return names


def schemas_of(options: DatabaseOptions, default: str | None) -> list[str]:
    """Return the schemas, other than the ``default`` one, that known tables are in."""
    return sorted({str(table.schema) for table in options.tables()} - {"None", str(default)})


def reflected(connection: Connection, name: str) -> Table:
    """Return the table ``name`` as it is in the database now.

    :raises NoSuchTableError: there is none.
    """
    schema, table = parts_of(name)
    return Table(table, MetaData(), schema=schema, autoload_with=connection)


def execute_again_if_stale(
    connection: Connection, execute: Callable[[], CursorResult[Any]]
) -> CursorResult[Any]:
    """Return the result of a query on ``connection`` for all columns that a table has now.

    A driver that has prepared it, when the table had others, finds that out and forgets it.
    """
    try:
        return execute()
    except NotSupportedError:
        connection.rollback()
        return execute()


def source_of(
    target: Any, connection: Connection, databases: ByAlias[DatabaseOptions], alias: str
) -> Any:
    """Return what to select from: ``target`` itself or, of a name, the ``Table``.

    A name is looked up in the metadata first and in the database second, and where tests migrate
    it, in the database only.

    :param connection: leads to the database ``alias`` of ``databases``.
    :raises UsageError: there is no such table.
    """
    if isinstance(target, str):
        return _table_called(target, connection, databases, alias)
    is_mapped = isinstance(target, type) and inspect(target, raiseerr=False) is not None
    if isinstance(target, FromClause) or is_mapped:
        return target
    hint = ""
    if inspect(type(target), raiseerr=False) is not None:
        hint = f"; write {type(target).__name__} and the values of its columns"
    raise UsageError(
        f"{target!r} is neither a mapped class, nor a Table, nor the name of a table{hint}"
    )


def _table_called(
    name: str, connection: Connection, databases: ByAlias[DatabaseOptions], alias: str
) -> Table:
    options = databases[alias]
    for metadata in () if options.is_migrated_by_tests else options.metadata:
        if name in metadata.tables:
            return metadata.tables[name]
    names = table_names(connection, options)
    found = as_found(connection, name)
    if name in names or isinstance(found, QualifiedName):
        return reflected(connection, found)
    known = [table.key for options in databases.values() for table in options.tables()]
    hint = suggestion(name, sorted({*known, *names}), "there are:")
    raise UsageError(f"there is no table {name!r}; {hint}")
