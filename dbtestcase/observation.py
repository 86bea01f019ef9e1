"""What is in a database at one time, and how that differs from another time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, inspect, literal_column, select, table

from .tables import execute_again_if_stale
from .wording import counted

if TYPE_CHECKING:
    from sqlalchemy import Select, Table, TableClause
    from sqlalchemy.engine import Connection

# Where there are more rows, only their number is looked at.
_COMPARED_IN_TABLE = 5_000
_COMPARED_IN_ALL = 100_000


class Content(NamedTuple):
    """What is in a table."""

    size: int  # how many rows
    columns: Sequence[str]
    key: Sequence[str]  # the columns that identify a row

    #: All rows, each value as text; None if there are too many.
    rows: Sequence[tuple[str, ...]] | None

    def identified(self, columns: Sequence[str]) -> dict[Any, tuple[str, ...]]:
        """Return those ``columns`` of each row by its key, else by them and how often they were."""
        key = _places(self.key, columns) if set(self.key) <= set(columns) else []
        places = _places(columns, self.columns)
        seen: Counter[tuple[str, ...]] = Counter()
        found: dict[Any, tuple[str, ...]] = {}
        for row in self.rows or ():
            values = tuple(row[place] for place in places)
            if key:
                found[tuple(values[place] for place in key)] = values
            else:
                seen[values] += 1
                found[values, seen[values]] = values
        return found


#: By the name of the table.
Observation = Mapping[str, Content]


def observe(connection: Connection, known: Iterable[Table]) -> Observation:
    """Return what is in all tables, of the default schema and of those of ``known`` ones."""
    inspector = inspect(connection)
    connection = connection.execution_options(compiled_cache=None)  # which has columns as they were
    default = inspector.default_schema_name
    keys = {
        (one.schema if one.schema != default else None, one.name): [
            column.name for column in one.primary_key
        ]
        for one in known
    }
    found = {}
    left = _COMPARED_IN_ALL
    for schema in dict.fromkeys([None, *(schema for schema, _ in keys)]):
        for name in inspector.get_table_names(schema=schema):
            if (schema, name) not in keys:
                key = inspector.get_pk_constraint(name, schema=schema)
                keys[schema, name] = key["constrained_columns"]
            one = table(name, schema=schema)
            content = found[str(one)] = _content(connection, one, keys[schema, name], left)
            left -= len(content.rows or ())
    return found


def changes(before: Observation, after: Observation) -> list[str]:
    """Return what became of each table that is not as it was, such as "users: 1 inserted"."""
    found = []
    for name in sorted({*before, *after}):
        if name not in after:
            found.append(f"{name}: dropped")
        elif name not in before:
            found.append(f"{name}: created, {counted(after[name].size)}")
        elif differences := list(_differences(before[name], after[name])):
            found.append(f"{name}: {', '.join(differences)}")
    return found


def _content(connection: Connection, one: TableClause, key: Sequence[str], most: int) -> Content:
    most = min(most, _COMPARED_IN_TABLE)
    everything: Select[Any] = select(literal_column("*")).select_from(one)
    result = execute_again_if_stale(
        connection, partial(connection.execute, everything.limit(most + 1))
    )
    columns = list(result.keys())
    rows = [tuple(map(_text, row)) for row in result]
    if len(rows) > most:
        size = connection.scalar(select(func.count()).select_from(one)) or 0
        return Content(size, columns, key, None)
    return Content(len(rows), columns, key, rows)


def _text(value: Any) -> str:
    return repr(bytes(value) if isinstance(value, memoryview) else value)


def _places(names: Iterable[str], columns: Sequence[str]) -> list[int]:
    return [columns.index(name) for name in names]


def _differences(before: Content, after: Content) -> Iterator[str]:
    yield from (f"column {name} added" for name in after.columns if name not in before.columns)
    yield from (f"column {name} dropped" for name in before.columns if name not in after.columns)
    if before.rows is None or after.rows is None:
        more = after.size - before.size
        if more:
            yield f"{abs(more):,} {'more' if more > 0 else 'fewer'}, of too many to compare them"
        return
    shared = [name for name in after.columns if name in before.columns]
    old, new = before.identified(shared), after.identified(shared)
    inserted, deleted = len(new.keys() - old.keys()), len(old.keys() - new.keys())
    updated = sum(old[key] != new[key] for key in old.keys() & new.keys())
    for number, what in ((inserted, "inserted"), (updated, "updated"), (deleted, "deleted")):
        if number:
            yield f"{number:,} {what}"
