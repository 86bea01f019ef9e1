"""Databases on a PostgreSQL server, and how one is made as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..exceptions import BackendError
from .losses import hears_something
from .postgresql_errors import LOCK_NOT_AVAILABLE, sqlstate
from .postgresql_link import PostgreSQLLink, open_link
from .postgresql_snapshot import Changed, read
from .server import Target

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from ..event_loop import ClassLoop
    from ..link import Link
    from .base import Database
    from .leftover import Kept
    from .postgresql import PostgreSQLBackend

_TRACKER = Path(__file__).with_name("postgresql_tracker.sql")

# What each session that has a transaction number, which only those get that write, did last.
_UNCOMMITTED = """
SELECT array_agg(query ORDER BY xact_start) FROM pg_stat_activity
 WHERE datname = current_database() AND backend_xid IS NOT NULL"""

# In the role of a replica, which only superusers can take, rows are put back without foreign keys,
# triggers and rules. To change it for each test would have all queries planned anew.
_KEEP = """
SELECT set_config('synchronous_commit', 'off', false),
       CASE WHEN current_setting('is_superuser')::boolean
            THEN set_config('session_replication_role', 'replica', false) END"""


class PostgreSQLDatabase:
    """A database, whose connections look into the schemas of ``target``, if that has any.

    :param build: what made the template that it is a copy of.
    :param kept: it stays when it is dropped here.
    """

    sequences_when_new: object = None
    spoiled = False

    def __init__(
        self,
        backend: PostgreSQLBackend,
        target: Target,
        build: Callable[[Connection], None],
        *,
        kept: bool = False,
    ) -> None:
        self.kept = kept
        self._tracked = False
        self.target = target
        self.build = build
        self._backend = backend
        self._link: PostgreSQLLink | None = None
        self._keeper: Any = None  # a connection that undoes what tests did
        self._connections: list[Any] = []

    def link(self, loop: ClassLoop | None) -> Link:
        if loop is not None:
            return open_link(self._backend, self.target, loop)  # type: ignore[no-any-return]
        if self._link is not None and hears_something(self._link.connection):
            self._close_link()
        if self._link is None:
            self._link = open_link(self._backend, self.target, None)
        return self._link

    def connect(self, *, is_async: bool) -> DBAPIConnection:
        connection = self._backend.open(self.target, is_async=is_async)
        if not is_async:
            self._connections.append(connection)
        return connection

    def disconnect(self) -> None:
        while self._connections:
            self._connections.pop().close()

    def track(self) -> None:
        """Note from now on which tables are written to, and keep what is in them now.

        Where that cannot be done, as somebody else owns a table, :meth:`restore` does nothing. What
        is to be in a schema of its own is moved there before.
        """
        self._execute(_TRACKER.read_text())
        if self.target.schemas:
            self._execute(f"SELECT dbtestcase.move_to('{self.target.schemas[0]}')")
        self._tracked = self._execute("SELECT dbtestcase.track()")

    def uncommitted(self) -> list[str]:
        queries = self._execute(_UNCOMMITTED) or ()
        return [f"a transaction in which this was last: {query}" for query in queries]

    def restore(self, original: object, *, reset_sequences: bool) -> bool:
        if self.kept or self.spoiled or not self._tracked:
            return False
        try:
            return bool(self._execute(f"SELECT dbtestcase.restore({reset_sequences})"))
        except Exception as error:
            if sqlstate(error) == LOCK_NOT_AVAILABLE:
                return False  # by somebody unknown, who is ended with the database
            raise

    def keep(self, name: str, commit: Callable[[], None]) -> Kept:
        commit()
        self.kept = True
        return self._backend.keep(self.target)

    def changed(self) -> Changed:
        """Return what is committed of what connections changed, while they go on.

        :raises BackendError: that cannot be told; says why.
        """
        if not self._tracked:
            raise BackendError("what it changed has not been noted")
        return read(self.query)

    def leave(self) -> None:
        """Close every connection to it but those of event loops."""
        self._backend.leave_to_parent()
        self.disconnect()
        self._close_link()
        self._close_keeper()

    def drop(self) -> None:
        self.leave()
        if not self.kept:
            self._backend.discard(self.target.name)

    def _close_link(self) -> None:
        if self._link is not None:
            self._link.connection.close()
            self._link = None

    def _close_keeper(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def query(self, sql: str, *parameters: object) -> list[Any]:
        """Execute ``sql`` on a connection of its own and return the rows, if any."""
        if self._keeper is None:
            with self._backend.reaching(self.target.name):
                self._keeper = self._backend.open(self.target, is_async=False)
            self._keeper.autocommit = True
            self._keeper.cursor().execute(_KEEP)
        cursor = self._keeper.cursor()
        try:
            cursor.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []
        finally:
            cursor.close()

    def _execute(self, sql: str) -> Any:
        """:meth:`query`, and return the first value, if any."""
        rows = self.query(sql)
        return rows[0][0] if rows else None


def note_sequences(database: Database, link: Link) -> None:
    """Note where sequences stand in a ``database`` that would have to be built to know it later."""
    if database.sequences_when_new is None:
        database.sequences_when_new = link.call(link.sequences)
