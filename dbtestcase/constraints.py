"""What constraints are called: in the database, in the metadata, and by their columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    UniqueConstraint,
    inspect,
)

from .backends.diagnostics import Constraint, Kind
from .tables import schemas_of

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

    from .aliases import DatabaseOptions

_REFLECTED: list[tuple[Kind, str, str]] = [
    ("primary key", "pk_constraint", "constrained_columns"),
    ("unique", "unique_constraints", "column_names"),
    ("unique", "indexes", "column_names"),
    ("foreign key", "foreign_keys", "constrained_columns"),
    ("check", "check_constraints", ""),
]
_LOOSE = ("primary key", "unique")  # what most databases call the violation of the first
_KINDS: dict[type[Any], Kind] = {
    CheckConstraint: "check",
    ForeignKeyConstraint: "foreign key",
    Index: "unique",
    PrimaryKeyConstraint: "primary key",
    UniqueConstraint: "unique",
}


def is_called(violated: Constraint, name: str, known: Sequence[Constraint]) -> bool:
    """Tell whether ``name`` is that of a violated constraint, by what ``known`` ones are called.

    A name without a schema is one of the default schema, if that has such a constraint.
    """
    if name in names_of(violated, known):
        return True
    if not violated.schema or name in all_names(one for one in known if not one.schema):
        return False
    there = [one._replace(schema="") for one in known if one.schema == violated.schema]
    return name in names_of(violated._replace(schema=""), there)


def names_of(violated: Constraint, known: Sequence[Constraint]) -> list[str]:
    """Return all names, the best first, that ``known`` constraints give to a violated one.

    Each has the schema, if that is not the default one.
    """
    same = [one for one in known if _may_be(one, violated)]
    columns = next((one for one in [violated, *same] if one.columns), violated)
    alike = [violated, *same]
    alike += [one for one in known if columns.columns and _may_be(one, columns)]
    names = [_in_schema(violated.schema, one.name) for one in alike if one.name]
    by_columns = _by_columns(columns._replace(schema=violated.schema))
    return list(dict.fromkeys(filter(None, [*names, by_columns])))


def all_names(known: Iterable[Constraint]) -> list[str]:
    """Return what each of ``known`` can be called, with its schema or without."""
    found = set()
    for one in known:
        for called in (one, one._replace(schema="")):
            found |= {one.name and _in_schema(called.schema, one.name), _by_columns(called)}
    return sorted(filter(None, found))


def in_database(connection: Connection, options: DatabaseOptions) -> list[Constraint]:
    """Return the constraints that the database knows, in all schemas that ``options`` name."""
    inspector = inspect(connection)
    schemas = [None, *schemas_of(options, inspector.default_schema_name)]
    return [one for schema in schemas for one in _reflected(inspector, schema)]


def in_metadata(options: DatabaseOptions, default: str | None = None) -> list[Constraint]:
    """Return the constraints that the metadata of a database gives names to.

    :param default: the default schema of the database, which a table may name.
    """
    return [
        one._replace(schema="" if table.schema in (None, default) else table.schema)
        for table in options.tables()
        for one in _named_in(table)
    ]


def _may_be(known: Constraint, violated: Constraint) -> bool:
    """Tell whether ``known`` is the constraint of which only some is known."""
    is_kind = known.kind == violated.kind or (known.kind, violated.kind) == _LOOSE
    if not is_kind or (violated.table and known.table != violated.table):
        return False
    if violated.schema is not None and known.schema != violated.schema:
        return False
    if known.kind == violated.kind == "primary key" or known.name == violated.name != "":
        return True
    return bool(violated.columns) and set(known.columns) == set(violated.columns)


def _by_columns(constraint: Constraint) -> str:
    table = _in_schema(constraint.schema, constraint.table)
    return ", ".join(f"{table}.{column}" for column in constraint.columns)


def _in_schema(schema: str | None, name: str) -> str:
    return f"{schema}.{name}" if schema else name


def _reflected(inspector: Any, schema: str | None) -> Iterator[Constraint]:
    for one in (*_with_names(inspector, schema), *_not_null(inspector, schema)):
        yield one._replace(schema=schema or "")


def _with_names(inspector: Any, schema: str | None) -> Iterator[Constraint]:
    for kind, what, columns in _REFLECTED:
        for (_, table), found in getattr(inspector, f"get_multi_{what}")(schema).items():
            for one in found if isinstance(found, list) else [found]:
                names = one[columns] if columns else ()
                if one.get("unique", True):
                    yield Constraint(kind, one["name"] or "", table, tuple(filter(None, names)))
                elif "duplicates_constraint" in one:
                    yield Constraint("exclusion", one["duplicates_constraint"], table)


def _not_null(inspector: Any, schema: str | None) -> Iterator[Constraint]:
    for (_, table), found in inspector.get_multi_columns(schema).items():
        for column in found:
            if not column["nullable"]:
                yield Constraint("not null", "", table, (column["name"],))


def _named_in(table: Table) -> Iterator[Constraint]:
    unique: list[Any] = [index for index in table.indexes if index.unique]
    for one in [*table.constraints, *unique]:
        kind: Kind = next(
            (_KINDS[base] for base in type(one).__mro__ if base in _KINDS), "exclusion"
        )
        columns = () if kind in ("check", "exclusion") else one.columns
        if isinstance(one.name, str):
            yield Constraint(kind, one.name, table.name, tuple(column.name for column in columns))
