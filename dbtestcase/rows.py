"""The rows that an assertion is about: of which table, with which values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, inspect, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import FromClause

from .aliases import DEFAULT, ByAlias, DatabaseOptions
from .criteria import of_condition, of_value
from .exceptions import UsageError
from .tables import name_in, source_of, table_names
from .wording import counted, cut, suggestion

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, CursorResult
    from sqlalchemy.sql import ColumnElement

_SHOWN_ROWS = 10
_SHOWN_NEAREST = 5
_COMPARED_ROWS = 200  # in Python, of those that the database finds nearest
SHOWN_COLUMNS = 12


class Rows:
    """The rows of ``target`` that meet ``conditions`` and have ``values``.

    :param connection: leads to the database ``alias`` of ``databases``.
    :param target: a mapped class, a ``Table``, or the name of a table.
    :raises UsageError: there is no such table or column.
    """

    def __init__(
        self,
        connection: Connection,
        databases: ByAlias[DatabaseOptions],
        alias: str,
        target: Any,
        conditions: Iterable[ColumnElement[bool]] = (),
        values: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._connection = connection
        self._options = databases[alias]
        self._place = f" ({alias})" if alias != DEFAULT else ""
        self._source = source_of(target, connection, databases, alias)
        self._names = _names(self._source)
        self._columns = _columns(self._source)
        self._key = inspect(self._source).primary_key
        criteria = [of_condition(condition, self._source, connection) for condition in conditions]
        criteria += [of_value(name, self.column(name), values[name]) for name in values]
        #: What the database compares, and what Python does.
        self._compared = [one for one in criteria if one.document is None]
        self._documents = [one for one in criteria if one.document is not None]
        self.wanted = " and ".join(one.text for one in criteria)
        self.with_wanted = f" with {self.wanted}" if criteria else ""

    @property
    def table(self) -> str:
        """The name of the table."""
        return name_in(self._connection, self._source)

    @property
    def title(self) -> str:
        """The table, as messages name it."""
        return f"{self.table}{self._place}"

    @property
    def are_revisions(self) -> bool:
        """Whether they are those of Alembic's own table, whatever its name has been set to."""
        return self._options.migrations is not None and [*self._columns] == ["version_num"]

    def column(self, *names: str) -> Any:
        """Return the first of the columns, or attributes of the mapped class, that is there.

        :raises UsageError: none is.
        """
        found = self.first_of(names)
        if found is not None:
            return self._names[found]
        hint = suggestion(names[0], self._names, "it has")
        written = " or ".join(map(repr, names))
        raise UsageError(f"{self.title} has no column {written}; {hint}")

    def first_of(self, names: Iterable[str]) -> str | None:
        """Return the first of ``names`` that is one of a column or attribute, if any is."""
        return next((name for name in names if name in self._names), None)

    def count(self) -> int:
        """Return how many rows there are."""
        if self._documents:
            return len(self._matching())
        return self._count(*(one.expression for one in self._compared))

    def total(self) -> str:
        """Return how many rows the table has, as in "which has 2 rows"."""
        count = self._count()
        return f"which has {counted(count)}" if count else "which is empty"

    def describe(self) -> str:
        """Return the rows as text, a line for each."""
        rows = self._matching(limit=None if self._documents else _SHOWN_ROWS + 1)
        lines = [self._line(row) for row in rows[:_SHOWN_ROWS]]
        if len(rows) > _SHOWN_ROWS:
            lines.append(f"… and {counted(self.count() - _SHOWN_ROWS, 'more row')}")
        return "".join(f"\n    {line}" for line in lines)

    def nearest(self) -> str:
        """Return as text the other rows that come nearest, with what differs marked."""
        unmet: Any = sum(case((one.expression, 0), else_=1) for one in self._compared)
        first = [unmet] if self._compared else []
        rows = self._execute(self._select(*first).limit(_COMPARED_ROWS))
        marked = [(self._differences(row), row) for row in rows]
        others = sorted((one for one in marked if one[0]), key=lambda one: len(one[0]))
        lines = [self._line(row, marks) for marks, row in others[:_SHOWN_NEAREST]]
        return "".join(f"\n    {line}" for line in lines)

    def _count(self, *conditions: Any) -> int:
        query = select(func.count()).select_from(self._source).where(*conditions)
        count: int = self._execute(query).scalar_one()
        return count

    def _execute(self, query: Any) -> CursorResult[Any]:
        try:
            return self._connection.execute(query)
        except DBAPIError as error:
            self._connection.rollback()
            names = table_names(self._connection, self._options)
            if self.table in names:
                raise
            raise UsageError(
                f"there is no table {self.table!r} in the database{self._place}; "
                f"{suggestion(self.table, names, 'it has:')}\n"
                "  Is it part of the option metadata?"
            ) from error

    def _select(self, *order: Any) -> Any:
        """Return a query for the columns, whether each criterion is met, and the documents."""
        columns = [column.label(None) for column in self._columns.values()]
        met = [case((one.expression, 1), else_=0).label(None) for one in self._compared]
        documents = [one.column.label(None) for one in self._documents]
        query = select(*columns, *met, *documents).select_from(self._source)
        return query.order_by(*order, *self._key)

    def _matching(self, limit: int | None = None) -> list[Any]:
        query = self._select().where(*(one.expression for one in self._compared)).limit(limit)
        return [row for row in self._execute(query) if not self._differences(row)]

    def _differences(self, row: Any) -> dict[str, str]:
        """Return by criterion what ``row`` has to be marked with."""
        values = iter(row[len(self._columns) :])
        marks = {one.key: f"not {one.shown}" for one in self._compared if not next(values)}
        for one in self._documents:
            difference = one.document.difference(next(values))
            if difference:
                marks[one.key] = difference
        return marks

    def _line(self, row: Any, marks: Mapping[str, str] = MappingProxyType({})) -> str:
        shown = [
            f"{name}={cut(value)}" + (f" ({marks[name]})" if name in marks else "")
            for name, value in zip(self._columns, row, strict=False)
            if name in self._shown_names()
        ]
        shown += [
            f"{key} {mark}" if key in self._names else mark  # of a relationship, of a condition
            for key, mark in marks.items()
            if key not in self._columns
        ]
        left_out = len(self._columns) - len(self._shown_names())
        if left_out:
            shown.append(f"… and {left_out} more columns")
        return ", ".join(shown)

    def _shown_names(self) -> set[str]:
        """Return the columns to show: those that are asked about and then the first ones."""
        asked = {one.key for one in [*self._compared, *self._documents]}
        first = sorted(self._columns, key=lambda name: name not in asked)
        return set(first[:SHOWN_COLUMNS])


def _names(source: Any) -> dict[str, Any]:
    """Return what values can be given for, by name."""
    if isinstance(source, FromClause):
        return dict(source.c)
    mapper: Any = inspect(source)
    names = mapper.all_orm_descriptors.keys()
    return {name: getattr(source, name) for name in names}


def _columns(source: Any) -> dict[str, Any]:
    """Return what rows are shown by, by name."""
    if isinstance(source, FromClause):
        return dict(source.c)
    mapper: Any = inspect(source)
    of_tables = {column for table in mapper.tables for column in table.c}
    return {
        one.key: getattr(source, one.key)
        for one in mapper.column_attrs
        if one.columns[0] in of_tables
    }
