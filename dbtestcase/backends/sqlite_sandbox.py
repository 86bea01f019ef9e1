"""Stand-ins for ``sqlite3.Connection`` inside the sandbox."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from ..connections import SandboxedConnection, SandboxedCursor
from ..sandbox import Sandbox
from .links import BaseLink, ThreadCaller
from .sqlite_connections import SharedConnection, WithIsolationLevel, reads
from .sqlite_leftovers import Leftovers

# Settings of a connection, not of the data. The sandbox's one connection has its own, so
# what an application sets on a connection of its own is answered with the value in force.
_SETTING = re.compile(
    r"\s*PRAGMA\s+(?:\w+\.)?(?P<name>journal_mode|synchronous|foreign_keys|locking_mode|temp_store"
    r"|read_uncommitted)"
    r"\s*(=|\().*",
    re.IGNORECASE | re.DOTALL,
)

_ROLLBACK_TO = "ROLLBACK TO SAVEPOINT "


class SQLiteLink(BaseLink):
    """The link to the connection that all threads share."""

    def __init__(self, connection: SharedConnection, *, foreign_keys: bool) -> None:
        super().__init__(connection, ThreadCaller())
        self._sqlite = connection
        self._execute = connection.cursor().execute
        self._foreign_keys = foreign_keys
        self.leftovers = Leftovers(connection)
        self._defers: dict[int, bool] = {}  # by version of the schema, which a rollback takes back

    def control(self, statements: Sequence[str]) -> None:
        for statement in statements:
            self._execute(statement)
            if statement.startswith(_ROLLBACK_TO):
                self._forget_inner(statement.removeprefix(_ROLLBACK_TO))
        if self._defers and "ROLLBACK" in statements[-1]:
            version = self._version()
            self._defers = {version: self._defers[version]} if version in self._defers else {}

    def _forget_inner(self, savepoint: str) -> None:
        """Free what SQLite has noted for savepoints inside the one that was rolled back to.

        Else it keeps a copy of each page that they have changed for as long as that one is there.
        """
        self._execute(f"RELEASE SAVEPOINT {savepoint}")
        self._execute(f"SAVEPOINT {savepoint}")

    def error(self, message: str) -> Exception:
        return sqlite3.OperationalError(message)

    def reads(self, sql: str) -> bool:
        return reads(sql)

    def changes(self) -> int:
        return self._sqlite.total_changes

    def in_transaction(self) -> bool:
        return self._sqlite.in_transaction

    def defers_constraints(self) -> bool:
        if not self._foreign_keys:
            return False
        version = self._version()
        if version not in self._defers:
            cursor = self._sqlite.cursor()
            cursor.execute("SELECT 1 FROM sqlite_master WHERE sql LIKE '%INITIALLY DEFERRED%'")
            self._defers[version] = cursor.fetchone() is not None
        return self._defers[version]

    def _version(self) -> int:
        version: int = self._sqlite.execute("PRAGMA schema_version").fetchone()[0]
        return version

    def check_deferred_constraints(self) -> None:
        """Raise for a deferred foreign key, which SQLite checks at COMMIT only.

        ``RELEASE`` of a nested savepoint does not check them: https://sqlite.org/foreignkeys.html
        """
        cursor = self._sqlite.cursor()
        cursor.execute("PRAGMA foreign_key_check")
        if cursor.fetchone() is not None:
            raise sqlite3.IntegrityError("FOREIGN KEY constraint failed")

    def end_test(self) -> bool:
        return self.leftovers.take_back()

    def stand_in(self, sandbox: Sandbox) -> SandboxedConnection:
        return SQLiteSandboxedConnection(sandbox)


class SQLiteSandboxedConnection(WithIsolationLevel, SandboxedConnection):
    """A stand-in for ``sqlite3.Connection``, with the shortcuts that class has."""

    is_set_up = False  # by the listeners of its engine, as every other one is
    row_factory: Any = None

    def __enter__(self) -> SQLiteSandboxedConnection:
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.rollback()

    def cursor(self, *args: Any, **kwargs: Any) -> SQLiteSandboxedCursor:
        cursor: Any = self.sandbox.link.connection.cursor(*args, **kwargs)
        cursor.row_factory = self.row_factory
        return SQLiteSandboxedCursor(self, cursor)

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
        registered = self.sandbox.link.connection.functions
        known = registered.get((name, narg))
        if getattr(known, "__code__", known) is not getattr(func, "__code__", func):
            if self.is_set_up:
                self._undo_later(partial(self._restore_function, name, narg, known))
            self.sandbox.link.connection.create_function(name, narg, func, **options)
            registered[name, narg] = func

    def create_aggregate(self, name: str, n_arg: int, aggregate_class: Any) -> None:
        real = self.sandbox.link.connection
        self._undo_later(partial(self._restore_function, name, n_arg, None))
        real.create_aggregate(name, n_arg, aggregate_class)

    def create_window_function(self, name: str, num_params: int, aggregate_class: Any, /) -> None:
        real = self.sandbox.link.connection
        self._undo_later(partial(self._restore_function, name, num_params, None))
        real.create_window_function(name, num_params, aggregate_class)

    def create_collation(self, name: str, callback: Any, /) -> None:
        real = self.sandbox.link.connection
        self._undo_later(partial(real.create_collation, name, None))
        real.create_collation(name, callback)

    def set_authorizer(self, authorizer_callback: Any) -> None:
        self._hook("set_authorizer", authorizer_callback)

    def set_trace_callback(self, trace_callback: Any) -> None:
        self._hook("set_trace_callback", trace_callback)

    def set_progress_handler(self, progress_handler: Any, n: int) -> None:
        self._hook("set_progress_handler", progress_handler, n)

    def _hook(self, name: str, callback: Any, *args: Any) -> None:
        method = getattr(self.sandbox.link.connection, name)
        self._undo_later(partial(method, None, *args))
        method(callback, *args)

    def _restore_function(self, name: str, narg: int, known: Any) -> None:
        real = self.sandbox.link.connection
        if known is None:
            real.create_window_function(name, narg, None)  # removes functions of any kind
            real.functions.pop((name, narg), None)
            built_in = "SELECT 1 FROM pragma_function_list WHERE name = ? AND builtin"
            if real.execute(built_in, (name.lower(),)).fetchone() is not None:
                raise sqlite3.NotSupportedError(f"{name} of SQLite's own is still hidden")
        else:
            real.create_function(name, narg, known)
            real.functions[name, narg] = known

    def _undo_later(self, undo: Callable[[], object]) -> None:
        """Call ``undo`` at the end of the test."""
        self.sandbox.begin()
        self.sandbox.link.leftovers.take_back_by(undo)  # type: ignore[attr-defined]


def _alone(name: str) -> Callable[..., Any]:
    def call(self: SandboxedCursor, *args: Any, **kwargs: Any) -> Any:
        return self.connection.sandbox.link.call(getattr(self._cursor, name), *args, **kwargs)

    return call


class SQLiteSandboxedCursor(SandboxedCursor):
    # The end of a result resets its statement, which sqlite3's cache may just be giving to
    # another thread that executes the same SQL: that one would lose its rows.
    fetchone = _alone("fetchone")
    fetchmany = _alone("fetchmany")
    fetchall = _alone("fetchall")
    close = _alone("close")
    __next__ = _alone("__next__")

    def __iter__(self) -> Iterator[Any]:
        return self

    def execute(self, sql: str, *args: Any, **kwargs: Any) -> Any:
        setting = _SETTING.fullmatch(sql)
        if setting is not None:
            sql = f"PRAGMA {setting['name']}"
        elif self.connection.sandbox.link.leftovers.note(sql):  # type: ignore[attr-defined]
            self.connection.sandbox.begin()
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
