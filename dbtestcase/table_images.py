"""The rows of all tables at one time, and how they differ at another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import TableClause, inspect

from .rows import SHOWN_COLUMNS
from .tables import execute_again_if_stale, parts_of, table_names
from .wording import counted, cut

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from .aliases import DatabaseOptions

_SHOWN = 10
_AT_ONCE = 100  # tables, in one question whether they have rows


class Changes(NamedTuple):
    """How many rows of a table a block inserts, updates and deletes.

    ``self.assertDatabaseChanges({User: Changes(inserted=1, updated=2)})``
    """

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def __str__(self) -> str:
        counts = zip(self, self._fields, strict=True)
        return ", ".join(f"{count} {what}" for count, what in counts if count) or "no change"


class TableImage(NamedTuple):
    """The rows of one table."""

    columns: Sequence[str]
    rows: Sequence[tuple[Any, ...]]

    def only(self, columns: Sequence[str]) -> TableImage:
        """Return the image of some columns."""
        places = [self.columns.index(name) for name in columns]
        return TableImage(columns, [tuple(row[place] for place in places) for row in self.rows])


class TableDifference:
    """What happened to the rows of a table from one image of it to another.

    Of columns that are in one of the images only, as after ``ALTER TABLE``, nothing is said.

    :param key: the columns of its primary key. If it has none, an update is a row that is gone and
        another that is new.
    """

    def __init__(self, before: TableImage, after: TableImage, key: Sequence[str]) -> None:
        if before.rows and after.rows and before.columns != after.columns:
            shared = [name for name in after.columns if name in before.columns]
            before, after = before.only(shared), after.only(shared)
        self._columns = after.columns or before.columns
        self._key = key if set(key) <= set(self._columns) else []
        old, new = self._by_key(before), self._by_key(after)
        self._inserted = [new[one] for one in new if one not in old]
        self._deleted = [old[one] for one in old if one not in new]
        common = ((old[one], new[one]) for one in new if one in old)
        self._updated = [pair for pair in common if _differ(*pair)]

    @property
    def changes(self) -> Changes:
        """How many rows were changed, and how."""
        return Changes(len(self._inserted), len(self._updated), len(self._deleted))

    def __str__(self) -> str:
        lines = [f"+ {self._row(row)}" for row in self._inserted]
        lines += [f"~ {self._update(*pair)}" for pair in self._updated]
        lines += [f"- {self._row(row)}" for row in self._deleted]
        if len(lines) > _SHOWN:
            lines[_SHOWN:] = [f"… and {counted(len(lines) - _SHOWN, 'more row')}"]
        return "".join(f"\n      {line}" for line in lines)

    def _by_key(self, image: TableImage) -> dict[Any, tuple[Any, ...]]:
        if self._key and image.rows:
            places = [image.columns.index(name) for name in self._key]
            return {repr([row[place] for place in places]): row for row in image.rows}
        seen: Counter[str] = Counter()
        rows = {}
        for row in image.rows:
            seen[repr(row)] += 1
            rows[repr(row), seen[repr(row)]] = row
        return rows

    def _row(self, row: tuple[Any, ...]) -> str:
        shown = [f"{name}={cut(value)}" for name, value in zip(self._columns, row, strict=True)]
        if len(shown) > SHOWN_COLUMNS:
            shown[SHOWN_COLUMNS:] = [f"… and {len(shown) - SHOWN_COLUMNS} more columns"]
        return ", ".join(shown)

    def _update(self, before: tuple[Any, ...], after: tuple[Any, ...]) -> str:
        shown = []
        for name, old, new in zip(self._columns, before, after, strict=False):
            if name in self._key:
                shown.append(f"{name}={cut(new)}")
            elif _differ((old,), (new,)):
                shown.append(f"{name}={cut(old)} → {cut(new)}")
        return ", ".join(shown)


_EMPTY = TableImage((), ())


def images(
    connection: Connection, options: DatabaseOptions, exclude: Collection[str]
) -> dict[str, TableImage]:
    """Return an image of every table that has rows, but of those to ``exclude``, by name.

    :param options: those of the database that ``connection`` leads to.
    """
    names = [name for name in table_names(connection, options) if name not in exclude]
    return {name: _image(connection, name) for name in _filled(connection, names)}


def differences(
    connection: Connection, before: Mapping[str, TableImage], after: Mapping[str, TableImage]
) -> dict[str, TableDifference]:
    """Return for each table that changed in which way it did, by name.

    :param connection: leads to the database that both are images of.
    """
    inspector = inspect(connection)
    found = {}
    for name in dict.fromkeys([*before, *after]):
        images = before.get(name, _EMPTY), after.get(name, _EMPTY)
        if images[0].rows != images[1].rows:
            found[name] = TableDifference(*images, _key(inspector, name))
    return {name: one for name, one in found.items() if any(one.changes)}


def _filled(connection: Connection, names: Sequence[str]) -> Iterator[str]:
    """Yield those of the tables that have rows."""
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        queries = (
            f"SELECT {number}, EXISTS (SELECT 1 FROM {_quoted(connection, name)})"  # noqa: S608
            for number, name in enumerate(some)
        )
        for number, has_rows in connection.exec_driver_sql(" UNION ALL ".join(queries)).all():
            if has_rows:
                yield some[number]


def _image(connection: Connection, name: str) -> TableImage:
    query = f"SELECT * FROM {_quoted(connection, name)}"  # noqa: S608
    result = execute_again_if_stale(connection, partial(connection.exec_driver_sql, query))
    columns = tuple(result.keys())
    return TableImage(columns, [tuple(map(_comparable, row)) for row in result])


def _key(inspector: Any, name: str) -> list[str]:
    schema, table = parts_of(name)
    if not inspector.has_table(table, schema):  # the block has dropped it
        return []
    key: list[str] = inspector.get_pk_constraint(table, schema)["constrained_columns"]
    return key


def _quoted(connection: Connection, name: str) -> str:
    schema, table = parts_of(name)
    preparer = connection.dialect.identifier_preparer
    return preparer.format_table(TableClause(table, schema=schema))


def _comparable(value: Any) -> Any:
    return bytes(value) if isinstance(value, (memoryview, bytearray)) else value


def _differ(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return one != other and repr(one) != repr(other)  # what is not equal to itself, such as NaN
