"""Databases for those who are compared: engines as a careful user makes them."""

from __future__ import annotations

import atexit
import os
import secrets
from collections.abc import Callable
from functools import cache
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, StaticPool

#: Servers to measure on, by what they are called.
POSTGRESQL = os.environ.get("DBTESTCASE_POSTGRESQL", "")
MYSQL = os.environ.get("DBTESTCASE_MYSQL", "")

_DRIVERS = {
    "sqlite": ("pysqlite", "aiosqlite"),
    "postgresql": ("psycopg", "asyncpg"),
    "mysql": ("pymysql", "asyncmy"),
    "mariadb": ("pymysql", "asyncmy"),
}


def no_server(variable: str) -> str:
    """Return why the groups on a server are left out, if they are."""
    return "" if os.environ.get(variable) else f"{variable} names no server"


def no_module(*names: str) -> str:
    """Return which of the modules that a group needs is not there, if any."""
    from importlib.util import find_spec

    missing = [name for name in names if find_spec(name) is None]
    return f"{', '.join(missing)} not installed" if missing else ""


def engine_on(database: str, **options: Any) -> Engine:
    """Return an engine on an empty database of the kind that our option ``database`` names."""
    return _engine(create_engine, url_of(database, is_async=False), options)


def async_engine_on(database: str, **options: Any) -> AsyncEngine:
    """The same for coroutines."""
    return _engine(create_async_engine, url_of(database, is_async=True), options)


def unreachable(database: str, *, is_async: bool = False) -> Any:
    """Return an engine of an application, which leads nowhere unless it is redirected."""
    kind = _kind(database)
    create: Callable[..., Any] = create_async_engine if is_async else create_engine
    place = "/unreachable/application.db" if kind == "sqlite" else "unreachable.invalid/application"
    return create(f"{kind}+{_DRIVERS[kind][is_async]}://{'/' * (kind == 'sqlite')}{place}")


def url_of(database: str, *, is_async: bool = False) -> URL:
    """Return the URL of a database that nobody else uses."""
    return _scratch(database).set(
        drivername=f"{_kind(database)}+{_DRIVERS[_kind(database)][is_async]}"
    )


def _kind(database: str) -> str:
    scheme = make_url(database).get_backend_name()
    return "postgresql" if scheme in ("pgserver", "pglite") else scheme


@cache
def _scratch(database: str) -> URL:
    if database == "sqlite://":
        return make_url(database)
    if database in ("pgserver://", "pglite://"):
        return _own_server(database)
    return _own_database(make_url(database))


def _own_server(database: str) -> URL:
    """Start one more server as dbtestcase does, for those who are compared."""
    from dbtestcase.backends.embedded import cache_directory
    from dbtestcase.backends.pglite_server import PGliteServer
    from dbtestcase.backends.postgres_server import PostgresServer

    running = (
        PGliteServer(cache_directory("PGlite", "pglite"))
        if database == "pglite://"
        else PostgresServer(cache_directory("pgserver", "pgserver"))
    )
    running.wait()
    query = {"host": str(running.socket_directory)}
    return URL.create("postgresql", "postgres", "postgres", database="postgres", query=query)


def _own_database(door: URL) -> URL:
    """Create a database, to drop it when this process ends.

    Its commits do not wait for the disk, as only those without isolation make any.
    """
    name = f"benchmarks_{secrets.token_hex(4)}"
    driver = f"{door.get_backend_name()}+{_DRIVERS[door.get_backend_name()][0]}"
    engine = create_engine(door.set(drivername=driver), poolclass=NullPool)
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET synchronous_commit = off")

    @atexit.register
    def drop() -> None:
        with autocommit.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name}")

    return door.set(database=name)


def _engine(create: Callable[..., Any], url: URL, options: dict[str, Any]) -> Any:
    if url.get_backend_name() != "sqlite":
        return create(url, **options)
    arguments = {"check_same_thread": False}
    return _with_real_transactions(create(url, poolclass=StaticPool, connect_args=arguments))


def _with_real_transactions(engine: Any) -> Any:
    """Make pysqlite begin transactions, as SQLAlchemy's documentation says."""
    target = getattr(engine, "sync_engine", engine)

    @event.listens_for(target, "connect")
    def connect(connection: Any, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(target, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine
