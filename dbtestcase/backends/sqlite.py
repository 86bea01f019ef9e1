"""SQLite, in memory or in files, through sqlite3 and aiosqlite.

In memory the sandbox works on one connection, which all threads share. What needs several
connections at once (isolation ``truncation`` and ``template``) gets files in WAL mode, so that
readers and a writer do not lock each other out.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import URL

from ..exceptions import OptionError
from .base import Backend, Database, DriverPackage, Features
from .scratch import ScratchDirectory
from .sqlite_connections import reads
from .sqlite_database import SQLiteDatabase
from .sqlite_sandbox import SQLiteSandboxedConnection

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from ..connections import SandboxedConnection
    from ..sandbox import Sandbox


class SQLiteBackend(Backend):
    """``sqlite://`` in memory; ``sqlite:///dir/file`` in files beside the one named.

    The file in the URL is never opened. ``?foreign_keys=off`` turns their enforcement off.
    """

    title = "SQLite"
    features = Features(isolations=frozenset({"transaction", "truncation", "template"}))
    sync_driver = DriverPackage("pysqlite", "sqlite3", "install a Python with sqlite3")
    async_driver = DriverPackage("aiosqlite", "aiosqlite", "pip install 'dbtestcase[sqlite]'")

    def __init__(self, url: URL) -> None:
        super().__init__(url.set(database=None, query={}))
        unknown = ", ".join(set(url.query) - {"foreign_keys"})
        if unknown:
            raise OptionError(f"database = '{url}': {unknown} is unknown; there is foreign_keys")
        self._file = url.database if url.database not in (None, "", ":memory:") else None
        self._foreign_keys = _switch(url, "foreign_keys")
        self._scratch: ScratchDirectory | None = None
        self._count = 0

    def create(self, original: Database | None = None, *, concurrent: bool = False) -> Database:
        path = self._new_path() if concurrent or self._file else None
        database = SQLiteDatabase(path, foreign_keys=self._foreign_keys)
        if original is not None:
            database.restore(original)
        return database

    def _new_path(self) -> Path:
        if self._scratch is None or not self._scratch.is_ours():
            parent = Path(self._file).parent if self._file else Path(tempfile.gettempdir())
            self._scratch = ScratchDirectory(parent.absolute())
        self._count += 1
        return self._scratch.path / f"{self._count}.sqlite"

    def connect_arguments(self, connect: Callable[[], DBAPIConnection]) -> dict[str, Any]:
        return {"factory": lambda *args, **kwargs: connect()}

    def sandboxed(self, sandbox: Sandbox) -> SandboxedConnection:
        return SQLiteSandboxedConnection(sandbox)

    def error(self, message: str) -> Exception:
        return sqlite3.OperationalError(message)

    def reads(self, sql: str) -> bool:
        return reads(sql)

    def changes(self, connection: DBAPIConnection) -> int:
        changes: int = connection.total_changes
        return changes

    def in_transaction(self, connection: DBAPIConnection) -> bool:
        return bool(connection.in_transaction)

    def check_deferred_constraints(self, connection: DBAPIConnection) -> None:
        """Raise for a deferred foreign key, which SQLite checks at COMMIT only.

        ``RELEASE`` of a nested savepoint does not check them: https://sqlite.org/foreignkeys.html
        """
        if not self._foreign_keys:
            return
        cursor = connection.cursor()
        cursor.execute("SELECT 1 FROM sqlite_master WHERE sql LIKE '%INITIALLY DEFERRED%'")
        if cursor.fetchone() is not None:
            cursor.execute("PRAGMA foreign_key_check")
            if cursor.fetchone() is not None:
                raise sqlite3.IntegrityError("FOREIGN KEY constraint failed")


def _switch(url: URL, name: str) -> bool:
    value = url.query.get(name, "on")
    if value not in ("on", "off"):
        raise OptionError(f"database = '{url}': {name} is {value!r}; write {name}=on or {name}=off")
    return value == "on"
