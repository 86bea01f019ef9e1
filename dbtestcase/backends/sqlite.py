"""SQLite, in memory or in files, through sqlite3 and aiosqlite.

In memory the sandbox works on one connection, which all threads share. What needs several
connections at once (isolation ``truncation`` and ``template``) gets files in WAL mode, so that
readers and a writer do not lock each other out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import URL
from sqlalchemy.exc import DisconnectionError

from ..exceptions import OptionError
from .base import Backend, Database, DriverPackage, Features, shown
from .engine_around import build_on
from .kept import kept_files
from .leftover import Leftover
from .scratch import ScratchDirectory, abandoned, sweep, writable
from .sqlite_cache import KeptTemplates
from .sqlite_database import SQLiteCopy, SQLiteDatabase
from .sqlite_diagnostics import SQLiteDiagnostics
from .sqlite_recording import RecordingConnection
from .sqlite_sandbox import SQLiteSandboxedConnection

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Dialect
    from sqlalchemy.engine.interfaces import DBAPIConnection


class SQLiteBackend(Backend):
    """``sqlite://`` in memory; ``sqlite:///dir/file`` in files beside the one named.

    The file in the URL is never opened. ``?foreign_keys=off`` turns their enforcement off.
    """

    title = "SQLite"
    features = Features(
        isolations=frozenset({"transaction", "truncation", "template"}),
    )
    sync_drivers = (DriverPackage("pysqlite", "sqlite3", "install a Python with sqlite3"),)
    async_drivers = (
        DriverPackage("aiosqlite", "aiosqlite", "pip install 'dbtestcase[sqlite]'", is_async=True),
    )
    both_colours = True
    diagnostics = SQLiteDiagnostics()

    def __init__(self, url: URL) -> None:
        super().__init__(url.set(database=None, query={}))
        unknown = ", ".join(set(url.query) - {"foreign_keys"})
        if unknown:
            raise OptionError(
                f"database = '{shown(url)}': {unknown} is unknown; there is foreign_keys"
            )
        self._file = url.database if url.database not in (None, "", ":memory:") else None
        self._foreign_keys = _switch(url, "foreign_keys")
        self._scratch: ScratchDirectory | None = None
        self._count = 0

    def template(
        self, fingerprint: str, build: Callable[[Connection], None], *, rebuild: bool = False
    ) -> Database:
        database = self._new(in_file=self._file is not None)
        try:
            build_on(self.driver_url(is_async=False), database.connection, build)
        except BaseException:
            database.drop()
            raise
        return database

    def lasting_template(
        self, fingerprint: str, build: Callable[[Connection], None], *, rebuild: bool = False
    ) -> Database:
        kept = KeptTemplates()
        database = self._new(in_file=self._file is not None)
        if not rebuild and kept.load(fingerprint, database.connection):
            return database
        database.drop()
        made: Any = self.template(fingerprint, build)
        kept.save(fingerprint, made.connection)
        return made  # type: ignore[no-any-return]

    def create(self, original: Database, *, isolation: str = "") -> Database:
        if isolation in ("truncation", "template"):
            assert isinstance(original, SQLiteDatabase)
            return SQLiteCopy(self._new_path(), original, foreign_keys=self._foreign_keys)
        database = self._new(in_file=self._file is not None or bool(isolation))
        database.copy(original)
        return database

    def _new(self, *, in_file: bool) -> SQLiteDatabase:
        path = self._new_path() if in_file else None
        return SQLiteDatabase(path, foreign_keys=self._foreign_keys)

    def _new_path(self) -> Path:
        if self._scratch is None or not self._scratch.is_ours():
            self._scratch = ScratchDirectory(self._parent)
        self._count += 1
        return self._scratch.path / f"{self._count}.sqlite"

    @property
    def _parent(self) -> Path:
        """What directories for files are made in."""
        parent = Path(self._file).parent if self._file else Path(tempfile.gettempdir())
        return parent.absolute()

    def pooled(
        self, dialect: Dialect, url: URL, connect: Callable[[], DBAPIConnection]
    ) -> DBAPIConnection:
        """Let the driver open it, so that aiosqlite and listeners find what they expect."""
        positional, named = dialect.create_connect_args(url)
        named["factory"] = lambda *args, **kwargs: connect()
        return dialect.connect(*positional, **named)

    resets_connections = True
    keeps_set_up = True

    def was_set_up(self, connection: Any) -> None:
        if isinstance(connection, RecordingConnection):
            connection.authorizer.altered = False
        elif isinstance(connection, SQLiteSandboxedConnection):
            connection.is_set_up = True

    def reset_connection(self, connection: Any, *, is_async: bool) -> None:
        if not connection.reuse():
            raise DisconnectionError  # tells the pool to open another

    @contextmanager
    def as_deployed(self, connection: Connection) -> Iterator[None]:
        """Do not enforce foreign keys, unless a listener of the application says so.

        Batch operations drop tables that others refer to.
        """
        sqlite: Any = connection.connection.dbapi_connection
        [(enforced,)] = sqlite.execute("PRAGMA foreign_keys").fetchall()
        sqlite.execute("PRAGMA foreign_keys = 0")
        try:
            yield
        finally:
            sqlite.execute(f"PRAGMA foreign_keys = {enforced}")

    def forwards(self, listener: Callable[..., Any]) -> bool:
        return True

    def checks(self) -> dict[str, Callable[[], str]]:
        return {**super().checks(), "files": lambda: writable(self._parent)}

    def leftovers(self) -> Iterable[Leftover]:
        for path in abandoned(self._parent):
            yield Leftover("files", f"{path}, of a run that has died", partial(sweep, path), path)
        for path in KeptTemplates().paths():
            yield Leftover("template", str(path), path.unlink, path)
        yield from kept_files(".sqlite")


def _switch(url: URL, name: str) -> bool:
    value = url.query.get(name, "on")
    if value not in ("on", "off"):
        raise OptionError(
            f"database = '{shown(url)}': {name} is {value!r}; write {name}=on or {name}=off"
        )
    return value == "on"
