"""The connections to SQLite databases, and what their statements do."""

from __future__ import annotations

import functools
import re
import sqlite3
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..statements import first_word, transaction_control

_CONTENT = re.compile(r"user_version|application_id", re.IGNORECASE)  # pragmas that write
_WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE|REPLACE)\b", re.IGNORECASE)


@lru_cache(maxsize=2048)
def reads(sql: str) -> bool:
    """Tell whether ``sql`` certainly writes nothing."""
    word = first_word(sql)
    if word == "WITH":
        return _WRITES.search(sql) is None
    if word == "PRAGMA":
        return not ("=" in sql or "(" in sql) or _CONTENT.search(sql) is None
    return word in {"SELECT", "VALUES", "EXPLAIN"}


def _locked(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            return method(self, *args, **kwargs)

    return call


class SharedConnection(sqlite3.Connection):
    """The connection of a sandbox, in autocommit mode: the sandbox controls transactions."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "isolation_level": None})
        #: The functions that stand-ins registered, by name and number of arguments.
        self.functions: dict[tuple[str, int], Any] = {}


class WithIsolationLevel:
    """The ``isolation_level`` of ``sqlite3``: None for autocommit, else an empty string."""

    autocommits: bool
    commit: Callable[..., Any]

    @property
    def isolation_level(self) -> str | None:
        return None if self.autocommits else ""

    @isolation_level.setter
    def isolation_level(self, level: str | None) -> None:
        if level is None:
            self.commit()  # as sqlite3 does
        self.autocommits = level is None


class TransactionalConnection(WithIsolationLevel, sqlite3.Connection):  # type: ignore[misc]
    """A connection that begins a transaction before any statement that writes.

    ``sqlite3`` by itself does so before INSERT, UPDATE and DELETE only, which leaves savepoints
    and DDL outside of transactions. ``isolation_level`` None means autocommit, as there. A lock
    lets it be closed while another thread uses it, which ``sqlite3`` does not survive.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "isolation_level": None})
        self.autocommits = False
        self.wrote = ""  # the first statement of the transaction that may have written
        self._changes = 0  # before it
        self.lock = threading.RLock()

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(factory or TransactionalCursor)

    @property
    def uncommitted(self) -> str:
        """The first statement of the transaction that is open, if rows were changed in it."""
        try:
            changed = self.in_transaction and self.total_changes != self._changes
        except sqlite3.ProgrammingError:  # closed already, by its pool
            return ""
        return self.wrote if changed else ""

    def begins(self) -> None:
        """Note that a transaction is about to begin."""
        self.wrote, self._changes = "", self.total_changes

    commit = _locked(sqlite3.Connection.commit)
    rollback = _locked(sqlite3.Connection.rollback)
    close = _locked(sqlite3.Connection.close)

    def execute(self, sql: str, *args: Any) -> Any:
        return self.cursor().execute(sql, *args)

    def executemany(self, sql: str, *args: Any) -> Any:
        return self.cursor().executemany(sql, *args)


class TransactionalCursor(sqlite3.Cursor):
    @property
    def lock(self) -> threading.RLock:
        lock: threading.RLock = self.connection.lock  # type: ignore[attr-defined]
        return lock

    @_locked
    def execute(self, sql: str, *args: Any) -> Any:
        self._begin_before(sql)
        return super().execute(sql, *args)

    @_locked
    def executemany(self, sql: str, *args: Any) -> Any:
        self._begin_before(sql)
        return super().executemany(sql, *args)

    fetchone = _locked(sqlite3.Cursor.fetchone)
    fetchmany = _locked(sqlite3.Cursor.fetchmany)
    fetchall = _locked(sqlite3.Cursor.fetchall)
    close = _locked(sqlite3.Cursor.close)
    __next__ = _locked(sqlite3.Cursor.__next__)

    def _begin_before(self, sql: str) -> None:
        connection: Any = self.connection
        if connection.autocommits or reads(sql):
            return
        control = transaction_control(sql)
        if not connection.in_transaction:
            connection.begins()
            if control is None or control.verb == "savepoint":
                super().execute("BEGIN")
        if control is None:
            connection.wrote = connection.wrote or sql
