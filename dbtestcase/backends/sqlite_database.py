"""SQLite databases in memory and in files, and connections that have real transactions."""

from __future__ import annotations

import re
import sqlite3
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..statements import first_word, transaction_control
from .base import Database

_CONTENT = re.compile(r"user_version|application_id", re.IGNORECASE)  # pragmas that write
_WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE|REPLACE)\b", re.IGNORECASE)


class SharedConnection(sqlite3.Connection):
    """The connection of a sandbox, in autocommit mode: the sandbox controls transactions."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "isolation_level": None})
        #: The functions that stand-ins registered, by name and number of arguments.
        self.functions: dict[tuple[str, int], Any] = {}


class TransactionalConnection(sqlite3.Connection):
    """A connection that begins a transaction before any statement that writes.

    ``sqlite3`` by itself does so before INSERT, UPDATE and DELETE only, which leaves savepoints
    and DDL outside of transactions. ``isolation_level`` None means autocommit, as there.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "isolation_level": None})
        self.autocommits = False

    @property  # type: ignore[override]
    def isolation_level(self) -> str | None:
        return None if self.autocommits else ""

    @isolation_level.setter
    def isolation_level(self, level: str | None) -> None:
        if level is None:
            self.commit()  # as sqlite3 does
        self.autocommits = level is None

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(factory or TransactionalCursor)

    def execute(self, sql: str, *args: Any) -> Any:
        return self.cursor().execute(sql, *args)

    def executemany(self, sql: str, *args: Any) -> Any:
        return self.cursor().executemany(sql, *args)


class TransactionalCursor(sqlite3.Cursor):
    def execute(self, sql: str, *args: Any) -> Any:
        self._begin_before(sql)
        return super().execute(sql, *args)

    def executemany(self, sql: str, *args: Any) -> Any:
        self._begin_before(sql)
        return super().executemany(sql, *args)

    def _begin_before(self, sql: str) -> None:
        connection: Any = self.connection
        if connection.in_transaction or connection.autocommits or reads(sql):
            return
        control = transaction_control(sql)
        if control is None or control.verb == "savepoint":
            super().execute("BEGIN")


class SQLiteDatabase:
    """A database in memory (``path`` None) or in a file of its own."""

    def __init__(self, path: Path | None, *, foreign_keys: bool) -> None:
        self._path = path
        self._foreign_keys = foreign_keys
        self._connections: list[sqlite3.Connection] = []
        self.connection: Any = self._open(SharedConnection)
        if path is not None:
            self.connection.execute("PRAGMA journal_mode = WAL")
        self._version = self._data_version()

    def connect(self) -> Any:
        connection = self._open(TransactionalConnection)
        self._connections.append(connection)
        return connection

    def disconnect(self) -> None:
        while self._connections:
            self._connections.pop().close()

    def _open(self, kind: type[sqlite3.Connection]) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path or ":memory:", check_same_thread=False, factory=kind
        )
        settings = {"foreign_keys": int(self._foreign_keys)}
        if self._path is not None:
            settings["synchronous"] = 0  # the file is gone after a crash in any case
        for name, value in settings.items():
            connection.execute(f"PRAGMA {name} = {value}").close()
        return connection

    def changed(self) -> bool:
        return self._data_version() != self._version

    def restore(self, original: Database) -> None:
        source: Any = original.connection
        source.backup(self.connection)
        self._version = self._data_version()

    def drop(self) -> None:
        self.disconnect()
        self.connection.close()
        if self._path is not None:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _data_version(self) -> int:
        version: int = self.connection.execute("PRAGMA data_version").fetchone()[0]
        return version


@lru_cache(maxsize=2048)
def reads(sql: str) -> bool:
    """Tell whether ``sql`` certainly writes nothing."""
    word = first_word(sql)
    if word == "WITH":
        return _WRITES.search(sql) is None
    if word == "PRAGMA":
        return "=" not in sql or _CONTENT.search(sql) is None
    return word in {"SELECT", "VALUES", "EXPLAIN"}
