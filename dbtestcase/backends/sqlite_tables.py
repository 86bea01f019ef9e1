"""How single tables are made to contain what they contain in the database they come from."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_SEQUENCES = "sqlite_sequence"
_ROWID_NAMES = ("rowid", "_rowid_", "oid")

#: Whether triggers can be turned off, from Python 3.12; else they would fire.
_CAN_STOP_TRIGGERS = hasattr(sqlite3.Connection, "setconfig")


class Tables:
    """The tables of a connection's database, and of the one it was copied from.

    :param connection: in autocommit mode, and nobody else's.
    :param original: the file of the database it was copied from.
    """

    def __init__(self, connection: sqlite3.Connection, original: Path | None) -> None:
        self._execute = connection.execute
        self._roll_back = connection.rollback
        self._execute("PRAGMA foreign_keys = OFF")
        self._execute("PRAGMA ignore_check_constraints = ON")
        if _CAN_STOP_TRIGGERS:
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)  # type: ignore[attr-defined,unused-ignore]
        self._execute("ATTACH ? AS original", (str(original),))

    def look(self) -> None:
        """Note what there is, when the two databases are equal."""
        self._versions = self._look_at_versions()
        objects = self._execute("SELECT type, name, tbl_name, rootpage FROM original.sqlite_master")
        found = objects.fetchall()
        self._with_rows = {name for kind, name, _, page in found if kind == "table" and page}
        self._without_rows = {"sqlite_master"}  # views and virtual tables, too, store nothing
        self._without_rows |= {
            name for kind, name, _, page in found if kind != "trigger" and not page
        }
        self._with_triggers = {table for kind, _, table, _ in found if kind == "trigger"}
        self._counts: dict[str, int] = {}
        self._statements: dict[str, list[str]] = {}

    def refill(self, names: set[str]) -> bool:
        """Let the tables ``names`` contain what they do in the original.

        Return false, having done nothing, if that cannot be done or takes longer than to copy all.
        """
        if self._versions != self._look_at_versions() or not self._is_cheap(names):
            return False
        if not _CAN_STOP_TRIGGERS and names & self._with_triggers:
            return False
        try:
            self._execute("BEGIN")
            for name in sorted(names & self._with_rows - {_SEQUENCES}):
                for statement in self._statements_for(name):
                    self._execute(statement)
            self._restart(names)
            self._execute("COMMIT")
        except sqlite3.Error:  # an index calls a function that only the application has, say
            self._roll_back()
            return False
        return True

    def are_locked(self) -> bool:
        """Tell whether somebody is in the middle of writing."""
        try:
            self._execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        self._roll_back()
        return False

    def _look_at_versions(self) -> list[Any]:
        """Return what is different once a schema or the original has changed."""
        asked = ("main.schema_version", "original.data_version")
        return [self._execute(f"PRAGMA {name}").fetchone()[0] for name in asked]

    def _is_cheap(self, names: set[str]) -> bool:
        """Tell whether there are fewer rows to insert than pages to copy."""
        if names - self._with_rows - self._without_rows:
            return False
        for name in (names & self._with_rows) - self._counts.keys():
            count = self._execute(f"SELECT count(*) FROM original.{_quoted(name)}")  # noqa: S608
            self._counts[name] = count.fetchone()[0]
        rows = sum(self._counts.get(name, 0) for name in names)
        pages: int = self._execute("PRAGMA original.page_count").fetchone()[0]
        return rows <= pages

    def _restart(self, names: Iterable[str]) -> None:
        """Let AUTOINCREMENT go on as in the original."""
        if _SEQUENCES not in self._with_rows:
            return
        if _SEQUENCES in names:
            for statement in self._statements_for(_SEQUENCES):
                self._execute(statement)
        for name in names:
            self._execute("DELETE FROM main.sqlite_sequence WHERE name = ?", (name,))
            self._execute(
                "INSERT INTO main.sqlite_sequence (rowid, name, seq)"
                " SELECT rowid, name, seq FROM original.sqlite_sequence WHERE name = ?",
                (name,),
            )

    def _statements_for(self, name: str) -> list[str]:
        if name not in self._statements:
            columns = ", ".join(self._columns(name))
            table = _quoted(name)
            self._statements[name] = [
                f"DELETE FROM main.{table}",  # noqa: S608
                f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM original.{table}",  # noqa: S608
            ]
        return self._statements[name]

    def _columns(self, name: str) -> list[str]:
        """Return the columns of a table that are not generated, and its hidden key."""
        info = self._execute(f"PRAGMA main.table_xinfo({_quoted(name)})").fetchall()
        every = {row[1].lower() for row in info}
        columns = [_quoted(row[1]) for row in info if row[6] == 0]
        for rowid in _ROWID_NAMES:
            if rowid not in every and self._has_column(name, rowid):
                return [rowid, *columns]
        return columns

    def _has_column(self, table: str, column: str) -> bool:
        try:
            self._execute(f"SELECT {column} FROM main.{_quoted(table)} LIMIT 0")  # noqa: S608
        except sqlite3.OperationalError:
            return False
        return True


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
