"""Databases on a MariaDB or MySQL server, and how one is made as it was."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ..exceptions import BackendError
from .links import Caller, LoopCaller, SyncCaller
from .losses import hears_something
from .mysql_catalog import Catalog, Execute, Positions
from .mysql_copies import make_equal, restoring
from .mysql_definitions import redefine
from .mysql_errors import CHANGED_SCHEMA, is_blocked
from .mysql_link import MySQLLink
from .mysql_recording import Recorder, RecordingConnection
from .mysql_schema import Schema
from .mysql_statements import kind_of
from .mysql_tables import refill, restart
from .server import Target

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from ..event_loop import ClassLoop
    from ..link import Link
    from .leftover import Kept
    from .mysql import MySQLBackend

# So that reading waits for no lock on rows, and for a table that is locked no longer than a moment.
_BESIDE_OTHERS = (
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION lock_wait_timeout = 1",
)


class MySQLDatabase:
    """A database that one test class has for itself.

    What its connections change is found out from the statements that they execute. What other
    processes change in it, and what is executed on connections of an asynchronous driver beneath
    SQLAlchemy's, cannot be seen; to have asked for the latter costs a new copy.

    :param build: what made it.
    :param template: the one of the pool that was made by the same.
    """

    sequences_when_new: object = None

    def __init__(
        self,
        backend: MySQLBackend,
        name: str,
        build: Callable[[Connection], None],
        template: str,
    ) -> None:
        self.target = Target(name)
        self.build = build
        self.template = template
        self._backend = backend
        self._commits = name != template  # or else everything is rolled back
        self._process = os.getpid()
        self._kept = False
        self.spoiled = False
        self._link: MySQLLink | None = None
        self._schema = Schema()
        self._links: list[MySQLLink] = []  # since it was last known to be clean
        self._keeper: Any = None  # a connection that undoes what tests did
        self._restoring: Execute
        self._connections: list[Any] = []
        self._recording: weakref.WeakSet[RecordingConnection] = weakref.WeakSet()
        if self._commits:
            self._start_recording()
            self._built = self._look()
            self._changed: set[str] = set()  # tables that are not as they were built
            self._reusable = True

    def link(self, loop: ClassLoop | None) -> Link:
        if loop is not None:
            return self._open_link(LoopCaller(loop), is_async=True)
        if self._link is not None and hears_something(self._link.connection):
            self._close(self._link.connection)
            self._link = None
        if self._link is None:
            self._link = self._open_link(SyncCaller(), is_async=False)
        return self._link

    def connect(self, *, is_async: bool) -> DBAPIConnection:
        connection: Any = self._backend.open(self.target, is_async=is_async)
        if not is_async:
            self._connections.append(connection)
        recording: Any = RecordingConnection(connection, self._recorder, self.target.name)
        self._recording.add(recording)
        return recording  # type: ignore[no-any-return]

    def uncommitted(self) -> list[str]:
        return [one.uncommitted for one in self._recording if one.uncommitted]

    def disconnect(self) -> None:
        while self._connections:
            self._close(self._connections.pop())

    def copy(self, original: MySQLDatabase) -> None:
        """Let it contain what ``original`` does.

        :raises BackendError: a schema was changed in a way that cannot be copied.
        """
        theirs = Catalog(original.target.name, self._execute)
        if original.changed_schema():
            self._reusable = False
            redefine(self.catalog, theirs)
            self._start_recording()
            if self.catalog.shape() != theirs.shape():
                raise BackendError(CHANGED_SCHEMA)
        self._changed |= self.catalog.filled | theirs.filled
        refill(self.catalog, theirs, self.catalog.filled | theirs.filled)
        restart(self.catalog, theirs, theirs.counters)
        self._original = theirs

    def copy_now(self, original: MySQLDatabase) -> None:
        """:meth:`copy` what is committed in ``original``, while others work in it."""
        self.spoiled = True
        for statement in _BESIDE_OTHERS:
            self._execute(statement)
        self.copy(original)

    def restore(self, original: object, *, reset_sequences: bool) -> bool:
        if self._kept or self.spoiled or self._is_inherited() or self._altered(self._original):
            return False
        written = self._take_written()
        try:
            moved = refill(self.catalog, self._original, written)
            restart(self.catalog, self._original, moved)
        except Exception as error:
            self._reusable = False
            if is_blocked(error):
                return False  # by somebody unknown, who is ended with the database
            raise
        return True

    def changed_schema(self) -> bool:
        """Tell whether connections may have changed tables, not only rows."""
        kinds = map(kind_of, self._recorder.statements)
        altered = any(one.alters or not one.known for one in kinds)
        return altered or not (self._reusable and self._recorder.complete)

    def keep(self, name: str, commit: Callable[[], None]) -> Kept:
        self._backend.suspect(self.target.name)
        self.spoiled = True
        commit()
        self._kept = True
        return self._backend.keep(self.target.name)

    def drop(self) -> None:
        self.disconnect()
        if self._is_inherited():
            return
        if self._link is not None:
            self._close(self._link.connection)
            self._link = None
        if not self._kept:
            self._backend.give_back(self.target.name, broken=not self._is_clean())
        self._close(self._keeper)
        self._keeper = None

    def _is_inherited(self) -> bool:
        """Tell whether it belongs to a process that we were forked from."""
        return self._process != os.getpid()

    def _is_clean(self) -> bool:
        """Tell whether it is as it was built, after what tests committed was put back."""
        clean = not (self.spoiled or any(link.may_have_committed for link in self._links))
        if clean and self._commits:
            clean = False
            with suppress(Exception):  # somebody holds a lock, or the connection is gone
                clean = self._renew()
        return clean

    def _renew(self) -> bool:
        """Let it contain what it did when it was built, and return whether that was possible."""
        template = Catalog(self.template, self._execute)
        if not self._reusable:
            return False
        if self._altered(template):
            if not self._backend.is_copied(self.template):
                return False
            positions = Positions(self._built.counters, self._built.sequences)
            make_equal(Catalog(self.target.name, self._execute), template, positions)
            self._start_recording()
        self._take_written()
        template.filled, template.counters = self._built.filled, self._built.counters
        refill(self.catalog, template, self._changed)
        restart(self.catalog, self._built, self._built.counters)
        self._changed.clear()
        self._links.clear()
        found = Catalog(self.target.name, self._execute)  # which others may have written to
        return found.filled == self._built.filled

    def _altered(self, other: Catalog) -> bool:
        """Tell whether the schema was changed, from what it is in ``other``."""
        statements = [kind_of(sql) for sql in self._recorder.statements]
        if not self._recorder.complete or any(kind.alters for kind in statements):
            return True
        return not all(kind.known for kind in statements) and (
            Catalog(self.target.name, self._execute).shape() != other.shape()
        )

    def _take_written(self) -> set[str]:
        """Return the tables that were written to since this was last asked."""
        written = self.catalog.written(self._recorder.statements)
        self._recorder.statements.clear()
        self._changed |= written
        return written

    def _look(self) -> Catalog:
        """Return what is in it now."""
        now = Catalog(self.target.name, self._execute)
        _ = now.filled, now.counters, now.sequences
        return now

    def _start_recording(self) -> None:
        self.catalog = Catalog(self.target.name, self._execute)
        self.catalog.is_indirect("")  # to ask the server now and not in a test's threads
        self._recorder = Recorder(self.catalog.is_indirect)

    def _open_link(self, caller: Caller, *, is_async: bool) -> MySQLLink:
        with self._backend.reaching(self.target.name):
            connection: Any = caller.call(self._backend.open, self.target, is_async=is_async)

        def close() -> None:
            if is_async:
                caller.call(self._close, connection)

        dialect = self._backend.source(is_async=is_async).dialect
        link: MySQLLink = caller.call(
            MySQLLink,
            connection,
            caller,
            dialect,
            database=self.target.name,
            schema=Schema() if self._commits else self._schema,
            uncached=self._backend.uncached,
            close=close,
            suspect=partial(self._backend.suspect, self.target.name),
        )
        kept = [one for one in self._links if one.may_have_committed or one is self._link]
        self._links = [*kept, link]
        return link

    def _close(self, connection: Any) -> None:
        """Close ``connection``, if it is one, and neither the server nor a pool has closed it."""
        with suppress(Exception):
            connection.close()

    def _execute(self, sql: str) -> list[Any]:
        """Execute ``sql`` on a connection of its own and return the rows, if any."""
        if self._keeper is None:
            with self._backend.reaching(self.target.name):
                self._keeper = self._backend.open(self.target, is_async=False)
            self._restoring = restoring(self._keeper)
        return self._restoring(sql)


class MySQLTemplate(MySQLDatabase):
    """What databases are created after; it is one of the pool, which the first of them may be."""

    def drop(self) -> None:
        """Leave it in the pool."""
