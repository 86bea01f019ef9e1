"""Databases on a PostgreSQL server, and how one is made as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..exceptions import BackendError
from .base import shown
from .postgresql_link import PostgreSQLLink, open_link
from .server import Target

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from ..event_loop import ClassLoop
    from ..link import Link
    from .base import Database
    from .leftover import Kept
    from .postgresql import PostgreSQLBackend

_SCHEMA = "dbtestcase_schema"
_TRACKER = Path(__file__).with_name("postgresql_tracker.sql")


_NOT_TRACKED = """\
isolation = 'schema' has to note which tables of its own a test changes, and the user of {url} \
cannot: {reason}.
  To fix this, let that user own all tables that setUpDatabase makes, or use another isolation"""

# What each session that has a transaction number, which only those get that write, did last.
_UNCOMMITTED = """
SELECT array_agg(query ORDER BY xact_start) FROM pg_stat_activity
 WHERE datname = current_database() AND backend_xid IS NOT NULL"""


class PostgreSQLDatabase:
    """A database, or with ``schema`` that schema of one.

    :param build: what made the template that it is a copy of.
    :param kept: it stays when it is dropped here.
    """

    sequences_when_new: object = None

    def __init__(
        self,
        backend: PostgreSQLBackend,
        target: Target,
        build: Callable[[Connection], None],
        *,
        kept: bool = False,
        schema: str = "",
    ) -> None:
        self.kept = kept
        self._schema = schema
        self._tracked = False
        self.target = target
        self.build = build
        self._backend = backend
        self._link: PostgreSQLLink | None = None
        self._keeper: Any = None  # a connection that undoes what tests did
        self._connections: list[Any] = []

    @classmethod
    def in_schema(
        cls, backend: PostgreSQLBackend, name: str, build: Callable[[Connection], None]
    ) -> PostgreSQLDatabase:
        """Build the tables in a new schema of the database ``name``, and copy what is in them."""
        database = cls(backend, Target(name, _SCHEMA, "public"), build, schema=_SCHEMA)
        try:
            database._execute(f"CREATE SCHEMA {_SCHEMA}")
            backend.build_in(Target(name, _SCHEMA), build)
            reason = database.track()
            if reason:
                raise BackendError(_NOT_TRACKED.format(url=shown(backend.url), reason=reason))
        except BaseException:
            database.drop()
            raise
        return database

    def link(self, loop: ClassLoop | None) -> Link:
        if loop is not None:
            return open_link(self._backend, self.target, loop)  # type: ignore[no-any-return]
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

    def track(self) -> str:
        """Note from now on which tables are written to, and keep what is in them now.

        Return why that cannot be done, if so: somebody else owns a table. Then :meth:`restore`
        does nothing.
        """
        self._execute(_TRACKER.read_text())
        reason: str = self._execute(f"SELECT dbtestcase.track('{self._schema or 'public'}')")
        self._tracked = not reason
        return reason

    def uncommitted(self) -> list[str]:
        queries = self._execute(_UNCOMMITTED) or ()
        return [f"a transaction in which this was last: {query}" for query in queries]

    def restore(self, original: object, *, reset_sequences: bool) -> bool:
        return (
            not self.kept
            and self._tracked
            and bool(self._execute(f"SELECT dbtestcase.restore({reset_sequences})"))
        )

    def keep(self, name: str, commit: Callable[[], None]) -> Kept:
        commit()
        self.kept = True
        return self._backend.keep(self.target)

    def leave(self) -> None:
        """Close every connection to it but those of event loops."""
        self.disconnect()
        if self._link is not None:
            self._link.connection.close()
            self._link = None
        self._close_keeper()

    def drop(self) -> None:
        self.leave()
        if not self.kept:
            self._backend.drop(self.target.name)

    def _close_keeper(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def _execute(self, sql: str) -> Any:
        """Execute ``sql`` on a connection of its own and return the first value, if any."""
        if self._keeper is None:
            with self._backend.reaching(self.target.name):
                self._keeper = self._backend.open(self.target, is_async=False)
            self._keeper.autocommit = True
        cursor = self._keeper.cursor()
        try:
            cursor.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None
        finally:
            cursor.close()


class LentTemplate(PostgreSQLDatabase):
    """A template that test classes work in themselves, one after the other."""

    lent = False
    _lent_to: PostgreSQLLink | None = None  # once the class that it is lent to has connected

    @property
    def in_use(self) -> bool:
        """Whether a test class is connected to it, or about to be."""
        return self.lent and (self._lent_to is None or self._lent_to.in_use)

    def link(self, loop: ClassLoop | None) -> Link:
        link: Any = super().link(loop)
        link.in_use = True
        self._lent_to = link
        note_sequences(self, link)
        return link  # type: ignore[no-any-return]

    def restart_sequences(self) -> None:
        """Let sequences stand where they did before any class used it."""
        if self.sequences_when_new is not None:
            link = super().link(None)
            link.call(link.restart_sequences, self.sequences_when_new)


def note_sequences(database: Database, link: Link) -> None:
    """Note where sequences stand in a ``database`` that would have to be built to know it later."""
    if database.sequences_when_new is None:
        database.sequences_when_new = link.call(link.sequences)
