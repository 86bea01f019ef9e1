"""SQLite databases in memory and in files."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .kept import kept, kept_file
from .sqlite_connections import SharedConnection, TransactionalConnection
from .sqlite_recording import Recorder, RecordingConnection
from .sqlite_sandbox import SQLiteLink
from .sqlite_tables import Tables

if TYPE_CHECKING:
    from ..event_loop import ClassLoop
    from ..link import Link
    from .leftover import Kept


class SQLiteDatabase:
    """A database in memory (``path`` None) or in a file of its own."""

    sequences_when_new: object = None
    spoiled = False

    def __init__(self, path: Path | None, *, foreign_keys: bool) -> None:
        self.path = path
        self._process = os.getpid()
        self._foreign_keys = foreign_keys
        self._lock = threading.RLock()
        self._dropped = False
        self._connections: list[TransactionalConnection] = []
        self.connection: Any = self._open(SharedConnection)
        if path is not None:
            self.connection.execute("PRAGMA journal_mode = WAL")

    def link(self, loop: ClassLoop | None) -> Link:
        return SQLiteLink(self.connection, foreign_keys=self._foreign_keys)

    def connect(self, *, is_async: bool) -> Any:
        with self._lock:
            if self._dropped:
                raise sqlite3.ProgrammingError("the database of this test has been removed")
            connection = self._new_connection()
            self._connections.append(connection)
            return connection

    def disconnect(self) -> None:
        with self._lock:
            while self._connections:
                connection = self._connections.pop()
                with suppress(sqlite3.ProgrammingError):  # closed already, by its pool
                    connection.interrupt()
                connection.close()

    def _new_connection(self) -> Any:
        return self._open(TransactionalConnection)

    def _open(self, kind: type[sqlite3.Connection]) -> Any:
        connection = sqlite3.connect(self.path or ":memory:", check_same_thread=False, factory=kind)
        settings = {"foreign_keys": int(self._foreign_keys)}
        if self.path is not None:
            settings["synchronous"] = 0  # the file is gone after a crash in any case
        for name, value in settings.items():
            connection.execute(f"PRAGMA {name} = {value}").close()
        return connection

    def uncommitted(self) -> list[str]:
        return [one.uncommitted for one in self._connections if one.uncommitted]

    def restore(self, original: Any, *, reset_sequences: bool) -> bool:
        return False  # only copies are

    def copy(self, original: Any) -> None:
        """Make it equal to ``original``."""
        original.connection.backup(self.connection)

    def keep(self, name: str, commit: object) -> Kept:
        """Copy it to a file, with what has not been committed on the connection of :meth:`link`."""
        path = kept_file(name, ".sqlite")
        path.write_bytes(self.connection.serialize())  # a backup would wait for the commit
        return kept(["sqlite3", path], ["rm", "-r", path.parent])

    def drop(self) -> None:
        with self._lock:
            self._dropped = True
            self.disconnect()
        self.connection.close()
        if self.path is not None and self._process == os.getpid():  # else it is its parent's
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)


class SQLiteCopy(SQLiteDatabase):
    """A copy, in a file, of a database in another one, which a test may change.

    Afterwards the tables are put back that it may have written to; or all there is, if it is not
    known which these are, if the schema has changed, or if that takes less time.
    """

    def __init__(self, path: Path, original: SQLiteDatabase, *, foreign_keys: bool) -> None:
        super().__init__(path, foreign_keys=foreign_keys)
        self._recorder = Recorder()
        self._tables = Tables(self.connection, original.path)
        self.copy(original)

    def restore(self, original: Any, *, reset_sequences: bool) -> bool:
        written = self._recorder.take()
        if self.spoiled:
            return False
        if self._data_version() == self._version:
            return True  # nothing was committed
        if written is not None and self._tables.refill(written):
            return True
        if self._tables.are_locked():
            return False  # by somebody unknown, whom sqlite3 would wait for without end
        self.copy(original)
        return True

    def copy(self, original: Any) -> None:
        super().copy(original)
        self._tables.look()
        self._version = self._data_version()

    def _new_connection(self) -> Any:
        connection = self._open(RecordingConnection)
        connection.record(self._recorder)
        return connection

    def _data_version(self) -> int:
        """Return what changes when another connection than this one's own has committed."""
        version: int = self.connection.execute("PRAGMA data_version").fetchone()[0]
        return version
