"""The rows that an assertion is about: of which table, with which values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData, Table, func, inspect, select
from sqlalchemy.exc import CompileError, DBAPIError
from sqlalchemy.sql import ClauseElement, FromClause

from .exceptions import UsageError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.sql import ColumnElement

_SHOWN_ROWS = 10
_SHOWN_CHARACTERS = 60


class Rows:
    """The rows of ``target`` that meet ``conditions`` and have ``values``.

    :param target: a mapped class, a ``Table``, or the name of a table.
    :param metadata: where names are looked up first; the database is second.
    :raises UsageError: there is no such table or column.
    """

    def __init__(
        self,
        connection: Connection,
        target: Any,
        conditions: Iterable[ColumnElement[bool]],
        values: Mapping[str, Any],
        metadata: Iterable[MetaData],
    ) -> None:
        self._connection = connection
        self._source = _source(connection, target, metadata)
        self._names = _names(self._source)
        conditions = list(conditions)
        self._where = [*conditions, *(self._column(name) == values[name] for name in values)]
        described = [_rendered(condition, connection) for condition in conditions]
        described += [f"{name} = {_named(value)}" for name, value in values.items()]
        self.wanted = " and ".join(described)

    @property
    def table(self) -> str:
        """The name of the table."""
        mapper = inspect(self._source, raiseerr=False)
        return str(getattr(mapper, "local_table", self._source))

    def count(self) -> int:
        """Return how many rows there are."""
        query = select(func.count()).select_from(self._source).where(*self._where)
        try:
            return self._connection.execute(query).scalar_one()
        except DBAPIError as error:
            self._connection.rollback()
            names = table_names(self._connection)
            if self.table in names:
                raise
            raise UsageError(
                f"there is no table {self.table} in the database; it has: "
                f"{', '.join(names) or 'none'}. Is it part of the class option metadata?"
            ) from error

    def describe(self, *, matching: bool) -> str:
        """Return the rows as text, or all rows of the table if they need not match."""
        mapper = inspect(self._source, raiseerr=False)
        query = select(getattr(mapper, "selectable", self._source)).limit(_SHOWN_ROWS + 1)
        rows = self._connection.execute(query.where(*self._where) if matching else query).all()
        lines = [
            ", ".join(_shown(str(name), value) for name, value in row._mapping.items())
            for row in rows[:_SHOWN_ROWS]
        ]
        if len(rows) > _SHOWN_ROWS:
            lines.append(f"… and more; the first {_SHOWN_ROWS} are shown")
        return "".join(f"\n    {line}" for line in lines)

    def _column(self, name: str) -> Any:
        if name not in self._names:
            near = get_close_matches(name, self._names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(self._names)}"
            raise UsageError(f"{self.table} has no column {name!r}; {hint}")
        return self._names[name]


def table_names(connection: Connection) -> list[str]:
    """Return the names of all tables in the database."""
    return inspect(connection).get_table_names()


def table_name(target: Any) -> str:
    """Return the name of the table of ``target``, a mapped class, a ``Table`` or a name."""
    mapper = inspect(target, raiseerr=False)
    return str(getattr(mapper, "local_table", target))


def _source(connection: Connection, target: Any, metadata: Iterable[MetaData]) -> Any:
    if isinstance(target, str):
        return _table_called(target, connection, metadata)
    if isinstance(target, FromClause):
        return target
    if isinstance(target, type) and inspect(target, raiseerr=False) is not None:
        return target
    hint = ""
    if inspect(type(target), raiseerr=False) is not None:
        hint = f"; write {type(target).__name__} and the values of its columns"
    raise UsageError(
        f"{target!r} is neither a mapped class, nor a Table, nor the name of a table{hint}"
    )


def _table_called(name: str, connection: Connection, metadata: Iterable[MetaData]) -> Table:
    known: dict[str, Table] = {}
    for one in metadata:
        known.update(one.tables)
    if name in known:
        return known[name]
    names = table_names(connection)
    if name in names:
        return Table(name, MetaData(), autoload_with=connection)
    candidates = sorted({*known, *names})
    near = get_close_matches(name, candidates, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(candidates) or 'none'}"
    raise UsageError(f"there is no table {name!r}; {hint}")


def _names(source: Any) -> dict[str, Any]:
    if isinstance(source, FromClause):
        return dict(source.c)
    mapper: Any = inspect(source)
    names = mapper.all_orm_descriptors.keys()
    return {name: getattr(source, name) for name in names}


def _rendered(condition: Any, connection: Connection) -> str:
    if not isinstance(condition, ClauseElement):
        raise UsageError(
            f"{condition!r} is not an SQL expression; write User.age > 17, or values as keywords"
        )
    try:
        rendered = condition.compile(connection, compile_kwargs={"literal_binds": True})
    except CompileError:
        return str(condition)  # a value of a type that has no literal form
    return str(rendered)


def _named(value: Any) -> str:
    identity = getattr(inspect(value, raiseerr=False), "identity", None)
    if identity is None:
        return repr(value)
    return f"<{type(value).__name__} {', '.join(map(repr, identity))}>"


def _shown(name: str, value: Any) -> str:
    text = repr(value)
    return f"{name}={text[:_SHOWN_CHARACTERS]}{'…' if len(text) > _SHOWN_CHARACTERS else ''}"
