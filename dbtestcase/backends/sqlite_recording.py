"""Connections that note which tables they write to, and whether they stay as they were opened."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from .sqlite_connections import TransactionalConnection, TransactionalCursor
from .sqlite_settings import INSPECTING, SETTINGS

_WRITES = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}

# What neither writes rows nor leaves anything on the connection. Of DDL the schema's version tells.
_HARMLESS = {
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_TRANSACTION,
    sqlite3.SQLITE_SAVEPOINT,
    sqlite3.SQLITE_CREATE_TABLE,
    sqlite3.SQLITE_CREATE_INDEX,
    sqlite3.SQLITE_CREATE_TRIGGER,
    sqlite3.SQLITE_CREATE_VIEW,
    sqlite3.SQLITE_CREATE_VTABLE,
    sqlite3.SQLITE_DROP_TABLE,
    sqlite3.SQLITE_DROP_INDEX,
    sqlite3.SQLITE_DROP_TRIGGER,
    sqlite3.SQLITE_DROP_VIEW,
    sqlite3.SQLITE_DROP_VTABLE,
    sqlite3.SQLITE_ALTER_TABLE,
    sqlite3.SQLITE_REINDEX,
}
_TEMPORARY = {
    sqlite3.SQLITE_CREATE_TEMP_TABLE,
    sqlite3.SQLITE_CREATE_TEMP_INDEX,
    sqlite3.SQLITE_CREATE_TEMP_TRIGGER,
    sqlite3.SQLITE_CREATE_TEMP_VIEW,
    sqlite3.SQLITE_DROP_TEMP_TABLE,
    sqlite3.SQLITE_DROP_TEMP_INDEX,
    sqlite3.SQLITE_DROP_TEMP_TRIGGER,
    sqlite3.SQLITE_DROP_TEMP_VIEW,
}

_ALTERING = (
    "create_aggregate",
    "create_collation",
    "create_function",
    "create_window_function",
    "deserialize",
    "enable_load_extension",
    "load_extension",
    "set_progress_handler",
    "set_trace_callback",
    "setconfig",
    "setlimit",
)


class Recorder:
    """What connections may have written to in the database that all of them lead to."""

    def __init__(self) -> None:
        self._tables: set[str] = set()
        self._known = True
        self._found = False

    def note_table(self, name: str) -> None:
        self._tables.add(name)

    def note_anything(self) -> None:
        """Note a statement of which it is not known what it writes."""
        self._known = False

    def note_path(self) -> None:
        """Note that the file has been named to somebody, who may write to it by other means."""
        self._found = True

    def take(self) -> set[str] | None:
        """Return the tables noted since this was last asked, or None if there may be others."""
        taken = self._tables if self._known and not self._found else None
        self._tables, self._known = set(), True
        return taken


class _Authorizer:
    """SQLite asks it about each thing that a statement will do, when it compiles the statement.

    That names the tables which triggers, cascades, views and virtual tables write to, too.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.asked: Callable[..., int] | None = None  # who decides, if somebody does
        self.altered = False

    def __call__(self, action: int, first: Any, second: Any, database: Any, trigger: Any, /) -> int:
        if action in _WRITES:
            if database == "main":
                self._recorder.note_table(first)
        elif action == sqlite3.SQLITE_PRAGMA:
            self._note_pragma(first.lower(), second)
        elif action not in _HARMLESS:
            self.altered = True
            if action not in _TEMPORARY:
                self._recorder.note_anything()
        if self.asked is None:
            return sqlite3.SQLITE_OK
        return self.asked(action, first, second, database, trigger)

    def _note_pragma(self, name: str, argument: str | None) -> None:
        if name == "database_list":
            self._recorder.note_path()
        if argument is not None and name not in INSPECTING:
            self.altered = True
            if name not in SETTINGS:
                self._recorder.note_anything()


def _altering(name: str) -> Any:
    """Return the method ``name`` of connections, which changes what it is called on."""
    method = getattr(sqlite3.Connection, name)

    @functools.wraps(method)
    def call(self: RecordingConnection, *args: Any, **kwargs: Any) -> Any:
        self.authorizer.altered = True
        return method(self, *args, **kwargs)

    return call


class RecordingConnection(TransactionalConnection):
    """A connection that tells a recorder, and that the next test can have if it is unaltered."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._cursors: WeakSet[Any] = WeakSet()

    def record(self, recorder: Recorder) -> None:
        """Tell ``recorder`` what is done from now on."""
        self._recorder = recorder
        self.authorizer = _Authorizer(recorder)
        super().set_authorizer(self.authorizer)

    def cursor(self, factory: Any = None) -> Any:
        if factory not in (None, TransactionalCursor):
            self.authorizer.altered = True
        cursor = super().cursor(factory)
        self._cursors.add(cursor)
        return cursor

    def set_authorizer(self, authorizer_callback: Callable[..., int] | None) -> None:
        self.authorizer.asked = authorizer_callback
        self.authorizer.altered = True
        super().set_authorizer(self.authorizer)

    def blobopen(self, table: str, *args: Any, **kwargs: Any) -> Any:
        self._recorder.note_anything()
        return super().blobopen(table, *args, **kwargs)

    def reuse(self) -> bool:
        """Make ready for another test, and return whether it is as it was when opened."""
        for cursor in list(self._cursors):
            cursor.close()  # it could still read what was there before
        if self.authorizer.altered or self.autocommits:
            return False
        if self.row_factory is not None or self.text_factory is not str:
            return False
        super().set_authorizer(self.authorizer)  # so that each statement is compiled anew
        return True


for _name in _ALTERING:
    if hasattr(sqlite3.Connection, _name):  # that depends on how Python was built
        setattr(RecordingConnection, _name, _altering(_name))
