"""Engines that lead into a test's database: its own, and the application's, redirected."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cached_property, partial
from importlib import import_module
from inspect import isroutine
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, Pool, QueuePool
from sqlalchemy.util import greenlet_spawn

from .connections import SandboxedConnection
from .exceptions import OptionError
from .statements import caller

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Dialect
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncEngine

    from .backends import Backend

_SOURCE = "dbtestcase_source"  # in a connection's info: what Engines._connect returned for it


class Engines:
    """Engines whose every connection comes from ``connect``.

    :param backend: where their dialect and driver come from.
    :param connect: returns a DBAPI connection: a stand-in, or one with its own transactions.
    :param admit: raises if nobody may take a connection now.
    """

    def __init__(
        self,
        backend: Backend,
        connect: Callable[[], DBAPIConnection],
        admit: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._connect = connect
        self._admit = admit
        self._redirected: list[Engine] = []
        self._opened: list[ConnectionPoolEntry] = []  # the async ones

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
        made = [vars(self)[name] for name in ("sync_engine", "async_engine") if name in vars(self)]
        return [getattr(engine, "sync_engine", engine) for engine in made] + self._redirected

    @contextmanager
    def redirect(self, engine: Engine) -> Iterator[None]:
        """Let ``engine`` lead here; on exit it is as before.

        Its dialect is replaced only where the test's database or driver is another one, so that
        what the application gave to ``create_engine`` (a JSON serializer, say) stays in force.
        """
        pool, dialect = engine.pool, engine.dialect
        own = self.own(is_async=dialect.is_async)
        if (dialect.name, dialect.driver) == (own.dialect.name, own.dialect.driver):
            engine.pool = self._pool(dialect, own.url, listeners=pool)
        else:
            engine.dialect = own.dialect
            engine.pool = self._pool(own.dialect, own.url, listeners=own.pool)
        self._redirected.append(engine)
        try:
            yield
        finally:
            self._redirected.remove(engine)
            engine.pool, engine.dialect = pool, dialect

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
        def connect(rec: ConnectionPoolEntry) -> DBAPIConnection:
            return self._open(engine.dialect, engine.url, rec)

        url = self._backend.driver_url(is_async=is_async)
        pool_class = AsyncAdaptedQueuePool if is_async else QueuePool
        engine = create(url, creator=connect, poolclass=pool_class, pool_size=0)
        event.listen(getattr(engine, "sync_engine", engine).pool, "checkout", self._checked_out)
        return engine

    def _pool(self, dialect: Dialect, url: URL, listeners: Pool) -> Pool:
        """Return a pool that leads here, with the ``connect`` listeners of another one."""

        def connect(rec: ConnectionPoolEntry) -> DBAPIConnection:
            return self._open(dialect, url, rec)

        pool_class = AsyncAdaptedQueuePool if dialect.is_async else QueuePool
        pool = pool_class(connect, pool_size=0, dialect=dialect)

        @event.listens_for(pool, "connect")
        def forward(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
            listeners.dispatch.connect(connection, record)

        event.listen(pool, "checkout", self._checked_out)
        return pool

    def _open(self, dialect: Dialect, url: URL, record: ConnectionPoolEntry) -> DBAPIConnection:
        def connect() -> DBAPIConnection:
            source = record.info[_SOURCE] = self._connect()
            return source

        positional, named = dialect.create_connect_args(url)
        connection = dialect.connect(
            *positional, **{**named, **self._backend.connect_arguments(connect)}
        )
        if dialect.is_async:
            self._opened.append(record)
        return connection

    def _checked_out(self, connection: object, record: ConnectionPoolEntry, proxy: object) -> None:
        self._admit()
        source = record.info[_SOURCE]
        if isinstance(source, SandboxedConnection):
            source.check_out(caller())


async def _close_all(opened: Iterable[ConnectionPoolEntry]) -> None:
    for record in opened:
        await greenlet_spawn(record.invalidate)


def resolve_engines(value: Any) -> list[Engine]:
    """Return the engines that the ``engines`` option stands for, async ones as ``sync_engine``.

    :param value: None, an ``Engine``, an ``AsyncEngine``, ``"module:attribute"``, a function that
        returns one of these, or a list or tuple of them.
    :raises OptionError: it is anything else, or names what cannot be imported.
    """
    if isinstance(value, (list, tuple)):
        found = [engine for item in value for engine in resolve_engines(item)]
        return list(dict.fromkeys(found))
    if value is None:
        return []
    written = repr(value)
    if isinstance(value, str):
        value = _import(value)
    if isroutine(value) or isinstance(value, partial):
        value = value()
    if isinstance(value, (list, tuple)):
        return resolve_engines(value)
    engine = getattr(value, "sync_engine", value)
    if isinstance(engine, Engine):
        return [engine]
    is_a = "" if repr(value) == written else f": a {type(value).__name__}"
    raise OptionError(
        f"engines contains {written}{is_a}, which is not an engine.\n"
        "  To fix this, name an Engine or AsyncEngine, as an object, as "
        '"module:attribute", or as a function that returns it; of a sessionmaker, its engine'
    )


def _import(path: str) -> Any:
    module_name, _, attribute = path.partition(":")
    if not attribute or attribute.startswith("//"):
        raise OptionError(
            f'engines contains {path!r}; write "module:attribute", as in "app.db:engine"'
        )
    try:
        found: Any = import_module(module_name)
    except ImportError as error:
        raise OptionError(f"engines contains {path!r}, but importing it failed: {error}") from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            near = get_close_matches(name, dir(found), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise OptionError(f"engines contains {path!r}, but {module_name} has no {name!r}{hint}")
        found = getattr(found, name)
    return found
