"""What is in a database at one time, and how that differs from another time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, inspect, literal_column, select, table

from .wording import counted

if TYPE_CHECKING:
    from sqlalchemy import Row, Select, Table, TableClause
    from sqlalchemy.engine import Connection

# Where there are more rows, only their number is looked at.
_COMPARED_IN_TABLE = 5_000
_COMPARED_IN_ALL = 100_000


class Content(NamedTuple):
    """What is in a table."""

    size: int  # how many rows

    #: All rows as texts, by their primary keys; None if there are too many.
    rows: Mapping[str, str] | None


#: By the name of the table.
Observation = Mapping[str, Content]


def observe(connection: Connection, known: Iterable[Table]) -> Observation:
    """Return what is in all tables, of the default schema and of those of ``known`` ones."""
    inspector = inspect(connection)
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
    rows = connection.execute(everything.limit(most + 1)).all()
    if len(rows) > most:
        return Content(connection.scalar(select(func.count()).select_from(one)) or 0, None)
    return Content(len(rows), dict(_identified(rows, key)))


def _identified(rows: Iterable[Row[Any]], key: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each row with what identifies it: its key, else itself and how often it has been."""
    seen: Counter[str] = Counter()
    for row in rows:
        text = _text(row)
        if key:
            yield _text(row._mapping[name] for name in key), text
        else:
            seen[text] += 1
            yield f"{text} {seen[text]}", text


def _text(values: Iterable[Any]) -> str:
    return repr([bytes(one) if isinstance(one, memoryview) else one for one in values])


def _differences(before: Content, after: Content) -> Iterator[str]:
    if before.rows is None or after.rows is None:
        more = after.size - before.size
        if more:
            yield f"{abs(more):,} {'more' if more > 0 else 'fewer'}, of too many to compare them"
        return
    inserted = len(after.rows.keys() - before.rows.keys())
    deleted = len(before.rows.keys() - after.rows.keys())
    both = before.rows.keys() & after.rows.keys()
    updated = sum(before.rows[key] != after.rows[key] for key in both)
    for number, what in ((inserted, "inserted"), (updated, "updated"), (deleted, "deleted")):
        if number:
            yield f"{number:,} {what}"
