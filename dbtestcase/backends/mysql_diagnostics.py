"""What MariaDB and MySQL say of constraints, locks and plans."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, Table
from sqlalchemy.sql import visitors

from .diagnostics import (
    Blocked,
    Constraint,
    Diagnostics,
    Failed,
    Holder,
    Kind,
    Plan,
    Shortage,
    explained,
    is_called,
    sql_of,
)
from .mysql_errors import is_blocked, shortage_of
from .mysql_statements import kind_of
from .server import LOCK_WAIT

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_SAME_ANSWER = 0.11  # seconds for which innodb_trx does not change, once somebody has read it
_NAME = r"(?:[^`]|``)+"  # between backticks
_DUPLICATE = re.compile(r".* for key '(?P<key>.+)'", re.DOTALL)
_FOREIGN_KEY = re.compile(  # which MySQL cuts off, where names are long
    rf".*\(`{_NAME}`\.`(?P<table>{_NAME})`, CONSTRAINT `(?P<name>{_NAME})`"
    rf"(?: FOREIGN KEY \((?P<columns>`{_NAME}`(?:, `{_NAME}`)*)\))?",
    re.DOTALL,
)
_CHECK = re.compile(rf"CONSTRAINT `(?P<name>{_NAME})` failed for `{_NAME}`\.`(?P<table>{_NAME})`")
_ANSI_QUOTED = re.compile(r'"((?:[^"]|"")+)"')
_CHECK_OF_MYSQL = re.compile(r"Check constraint '(?P<name>.+)' is violated")
_TABLE = re.compile(
    rf"""\b(?:INTO|UPDATE|FROM)\s+(?:(?:`{_NAME}`|"[^"]+"|\w+)\s*\.\s*)?"""
    rf"""(?:`({_NAME})`|"([^"]+)"|(\w+))""",
    re.IGNORECASE,
)
_COLUMN = re.compile(r"(?:Column|Field) '(?P<column>.+)' ")

_NO_ROW = ("Impossible WHERE noticed", "no matching row in const table")  # MariaDB; MySQL
_NO_TABLE = 1146
_HAVE_INDEX = (
    "SELECT DISTINCT table_name FROM information_schema.statistics"
    " WHERE table_schema = DATABASE() AND index_name = %s"
)

#: By number: https://mariadb.com/kb/en/mariadb-error-codes/
_ERRORS: dict[int, tuple[Kind, re.Pattern[str]]] = {
    1048: ("not null", _COLUMN),
    1062: ("unique", _DUPLICATE),
    1364: ("not null", _COLUMN),
    1451: ("foreign key", _FOREIGN_KEY),
    1452: ("foreign key", _FOREIGN_KEY),
    1586: ("unique", _DUPLICATE),
    3819: ("check", _CHECK_OF_MYSQL),
    4025: ("check", _CHECK),
}


_TRANSACTIONS = """
SELECT id, trx_query, concat('connection ', id, ' of ', user), trx_rows_locked
  FROM information_schema.innodb_trx JOIN information_schema.processlist
    ON id = trx_mysql_thread_id
 WHERE db = DATABASE() AND id <> CONNECTION_ID() ORDER BY trx_started"""


class MySQLDiagnostics(Diagnostics):
    """These servers name the constraint in the text of the error, but not always the table."""

    primary_key = "PRIMARY"
    lock_limit = (
        f"{LOCK_WAIT} seconds, or as long as SET innodb_lock_wait_timeout, and for DDL SET "
        "lock_wait_timeout, says"
    )

    def violated(self, error: Any, failed: Failed | None) -> list[Constraint]:
        arguments: tuple[Any, ...] = getattr(error, "args", ())
        number, message, *_ = [*arguments, 0, ""]
        if number not in _ERRORS:
            return []
        kind, pattern = _ERRORS[number]
        groups = _found(pattern, str(message))
        said = {name: value.replace("``", "`") for name, value in groups.items()}
        written = _table_in(failed.sql) if failed is not None else ""
        if "key" in said:
            said |= _key_and_table(said["key"], written)
        table = said.get("table") or written
        columns = [said["column"]] if "column" in said else _columns(groups.get("columns", ""))
        if said.get("name") == self.primary_key:
            kind = "primary key"
        return [Constraint(kind, said.get("name", ""), table, tuple(columns))]

    def lacks_table(self, error: Any) -> bool:
        return bool([*getattr(error, "args", ()), 0][0] == _NO_TABLE)

    def shortage(self, error: Any) -> Shortage | None:
        return shortage_of(error)

    def is_blocked(self, error: Any) -> bool:
        return is_blocked(error)

    def holders(
        self, blocked: Blocked, others: Collection[Any], ask: Callable[[str], Sequence[Any]]
    ) -> list[Holder]:
        """Return the transactions that hold locks; of tables, which DDL needs, all do.

        Where that does not tell, the connections of the test are asked what they wrote: without
        the privilege to see them, or if somebody has asked so shortly before that the server
        answers the same again.
        """
        written = [Holder(one, one.last_sql) for one in others if one.uncommitted]
        try:
            rows = _transactions(blocked, ask, all_hold=kind_of(blocked.sql).commits)
            if not rows and not written:
                time.sleep(_SAME_ANSWER)
                rows = _transactions(blocked, ask, all_hold=True)
        except Exception:  # the driver's, or SQLAlchemy's
            rows = []
        if not rows:
            return written
        ours = {one.number: one for one in others}
        return [
            Holder(ours.get(number), sql or getattr(ours.get(number), "last_sql", ""), title)
            for number, sql, title, _ in rows
        ]

    def plan(
        self, connection: Connection, statement: Any, index: str, tables: Collection[str]
    ) -> Plan:
        """Ask again with hints, where the tables have too few rows for an index to be worth it."""
        key = self.primary_key if tables else index

        def explain(statement: Any) -> tuple[Plan, bool]:
            plan, keyed, is_impossible = _explain(connection, statement, key)
            sql = sql_of(statement, connection)
            if any(is_called(table, name, sql) for table in tables for name in keyed):
                plan.indexes.add(index)
            return plan, is_impossible

        plan, is_impossible = explain(statement)
        for table in _tables_with(connection, statement, key, tables):
            quoted = connection.dialect.identifier_preparer.quote_identifier(key)
            if index not in plan.indexes:
                forced, _ = explain(statement.with_hint(table, f"FORCE INDEX ({quoted})"))
                plan = forced if index in forced.indexes else plan
            if is_impossible and index not in plan.indexes:  # it has looked for the row, in vain
                _, is_still = explain(statement.with_hint(table, f"IGNORE INDEX ({quoted})"))
                if not is_still:
                    plan.indexes.add(index)
        return plan


