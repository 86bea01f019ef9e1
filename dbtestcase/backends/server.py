"""What all database servers have in common: connections to any of their databases, and names."""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, StaticPool

from ..exceptions import BackendError, DBTestCaseError, OptionError
from .base import Backend, shown
from .engine_around import build_on
from .losses import cut_off, hears_something

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Dialect, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from ..link import Link

PREFIX = "dbtestcase"

#: Seconds that a server may take to answer at first, unless the URL has a ``connect_timeout``.
PATIENCE = 10
#: Seconds that a statement waits for a lock in a database of ours, unless its connection has set
#: another limit.
LOCK_WAIT = 10
_TIMEOUT = "connect_timeout"


class ServerBackend(Backend):
    """A server, at the database in the URL: a door, beside which others are created."""

    #: Those of the URL that dbtestcase documents; drivers know more.
    parameters: ClassVar[Sequence[str]] = (_TIMEOUT,)

    #: The drivers that know ``connect_timeout``.
    timed_drivers: ClassVar[Collection[str]]

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        fixed = ", ".join({"database", "dbname", "db"} & set(url.query))
        if fixed:
            raise OptionError(
                f"database = '{shown(url)}': {fixed} would lead all connections to that database, "
                "and not to those of tests.\n  To fix this, name it before the question mark"
            )
        self._lock = threading.RLock()
        self._sources: dict[bool, Engine] = {}
        self._aimed = threading.local()  # what the connection leads to that a thread opens now
        self._dialects: weakref.WeakKeyDictionary[Engine, Dialect] = weakref.WeakKeyDictionary()
        self._pid = 0
        self._door: Connection | None = None
        self._opened: weakref.WeakSet[Any] = weakref.WeakSet()
        self._count = 0
        self.token = ""

    @abstractmethod
    def _enter(self, door: Connection) -> None:
        """Make the process known to others, and remove what dead ones have left."""

    def source(self, *, is_async: bool) -> Engine:
        """Return the engine of one colour that all real connections come from."""
        if is_async not in self._sources:
            url = self.driver_url(is_async=is_async)
            if is_async:
                from sqlalchemy.ext.asyncio import create_async_engine

                engine = create_async_engine(url, poolclass=NullPool).sync_engine
            else:
                engine = create_engine(url, poolclass=NullPool)
            event.listen(engine, "do_connect", self._aim)
            self._sources[is_async] = engine
        return self._sources[is_async]

    def open(self, target: Target | None = None, *, is_async: bool) -> DBAPIConnection:
        """Open a connection of the driver to the database ``target``, or to the door."""
        source = self.source(is_async=is_async)
        self._aimed.target = target
        connection = source.raw_connection()
        opened = connection.dbapi_connection
        connection.detach()
        assert opened is not None
        if not is_async:
            self._opened.add(opened)
        return opened

    def build_in(self, target: Target, build: Callable[[Connection], None]) -> None:
        """Call ``build`` with a connection to ``target``."""
        with self.reaching(target.name):
            connection: Any = self.open(target, is_async=False)
        try:
            build_on(self.driver_url(is_async=False), connection, build)
        finally:
            connection.close()

    def _aim(self, dialect: Dialect, record: object, positional: Any, named: Any) -> Any:
        """Let a new connection lead where it should; return it, or None to have it made."""
        target, self._aimed.target = getattr(self._aimed, "target", None), None
        named.update(self.connect_arguments(dialect))
        if target is not None:
            _, instead = dialect.create_connect_args(self.url.set(database=target.name))
            named.update(instead, **self.target_arguments(dialect, target))
        return None

    def connect_arguments(self, dialect: Dialect) -> dict[str, Any]:
        """Return what the driver needs to be told, beside what the URL says."""
        if _TIMEOUT in self.url.query or dialect.driver not in self.timed_drivers:
            return {}
        return {_TIMEOUT: PATIENCE}

    def target_arguments(self, dialect: Dialect, target: Target) -> dict[str, Any]:
        """Return what a driver's connection to ``target`` sets beside the name of the database."""
        return {}

    @property
    def door(self) -> Connection:
        """The connection to the database in the URL, in autocommit mode, one for each process.

        :raises BackendError: the server cannot be reached.
        """
        self.leave_to_parent()
        if self._door is not None and self._door.invalidated:  # the server has closed it
            self._door.close()
            self._door = None
            self._note_loss()
        if self._door is None:
            self._door = self._connect_to_door()
            try:
                self._enter(self._door)
            except BaseException:
                self._door.close()
                self._door = None
                raise
        return self._door

    def notice_loss(self) -> None:
        """Open the door again if the server has closed it."""
        if self.is_open():
            with self._lock:
                door = self.door
                if hears_something(door.connection.dbapi_connection):
                    try:
                        door.exec_driver_sql("SELECT 1")
                    except DBAPIError:
                        door.invalidate()
                _ = self.door

    def _note_loss(self) -> None:
        """Count it, as others may have taken this process for dead, and what it made for theirs."""
        self.losses += 1

    def leave_to_parent(self) -> None:
        """Let go of what this process was forked with, if that is new to it."""
        if self._pid != os.getpid():
            self._disown()
            self._pid, self.token = os.getpid(), secrets.token_hex(4)
            self._lock = threading.RLock()
            self._door = None

    def _disown(self) -> None:
        """Let go of what we were forked with, without a word to the server of our parent."""
        inherited, self._opened = self._opened, weakref.WeakSet()
        opened = [one for one in inherited if not getattr(one, "closed", False)]
        for connection in opened:
            cut_off(connection)
        if self._door is not None:
            self._door.invalidate()
        for connection in opened:
            with suppress(Exception):  # it was the door's
                connection.close()

    def _connect_to_door(self) -> Connection:
        with self.reaching(self.url.database):
            connection = self.source(is_async=False).connect()
            door = connection.execution_options(isolation_level="AUTOCOMMIT")
            self._opened.add(door.connection.dbapi_connection)
            return door

    @contextmanager
    def reaching(self, name: str | None) -> Iterator[None]:
        """Explain it if a block cannot connect to the database ``name``.

        :raises BackendError: with the reason and the remedy.
        """
        try:
            yield
        except DBTestCaseError:
            raise
        except Exception as error:
            reason = str(getattr(error, "orig", error)).strip()
            url = shown(self.url.set(database=name))
            unreachable = BackendError(
                f"{self.title} cannot be reached at {url}: {reason}\n"
                f"  To fix this, {self.remedy(reason)}"
            )
            unreachable.is_unreachable = True
            raise unreachable from error

    def remedy(self, reason: str) -> str:
        """Return what to do if the server, or its absence, is the ``reason`` not to connect."""
        place = "in the option database or in DBTESTCASE_DATABASE"
        for name in self.url.query:
            if f"'{name}'" in reason or f'"{name}"' in reason:
                near = get_close_matches(name, self.parameters, n=1)
                change = f"write {near[0]} instead of {name}" if near else f"leave out {name}"
                return f"{change} {place}"
        return f"start the server, or correct the host, port, user, password or database {place}"

    def new_name(self) -> str:
        """Return a name for a database of this process."""
        self._count += 1
        return f"{PREFIX}_{self.token}_{self._count}"

    def quoted(self, name: str) -> str:
        """Return ``name`` as an identifier in SQL."""
        return self.dialect.identifier_preparer.quote_identifier(name)

    def own_dialect(self, dialect: Dialect) -> Dialect:
        return self.source(is_async=dialect.is_async).dialect

    def prepare_dialect(self, engine: Engine, link: Link) -> Dialect:
        """Return a copy of the dialect, which knows this server and not the application's."""
        if engine not in self._dialects:
            dialect = self._dialects[engine] = copy(engine.dialect)
            link.call(_initialize, dialect, self.driver_url(is_async=dialect.is_async), link)
        return self._dialects[engine]

    def checks(self) -> dict[str, Callable[[], str]]:
        return {**super().checks(), "server": self._reached}

    def _reached(self) -> str:
        _ = self.door
        dialect = self.source(is_async=False).dialect
        return f"{self.title} {'.'.join(map(str, dialect.server_version_info or ()))}"

    def is_open(self) -> bool:
        """Tell whether this process is connected to the door."""
        return self._pid == os.getpid() and self._door is not None

    def close(self) -> None:
        if self._door is not None and self.is_open():
            with suppress(DBAPIError):  # the server has closed it
                self._door.close()
            self._door = None


class Target:
    """A database of the server, and perhaps the schemas to look into."""

    def __init__(self, name: str, *schemas: str) -> None:
        self.name = name
        self.schemas = schemas


def _initialize(dialect: Dialect, url: URL, link: Link) -> None:
    create: Callable[..., Any] = create_engine
    if dialect.is_async:
        from sqlalchemy.ext.asyncio import create_async_engine as create
    engine = create(url, creator=lambda: link.connection, poolclass=StaticPool)
    with getattr(engine, "sync_engine", engine).connect() as connection:
        dialect.initialize(connection)
