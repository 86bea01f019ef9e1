"""What MariaDB and MySQL say of constraints and plans."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, Table
from sqlalchemy.sql import visitors

from .diagnostics import Constraint, Diagnostics, Failed, Kind, Plan, explained, is_called, sql_of

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_DUPLICATE = re.compile(r".* for key '(?:(?P<table>[^'.]+)\.)?(?P<name>[^']+)'")
_FOREIGN_KEY = re.compile(
    r".*\(`[^`]+`\.`(?P<table>[^`]+)`, CONSTRAINT `(?P<name>[^`]+)` "
    r"FOREIGN KEY \((?P<columns>[^)]+)\)"
)
_CHECK = re.compile(r"CONSTRAINT `(?P<name>[^`]+)` failed for `[^`]+`\.`(?P<table>[^`]+)`")
_CHECK_OF_MYSQL = re.compile(r"Check constraint '(?P<name>[^']+)' is violated")
_TABLE = re.compile(
    r"""\b(?:INTO|UPDATE|FROM)\s+(?:["`]?\w+["`]?\s*\.\s*)?["`\[]?(\w+)""", re.IGNORECASE
)
_COLUMN = re.compile(r"(?:Column|Field) '(?P<columns>[^']+)' ")

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


class MySQLDiagnostics(Diagnostics):
    """These servers name the constraint in the text of the error, but not always the table."""

    primary_key = "PRIMARY"

    def violated(self, error: Any, failed: Failed | None) -> list[Constraint]:
        arguments: tuple[Any, ...] = getattr(error, "args", ())
        number, message, *_ = [*arguments, 0, ""]
        if number not in _ERRORS:
            return []
        kind, pattern = _ERRORS[number]
        found = pattern.match(str(message))
        said = {name: value or "" for name, value in found.groupdict().items()} if found else {}
        table = said.get("table") or (_table_in(failed.sql) if failed is not None else "")
        columns = re.findall(r"[^`, ]+", said.get("columns", ""))
        if said.get("name") == self.primary_key:
            kind = "primary key"
        return [Constraint(kind, said.get("name", ""), table, tuple(columns))]

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


def _explain(connection: Connection, statement: Any, key: str) -> tuple[Plan, list[str], bool]:
    """Return the plan, the tables that it reads by ``key``, and if a unique one found no row."""
    rows = explained(connection, "EXPLAIN", statement).mappings().all()
    lines = [", ".join(f"{name}: {row[name]}" for name in row if row[name]) for row in rows]
    plan = Plan({str(row["key"]) for row in rows if row["key"]}, "\n".join(lines))
    is_impossible = any("Impossible WHERE noticed" in str(row["Extra"]) for row in rows)
    return plan, [str(row["table"]) for row in rows if row["key"] == key], is_impossible


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


def _table_in(sql: str) -> str:
    """Return the first table that ``sql``, which changes rows, names; "" if there is none."""
    match = _TABLE.search(sql)
    return match[1] if match else ""
