"""Where a schema comes from: a fingerprint that names it, and a way to apply it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import MetaData
from sqlalchemy.schema import CreateIndex, CreateTable

from .exceptions import OptionError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Dialect


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
        for table in one.sorted_tables:
            digest.update(str(CreateTable(table).compile(dialect=dialect)).encode())
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                digest.update(str(CreateIndex(index).compile(dialect=dialect)).encode())
    return digest.hexdigest()


@lru_cache(maxsize=64)
def schema_of(metadata: tuple[MetaData, ...]) -> Schema:
    """Return the schema of ``metadata``, the same object for the same tables' owners."""
    return MetadataSchema(metadata)
