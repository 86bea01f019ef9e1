"""Engines that lead into a test's database: its own, and the application's, redirected."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, Pool, QueuePool
from sqlalchemy.util import greenlet_spawn

from .exceptions import OptionError

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncEngine

    from .backends import Backend


class Engines:
    """Engines whose every connection comes from ``connect``.

    :param backend: where their dialect and driver come from.
    :param connect: returns a DBAPI connection: a stand-in, or one with its own transactions.
    """

    def __init__(self, backend: Backend, connect: Callable[[], DBAPIConnection]) -> None:
        self._backend = backend
        self._arguments = backend.connect_arguments(connect)
        self._sync: Engine | None = None
        self._async: AsyncEngine | None = None
        self._redirected: list[Engine] = []
        self._opened: dict[int, tuple[Dialect, DBAPIConnection]] = {}

    @property
    def sync_engine(self) -> Engine:
        if self._sync is None:
            url = self._backend.driver_url(is_async=False)
            self._sync = create_engine(
                url, poolclass=QueuePool, pool_size=0, connect_args=self._arguments
            )
            self._watch(self._sync.pool, self._sync.dialect)
        return self._sync

    @property
    def async_engine(self) -> AsyncEngine:
        if self._async is None:
            from sqlalchemy.ext.asyncio import create_async_engine

            url = self._backend.driver_url(is_async=True)
            self._async = create_async_engine(
                url, poolclass=AsyncAdaptedQueuePool, pool_size=0, connect_args=self._arguments
            )
            self._watch(self._async.sync_engine.pool, self._async.dialect)
        return self._async

    def all(self) -> list[Engine]:
        """Return every engine that leads here, async ones as their ``sync_engine``."""
        own = [] if self._sync is None else [self._sync]
        own += [] if self._async is None else [self._async.sync_engine]
        return own + self._redirected

    @contextmanager
    def redirect(self, engine: Engine) -> Iterator[None]:
        """Let ``engine`` lead here; on exit it is as before.

        Its dialect is replaced only where the test's database or driver is another one, so that
        what the application gave to ``create_engine`` (a JSON serializer, say) stays in force.
        """
        pool, dialect = engine.pool, engine.dialect
        own = self.async_engine.sync_engine if dialect.is_async else self.sync_engine
        if (dialect.name, dialect.driver) == (own.dialect.name, own.dialect.driver):
            engine.pool = self._pool_like(pool, dialect, own)
        else:
            engine.dialect = own.dialect
            engine.pool = self._pool_like(own.pool, own.dialect, own)
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
            opened, self._opened = self._opened, {}
            run(_close_all(opened.values()))

    def _pool_like(self, original: Pool, dialect: Dialect, own: Engine) -> Pool:
        """Return a pool that leads here, with the ``connect`` listeners of ``original``."""
        positional, named = dialect.create_connect_args(own.url)
        pool_class = AsyncAdaptedQueuePool if dialect.is_async else QueuePool
        pool = pool_class(
            lambda: dialect.connect(*positional, **{**named, **self._arguments}),
            pool_size=0,
            dialect=dialect,
        )

        @event.listens_for(pool, "connect")
        def forward(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
            original.dispatch.connect(connection, record)

        self._watch(pool, dialect)
        return pool

    def _watch(self, pool: Pool, dialect: Dialect) -> None:
        if dialect.is_async:

            @event.listens_for(pool, "connect")
            def opened(connection: DBAPIConnection, record: object) -> None:
                self._opened[id(connection)] = (dialect, connection)


async def _close_all(opened: Iterable[tuple[Dialect, DBAPIConnection]]) -> None:
    for dialect, connection in opened:
        await greenlet_spawn(dialect.do_terminate, connection)


def resolve_engines(value: Any) -> list[Engine]:
    """Return the engines that the ``engines`` option stands for, async ones as ``sync_engine``.

    :param value: an ``Engine``, an ``AsyncEngine``, ``"module:attribute"``, a callable that
        returns one of these, or a list or tuple of them.
    :raises OptionError: it is anything else, or names what cannot be imported.
    """
    if isinstance(value, (list, tuple)):
        found = [engine for item in value for engine in resolve_engines(item)]
        return list(dict.fromkeys(found))
    if isinstance(value, str):
        return resolve_engines(_import(value))
    engine = getattr(value, "sync_engine", value)
    if isinstance(engine, Engine):
        return [engine]
    if callable(value) and not isinstance(value, type) and not hasattr(value, "kw"):
        return resolve_engines(value())
    raise OptionError(
        f"engines contains {value!r}, which is not an engine.\n"
        "  To fix this, name an Engine or AsyncEngine, as an object, as "
        '"module:attribute", or as a function that returns it; of a sessionmaker, its engine'
    )


def _import(path: str) -> Any:
    module_name, _, attribute = path.partition(":")
    if not attribute:
        raise OptionError(
            f'engines contains {path!r}; write "module:attribute", as in "app.db:engine"'
        )
    try:
        found: Any = import_module(module_name)
    except ImportError as error:
        raise OptionError(f"engines contains {path!r}, but importing it failed: {error}") from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise OptionError(f"engines contains {path!r}, but {module_name} has no {name!r}")
        found = getattr(found, name)
    return found
