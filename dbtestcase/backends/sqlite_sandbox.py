"""Stand-ins for ``sqlite3.Connection`` inside the sandbox."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from ..connections import SandboxedConnection, SandboxedCursor
from .sqlite_connections import WithIsolationLevel

# Settings of a connection, not of the data. The sandbox's one connection has its own, so
# what an application sets on a connection of its own is answered with the value in force.
_SETTING = re.compile(
    r"\s*PRAGMA\s+(?:\w+\.)?(?P<name>journal_mode|synchronous|foreign_keys|locking_mode|temp_store"
    r"|read_uncommitted)"
    r"\s*(=|\().*",
    re.IGNORECASE | re.DOTALL,
)


class SQLiteSandboxedConnection(WithIsolationLevel, SandboxedConnection):
    """A stand-in for ``sqlite3.Connection``, with the shortcuts that class has."""

    def cursor(self, *args: Any, **kwargs: Any) -> SQLiteSandboxedCursor:
        return SQLiteSandboxedCursor(self, self.sandbox.connection.cursor(*args, **kwargs))

    def execute(self, sql: str, *args: Any) -> Any:
        return self.cursor().execute(sql, *args)

    def executemany(self, sql: str, *args: Any) -> Any:
        return self.cursor().executemany(sql, *args)

    def executescript(self, script: str) -> Any:
        return self.cursor().executescript(script)

    @property
    def in_transaction(self) -> bool:
        return any(savepoint.held for savepoint in self.savepoints)

    def create_function(self, name: str, narg: int, func: Any, **options: Any) -> None:
        """Register ``func`` unless it is there: SQLite refuses that while a query is read."""
        registered = self.sandbox.connection.functions
        known = registered.get((name, narg))
        if getattr(known, "__code__", known) is not getattr(func, "__code__", func):
            self.sandbox.connection.create_function(name, narg, func, **options)
            registered[name, narg] = func


class SQLiteSandboxedCursor(SandboxedCursor):
    def execute(self, sql: str, *args: Any, **kwargs: Any) -> Any:
        setting = _SETTING.fullmatch(sql)
        if setting is not None:
            sql = f"PRAGMA {setting['name']}"
        return super().execute(sql, *args, **kwargs)

    def executescript(self, script: str) -> Any:
        """Execute each statement; ``sqlite3`` itself would commit the outer transaction."""
        statement = ""
        for part in re.split("(;)", script):
            statement += part
            if sqlite3.complete_statement(statement):
                self.execute(statement)
                statement = ""
        if statement.strip():
            self.execute(statement)
        return self