def _transactions(
    blocked: Blocked, ask: Callable[[str], Sequence[Any]], *, all_hold: bool
) -> list[Any]:
    """Return those of others that have locked rows, or all if any may hold what is waited for."""
    itself = getattr(blocked.connection, "number", None)
    return [row for row in ask(_TRANSACTIONS) if row[0] != itself and (all_hold or row[3])]


def _explain(connection: Connection, statement: Any, key: str) -> tuple[Plan, list[str], bool]:
    """Return the plan, the tables that it reads by ``key``, and if a unique one found no row."""
    with _without_notes(connection):
        rows = explained(connection, "EXPLAIN FORMAT=TRADITIONAL", statement).mappings().all()
    lines = [", ".join(f"{name}: {row[name]}" for name in row if row[name]) for row in rows]
    plan = Plan({str(row["key"]) for row in rows if row["key"]}, "\n".join(lines))
    is_impossible = any(one in str(row["Extra"]) for row in rows for one in _NO_ROW)
    return plan, [str(row["table"]) for row in rows if row["key"] == key], is_impossible


@contextmanager
def _without_notes(connection: Connection) -> Iterator[None]:
    """Keep MySQL from noting how it reads what it explains, which async drivers would log."""
    noted = int(connection.exec_driver_sql("SELECT @@sql_notes").scalar_one())
    connection.exec_driver_sql("SET sql_notes = 0")
    try:
        yield
    finally:
        connection.exec_driver_sql(f"SET sql_notes = {noted}")


def _tables_with(
    connection: Connection, statement: Any, key: str, tables: Collection[str]
) -> list[Table]:
    """Return those of ``statement`` that have ``key``, if hints can be given to it.

    :param tables: if not empty, the only ones.
    """
    if not isinstance(statement, Select):
        return []
    names = set(connection.exec_driver_sql(_HAVE_INDEX, (key,)).scalars())
    names &= {*tables} or names
    found = (one for one in visitors.iterate(statement) if isinstance(one, Table))
    return [table for table in dict.fromkeys(found) if table.name in names]


def _found(pattern: re.Pattern[str], message: str) -> dict[str, str]:
    """Return what ``pattern`` finds, also where ANSI_QUOTES puts names in double quotes."""

    def in_backticks(quoted: re.Match[str]) -> str:
        name = quoted[1].replace('""', '"').replace("`", "``")
        return f"`{name}`"

    found = pattern.match(message) or pattern.match(_ANSI_QUOTED.sub(in_backticks, message))
    return {} if found is None else found.groupdict("")


def _key_and_table(said: str, written: str) -> dict[str, str]:
    """Take apart what MariaDB calls a key, and MySQL its table and the key.

    :param written: the table that the statement names; a trigger may have written to another.
    """
    if said.startswith(f"{written}."):
        return {"table": written, "name": said.removeprefix(f"{written}.")}
    table, dot, name = said.partition(".")
    return {"table": table, "name": name} if dot else {"table": "", "name": said}


def _table_in(sql: str) -> str:
    """Return the first table that ``sql``, which changes rows, names; "" if there is none."""
    match = _TABLE.search(sql)
    if match is None:
        return ""
    return str(match[1] or match[2] or match[3]).replace("``", "`").replace("%%", "%")


def _columns(written: str) -> list[str]:
    return [name.replace("``", "`") for name in re.findall(rf"`({_NAME})`", written)]
