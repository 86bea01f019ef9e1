"""Where a schema comes from: a fingerprint that names it, and a way to apply it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import MetaData, Sequence, Table
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateSequence, CreateTable, DDLElement
from sqlalchemy.types import SchemaType

from .code_digest import code_digest
from .exceptions import OptionError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Dialect

    from .migrations import MigrationsSchema

_OF_TYPES = ("check", "constraint_name", "not_null", "default", "collation", "data_type")


class Schema(Protocol):
    """A source of tables."""

    def fingerprint(self, dialect: Dialect) -> str:
        """Return a digest of everything that shapes the result of :meth:`apply`."""

    def apply(self, connection: Connection) -> None:
        """Create the tables."""


class MetadataSchema:
    """The tables of one or several ``MetaData``, by ``create_all``."""

    def __init__(self, metadata: Iterable[MetaData]) -> None:
        self.metadata = tuple(metadata)
        self._shape: object = None
        self._fingerprint = ""

    def fingerprint(self, dialect: Dialect) -> str:
        shape = (dialect.name, [_shape(metadata) for metadata in self.metadata])
        if shape != self._shape:
            self._fingerprint = _digest(self.metadata, dialect)
            self._shape = shape
        return self._fingerprint

    def apply(self, connection: Connection) -> None:
        for metadata in self.metadata:
            metadata.create_all(connection)


def metadata_in(value: Any) -> tuple[MetaData, ...]:
    """Return the metadata that the ``metadata`` option stands for.

    :param value: None, a ``MetaData``, a declarative base, or a list or tuple of them.
    :raises OptionError: it is anything else.
    """
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        return tuple(metadata for item in value for metadata in metadata_in(item))
    found = getattr(value, "metadata", value)
    if not isinstance(found, MetaData):
        raise OptionError(
            f"metadata = {value!r} is neither a MetaData nor a declarative base.\n"
            "  To fix this, write for example metadata = Base.metadata"
        )
    return (found,)


def _shape(metadata: MetaData) -> list[tuple[str, int, int, int]]:
    return [
        (name, len(table.columns), len(table.indexes), len(table.constraints))
        for name, table in metadata.tables.items()
    ]


def _digest(metadata: Iterable[MetaData], dialect: Dialect) -> str:
    digest = hashlib.sha256()
    for one in metadata:
        digest.update(_listeners(one, dialect).encode())
        for _, table in sorted(one.tables.items()):
            for said in _said_of(table, dialect):
                digest.update(said.encode())
    return digest.hexdigest()


def _said_of(table: Table, dialect: Dialect) -> Iterator[str]:
    """Yield all that ``create_all`` may say of ``table``."""
    yield str(CreateTable(table).compile(dialect=dialect))
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        yield str(CreateIndex(index).compile(dialect=dialect))
    altering = [key for key in table.foreign_key_constraints if key.use_alter]
    yield from sorted(str(AddConstraint(key).compile(dialect=dialect)) for key in altering)
    for column in table.columns:
        if isinstance(column.type, SchemaType):
            yield f"{column.type!r} {[str(vars(column.type).get(name)) for name in _OF_TYPES]}"
        if isinstance(column.default, Sequence):
            yield str(CreateSequence(column.default).compile(dialect=dialect))
    yield f"{table.comment} {[column.comment for column in table.columns]}"
    yield _listeners(table, dialect)


def _listeners(target: MetaData | Table, dialect: Dialect) -> str:
    """Return what the listeners do that ``create_all`` calls: the text of DDL, the code of others.

    Those of SQLAlchemy's own, which create types and sequences, say nothing that columns do not.
    """
    found = [*target.dispatch.before_create, *target.dispatch.after_create]
    said = []
    for listener in found:
        if isinstance(listener, DDLElement):
            said.append(str(listener.compile(dialect=dialect)))
        elif not str(getattr(listener, "__module__", "")).startswith("sqlalchemy."):
            said.append(code_digest(listener))
    return repr(said)


def check_migrations(value: Any) -> None:
    """Check the type of what the ``migrations`` option says; what is there is seen when it is used.

    :raises OptionError: it is neither None, nor a path, nor a ``Config``.
    """
    if value is None or isinstance(value, (str, os.PathLike)) or hasattr(value, "file_config"):
        return
    raise OptionError(
        f"migrations = {value!r} is neither a path nor a Config of Alembic.\n"
        '  To fix this, write for example migrations = "alembic.ini"'
    )


def require_alembic(feature: str) -> None:
    """Check that Alembic is installed.

    :raises OptionError: it is not; says that ``feature`` needs it.
    """
    if find_spec("alembic") is None:
        raise OptionError(
            f"{feature} needs the package alembic, which is not installed.\n"
            "  To fix this: pip install 'dbtestcase[alembic]'"
        )


def migrations_schema(migrations: Any, revision: str) -> MigrationsSchema:
    """Return what ``migrations`` make, up to ``revision``: an identifier, "heads", or "base".

    :raises OptionError: Alembic is not installed, or nothing is there.
    """
    require_alembic("migrations")
    from . import migrations as package

    return package.migrations_schema(migrations, revision)


@lru_cache(maxsize=64)
def metadata_schema(metadata: tuple[MetaData, ...]) -> Schema:
    """Return the schema of ``metadata``, the same object for the same tables' owners."""
    return MetadataSchema(metadata)
