"""Engines that lead into a test's database: its own, and the application's, redirected."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Set
from contextlib import contextmanager
from functools import cached_property
from inspect import getmembers, isfunction
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.events import ConnectionEvents
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, NullPool, Pool, QueuePool
from sqlalchemy.util import greenlet_spawn

from .connections import SandboxedConnection, is_ours
from .inherited import guard
from .statements import caller
from .violations import forked

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Dialect
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import PoolProxiedConnection

    from .backends import Backend
    from .link import Link
    from .recording import Listeners

#: In a connection's info, the stand-in or DBAPI connection that it was made of.
SOURCE = "dbtestcase_source"

_OPENED_AT = "dbtestcase_opened_at"  # there likewise, the line of whoever uses it
_TURN = "dbtestcase_turn"  # there likewise, the turn it was used in last
_EVENTS = [name for name, _ in getmembers(ConnectionEvents, isfunction) if name[0] != "_"]


class Engines:
    """Engines whose every connection comes from ``connect``.

    :param backend: where their dialect and driver come from.
    :param connect: returns a DBAPI connection: a stand-in, or one with its own transactions,
        whose driver is asynchronous if its argument is true.
    :param admit: raises if nobody may take a connection now.
    """

    def __init__(
        self,
        backend: Backend,
        connect: Callable[[bool], DBAPIConnection],
        admit: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._connect = connect
        self._admit = admit
        self.is_async = False  # the test class
        self.link: Link
        self._engines: list[Engine] = []
        self._listeners: list[Listeners] = []
        self._lock = threading.Lock()  # of them: each of these engines has each of the listeners
        self._opened: list[ConnectionPoolEntry] = []  # the async ones
        self._stand_ins: WeakSet[SandboxedConnection] = WeakSet()
        self._real: WeakSet[ConnectionPoolEntry] = WeakSet()  # the others
        self.forwards = False  # are there listeners to what connections are made?
        self._turn = 0  # counts tests, as far as connections outlive them

    def own(self, *, is_async: bool) -> Engine:
        """Return the engine of one colour, the async one as its ``sync_engine``."""
        return self.async_engine.sync_engine if is_async else self.sync_engine

    @cached_property
    def sync_engine(self) -> Engine:
        """The engine of a sync test."""
        engine: Engine = self._create(create_engine, is_async=False)
        return engine

    @cached_property
    def async_engine(self) -> AsyncEngine:
        """The engine of an async test."""
        from sqlalchemy.ext.asyncio import create_async_engine

        engine: AsyncEngine = self._create(create_async_engine, is_async=True)
        return engine

    def all(self) -> list[Engine]:
        """Return every engine that leads here, async ones as their ``sync_engine``."""
        return list(self._engines)

    @contextmanager
    def listening(self, listeners: Listeners) -> Iterator[None]:
        """Inside the block, let every engine have ``listeners`` while it leads here."""
        with self._lock:
            self._listeners.append(listeners)
            for engine in self._engines:
                _each(event.listen, engine, listeners)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listeners)
                for engine in self._engines:
                    _each(event.remove, engine, listeners)
                    _ask_no_more(engine)

    @contextmanager
    def redirect(self, engine: Engine) -> Iterator[None]:
        """Let ``engine`` lead here; on exit it is as before.

        Its dialect is replaced only where the test's database or driver is another one, so that
        what the application gave to ``create_engine`` (a JSON serializer, say) stays in force.
        """
        pool, dialect = engine.pool, engine.dialect
        is_async = dialect.is_async if self._backend.both_colours else self.is_async
        own = self.own(is_async=is_async)
        if _kind(dialect) == _kind(own.dialect):
            engine.dialect = self._backend.prepare_dialect(engine, self.link)
            engine.pool = self._pool(engine.dialect, own.url, listeners=pool)
        else:
            engine.dialect = own.dialect
            engine.pool = self._pool(
                own.dialect, own.url, listeners=own.pool, in_threads=not dialect.is_async
            )
        self._add(engine)
        try:
            yield
        finally:
            self._remove(engine)
            engine.pool, engine.dialect = pool, dialect

    def keep_connections(self) -> bool:
        """Keep the connections for the next test, and return whether that is possible.

        It is not while one is still in use, which could hold locks, nor where a listener sets up
        each new one and to reset it would undo that.
        """
        self._turn += 1
        idle = all(engine.pool.checkedout() == 0 for engine in self.all())  # type: ignore[attr-defined]
        resets = self._backend.resets_connections
        return resets and idle and (self._backend.keeps_set_up or not self.forwards)

    def unreturned(self, moment: int, older: Set[object]) -> list[SandboxedConnection]:
        """Return the stand-ins taken since ``moment`` and not given back, but by ``older``."""
        return [one for one in self._all_stand_ins() if one.is_left_since(moment, older)]

    def in_use(self) -> list[tuple[Any, str]]:
        """Return the connections with real transactions in use, and the line that opened each."""
        with self._lock:
            used = [one.info for one in self._real if one.in_use]
        return [(info[SOURCE], info[_OPENED_AT]) for info in used if _OPENED_AT in info]

    def take_back(self) -> None:
        """Take back those that could not be given back when they were closed."""
        for stand_in in self._all_stand_ins():
            stand_in.give_back()

    def close_connections(self, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """Close every connection that was opened, also those never returned.

        :param run: runs a coroutine in an event loop; called only if there is a need.
        """
        for engine in self.all():
            engine.dispose(close=False)
        if self._opened:
            opened, self._opened = self._opened, []
            run(_close_all(opened))

    def _create(self, create: Callable[..., Any], *, is_async: bool) -> Any:
        engine = create(self._backend.driver_url(is_async=is_async), poolclass=NullPool)
        sync_engine: Engine = getattr(engine, "sync_engine", engine)
        sync_engine.dialect = self._backend.own_dialect(sync_engine.dialect)
        sync_engine.pool = self._pool(sync_engine.dialect, engine.url, listeners=sync_engine.pool)
        self._add(sync_engine)
        return engine

    def _add(self, engine: Engine) -> None:
        with self._lock:
            self._engines.append(engine)
            _each(event.listen, engine, *self._listeners)

    def _remove(self, engine: Engine) -> None:
        with self._lock:
            self._engines.remove(engine)
            _each(event.remove, engine, *self._listeners)
            _ask_no_more(engine)

    def _pool(
        self, dialect: Dialect, url: URL, listeners: Pool, *, in_threads: bool = False
    ) -> Pool:
        """Return a pool that leads here, with the ``connect`` listeners of another one.

        :param in_threads: used outside of event loops, whatever the dialect.
        """

        def connect(rec: ConnectionPoolEntry) -> DBAPIConnection:
            return self._open(dialect, url, rec)

        in_loop = dialect.is_async and not in_threads
        pool_class = AsyncAdaptedQueuePool if in_loop else QueuePool
        pool = pool_class(connect, pool_size=0, dialect=dialect)
        forwarded = [one for one in listeners.dispatch.connect if self._backend.forwards(one)]
        self.forwards = self.forwards or bool(forwarded)

        @event.listens_for(pool, "connect")
        def forward(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
            for listener in forwarded:
                listener(connection, record)
            self._backend.was_set_up(record.info[SOURCE])

        event.listen(pool, "checkout", self._checked_out)
        return pool

    def _open(self, dialect: Dialect, url: URL, record: ConnectionPoolEntry) -> DBAPIConnection:
        def connect() -> DBAPIConnection:
            source = record.info[SOURCE] = self._connect(dialect.is_async)
            return source

        connection = self._backend.pooled(dialect, url, connect)
        source = record.info[SOURCE]
        with self._lock:
            if isinstance(source, SandboxedConnection):
                self._stand_ins.add(source)
                if connection is not source:  # but a driver's, with a thread that no child has
                    guard(record, forked)
            else:
                self._real.add(record)
                guard(record)
        if dialect.is_async and not isinstance(connection, SandboxedConnection):
            self._opened.append(record)
        return connection

    def _all_stand_ins(self) -> list[SandboxedConnection]:
        with self._lock:
            return list(self._stand_ins)

    def _checked_out(
        self, connection: object, record: ConnectionPoolEntry, proxy: PoolProxiedConnection
    ) -> None:
        self._admit()
        source = record.info[SOURCE]
        opened_at = record.info[_OPENED_AT] = caller()
        if isinstance(source, SandboxedConnection):
            source.check_out(opened_at, proxy)
        elif is_ours(record, proxy) and record.info.setdefault(_TURN, self._turn) != self._turn:
            record.info[_TURN] = self._turn
            self._backend.reset_connection(source, is_async=self.is_async)


def _kind(dialect: Dialect) -> tuple[str, str, bool]:
    return dialect.name, dialect.driver, dialect.is_async


def _each(do: Callable[..., None], engine: Engine, *some: Listeners) -> None:
    for listeners in some:
        for name, listener in listeners.items():
            do(engine, name, listener)


def _ask_no_more(engine: Engine) -> None:
    """Let ``engine``, if it has no listeners left, be as fast as one that never had any.

    The one seam: SQLAlchemy notes that an engine has listeners, and never that it has none.
    """
    if not any(getattr(engine.dispatch, name) for name in _EVENTS):
        vars(engine).pop("_has_events", None)


async def _close_all(opened: Iterable[ConnectionPoolEntry]) -> None:
    for record in opened:
        await greenlet_spawn(record.invalidate)
