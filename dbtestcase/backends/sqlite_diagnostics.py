"""What SQLite says of constraints and plans."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect

from .diagnostics import (
    Blocked,
    Constraint,
    Diagnostics,
    Failed,
    Holder,
    Kind,
    Plan,
    explained,
    is_called,
    sql_of,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_FAILED = re.compile(r"(UNIQUE|NOT NULL|CHECK|FOREIGN KEY) constraint failed(?:: (?P<what>.+))?")
_KINDS: dict[str, Kind] = {
    "UNIQUE": "unique",
    "NOT NULL": "not null",
    "CHECK": "check",
    "FOREIGN KEY": "foreign key",
}
_NO_TABLE = "no such table: "
_REPLAY = "dbtestcase_replay"
_KEY_COLUMNS = 'SELECT "from" FROM pragma_foreign_key_list(?) WHERE id = ? ORDER BY seq'
_INDEX = re.compile(
    r".* USING (?:COVERING )?INDEX (.+?)"
    r"(?: \((?:ANY\(.*|\(?[^(]*[=<>].*)\))?(?: LEFT-JOIN)?"  # the terms that it is searched by
)
_PRIMARY_KEY = re.compile(  # TABLE and AS were said before SQLite 3.36
    r"(?:SEARCH|SCAN) (?:TABLE )?(.+?)(?: AS .+)? USING (?:INTEGER )?PRIMARY KEY.*"
)
_OF_INDEX = """
SELECT m.name FROM sqlite_master m, pragma_index_list(m.name) i
 WHERE m.type = 'table' AND i.name = ?"""
_COLUMNS = "SELECT name FROM pragma_index_info(?) ORDER BY seqno"


class SQLiteDiagnostics(Diagnostics):
    """SQLite names columns rather than constraints, and of foreign keys says nothing."""

    lock_limit = "five seconds, or as long as PRAGMA busy_timeout says"

    def violated(self, error: Any, failed: Failed | None) -> list[Constraint]:
        found = _FAILED.fullmatch(str(error)) if isinstance(error, sqlite3.IntegrityError) else None
        if found is None:
            return []
        kind, what = _KINDS[found[1]], found["what"] or ""
        if kind == "foreign key":
            return [] if failed is None else _foreign_keys(failed)
        if kind == "check":
            return [Constraint(kind, name=what)]
        if what.startswith("index "):
            return [Constraint(kind, name=what.removeprefix("index ").strip("'"))]
        places = [place.rpartition(".") for place in what.split(", ")]
        return [Constraint(kind, table=places[0][0], columns=tuple(name for *_, name in places))]

    def lacks_table(self, error: Any) -> bool:
        return isinstance(error, sqlite3.OperationalError) and str(error).startswith(_NO_TABLE)

    def is_blocked(self, error: Any) -> bool:
        code = getattr(error, "sqlite_errorcode", 0)  # of which the last byte is the primary one
        return code & 0xFF == sqlite3.SQLITE_BUSY

    def holders(
        self, blocked: Blocked, others: Collection[Any], ask: Callable[[str], Sequence[Any]]
    ) -> list[Holder]:
        """Return the writers: in WAL mode nobody else is waited for.

        Only a transaction that has read what is out of date is refused without one.
        """
        writers = [Holder(one, one.wrote) for one in others if one.in_transaction]
        if not writers and blocked.error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            return [Holder(None, "", "a connection that is none of the test's")]
        return writers

    def plan(
        self, connection: Connection, statement: Any, index: str, tables: Collection[str]
    ) -> Plan:
        rows = explained(connection, "EXPLAIN QUERY PLAN", statement).mappings()
        lines = [str(row["detail"]) for row in rows]
        used = {found[1] for found in map(_INDEX.fullmatch, lines) if found}
        keyed = {found[1] for found in map(_PRIMARY_KEY.fullmatch, lines) if found}
        sql = sql_of(statement, connection)
        by_key = {
            table
            for table in inspect(connection).get_table_names()
            if any(is_called(table, name, sql) for name in keyed)
        }
        return Plan(used | _constraint_names(connection, used, by_key), "\n".join(lines))


def _foreign_keys(failed: Failed) -> list[Constraint]:
    """Return the foreign keys that are violated, found by doing it again and checking later."""
    cursor = failed.connection.cursor()
    before = _broken(cursor) if failed.sql else set()
    with _deferring(cursor):
        if failed.sql:
            _replay(cursor, failed)
        broken = _broken(cursor) - before
    found = {(table, number) for table, _, _, number in broken}
    return [Constraint("foreign key", "", *_columns(cursor, *one)) for one in sorted(found)]


def _replay(cursor: Any, failed: Failed) -> None:
    """Execute the statement again for each of its parameters."""
    many = isinstance(failed.parameters, list)
    for parameters in failed.parameters if many else [failed.parameters]:
        with suppress(sqlite3.IntegrityError):  # of what was inserted before the one that failed
            cursor.execute(failed.sql, parameters)
            cursor.fetchall()


@contextmanager
def _deferring(cursor: Any) -> Iterator[None]:
    """Let foreign keys be violated inside the block, all of which is undone."""
    cursor.execute("PRAGMA defer_foreign_keys")
    [deferred] = cursor.fetchone()
    cursor.execute(f"SAVEPOINT {_REPLAY}")
    try:
        cursor.execute("PRAGMA defer_foreign_keys = 1")
        yield
    finally:
        cursor.execute(f"ROLLBACK TO SAVEPOINT {_REPLAY}")
        cursor.execute(f"RELEASE SAVEPOINT {_REPLAY}")
        cursor.execute(f"PRAGMA defer_foreign_keys = {int(deferred)}")


def _broken(cursor: Any) -> set[tuple[Any, ...]]:
    cursor.execute("PRAGMA foreign_key_check")
    return set(map(tuple, cursor.fetchall()))


def _columns(cursor: Any, table: str, number: int) -> tuple[str, tuple[str, ...]]:
    cursor.execute(_KEY_COLUMNS, (table, number))
    return table, tuple(name for (name,) in cursor.fetchall())


def _constraint_names(connection: Connection, indexes: set[str], tables: set[str]) -> set[str]:
    """Return the names of the constraints that SQLite made ``indexes`` for.

    :param tables: those whose rows are in the order of the primary key, which has no index.
    """
    inspector = inspect(connection)
    names = {inspector.get_pk_constraint(table)["name"] for table in tables}
    for index in indexes:
        table = connection.exec_driver_sql(_OF_INDEX, (index,)).scalar()
        if table is None:  # it is temporary
            continue
        columns = connection.exec_driver_sql(_COLUMNS, (index,)).scalars().all()
        key = inspector.get_pk_constraint(table)
        made_for = [
            (one["name"], one["column_names"]) for one in inspector.get_unique_constraints(table)
        ]
        names |= {
            name
            for name, ones in [*made_for, (key["name"], key["constrained_columns"])]
            if ones == columns
        }
    return {name for name in names if name}
