"""SQLite databases in memory and in files."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from .base import Database
from .sqlite_connections import SharedConnection, TransactionalConnection


class SQLiteDatabase:
    """A database in memory (``path`` None) or in a file of its own."""

    def __init__(self, path: Path | None, *, foreign_keys: bool) -> None:
        self._path = path
        self._foreign_keys = foreign_keys
        self._lock = threading.RLock()
        self._dropped = False
        self._connections: list[TransactionalConnection] = []
        self.connection: Any = self._open(SharedConnection)
        if path is not None:
            self.connection.execute("PRAGMA journal_mode = WAL")
        self._version = self._data_version()

    def connect(self) -> Any:
        with self._lock:
            if self._dropped:
                raise sqlite3.ProgrammingError("the database of this test has been removed")
            connection = self._open(TransactionalConnection)
            self._connections.append(connection)
            return connection

    def disconnect(self) -> None:
        with self._lock:
            while self._connections:
                connection = self._connections.pop()
                with suppress(sqlite3.ProgrammingError):  # closed already, by its pool
                    connection.interrupt()
                connection.close()

    def _open(self, kind: type[sqlite3.Connection]) -> Any:
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
        with self._lock:
            self._dropped = True
            self.disconnect()
        self.connection.close()
        if self._path is not None:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _data_version(self) -> int:
        version: int = self.connection.execute("PRAGMA data_version").fetchone()[0]
        return version
