"""What one test costs: without isolation, with the hand-written recipe, and with dbtestcase."""

from __future__ import annotations

import asyncio
import unittest
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase

from .cases import times
from .databases import (
    MYSQL,
    POSTGRESQL,
    async_engine_on,
    engine_on,
    no_module,
    no_server,
    unreachable,
)
from .measure import SIZE, Group, Target, adds_less, at_least
from .models import Base, work, work_async


class SyncFloor(unittest.TestCase):
    """An engine for the class, a session for each test, and no isolation."""

    database: str

    @classmethod
    def setUpClass(cls) -> None:
        cls.engine = engine_on(cls.database)
        cls.addClassCleanup(cls.engine.dispose)
        cls.addClassCleanup(Base.metadata.drop_all, cls.engine)
        Base.metadata.create_all(cls.engine)

    def setUp(self) -> None:
        self.session = Session(self.engine)
        self.addCleanup(self.session.close)


class SyncRecipe(SyncFloor):
    """SQLAlchemy's recipe for joining a session into an external transaction."""

    def setUp(self) -> None:
        self.connection = self.engine.connect()
        self.addCleanup(self.connection.close)
        transaction = self.connection.begin()
        self.addCleanup(transaction.rollback)
        self.session = Session(self.connection, join_transaction_mode="create_savepoint")
        self.addCleanup(self.session.close)


class SyncOurs(DatabaseTestCase):
    metadata = Base.metadata


class AsyncFloor(unittest.TestCase):
    """One loop and one engine for the class, and no isolation."""

    database: str

    @classmethod
    def setUpClass(cls) -> None:
        runner = asyncio.Runner()
        cls.addClassCleanup(runner.close)
        cls.run_async = staticmethod(runner.run)
        cls.engine = async_engine_on(cls.database)
        cls.addClassCleanup(lambda: runner.run(_drop_tables(cls.engine)))
        runner.run(_create_tables(cls.engine))

    async def work(self) -> None:
        async with AsyncSession(self.engine) as session:
            await work_async(session)


class AsyncRecipe(unittest.IsolatedAsyncioTestCase):
    """The recipe for coroutines: each test has its own loop, and so its own connection."""

    database: str

    @classmethod
    def setUpClass(cls) -> None:
        cls.engine = async_engine_on(cls.database, poolclass=NullPool)
        cls.addClassCleanup(lambda: asyncio.run(_drop_tables(cls.engine)))
        asyncio.run(_create_tables(cls.engine))

    async def asyncSetUp(self) -> None:
        self.connection = await self.engine.connect()
        self.addAsyncCleanup(self.connection.close)
        transaction = await self.connection.begin()
        self.addAsyncCleanup(transaction.rollback)
        self.session = AsyncSession(
            self.connection, join_transaction_mode="create_savepoint", expire_on_commit=False
        )
        self.addAsyncCleanup(self.session.close)


class AsyncOurs(AsyncDatabaseTestCase):
    metadata = Base.metadata


async def _create_tables(engine: Any) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)


async def _drop_tables(engine: Any) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
    await engine.dispose()


def _sync_test(self: Any) -> None:
    work(self.session)


def _looped_test(self: Any) -> None:
    self.run_async(self.work())


async def _async_test(self: Any) -> None:
    await work_async(self.session)


def sync_floor(database: str) -> float:
    """Return the milliseconds of one test; the next functions likewise."""
    return times(SyncFloor, _sync_test, SIZE.tests, database=database).whole


def sync_recipe(database: str) -> float:
    return times(SyncRecipe, _sync_test, SIZE.tests, database=database).whole


def sync_ours(database: str) -> float:
    engines = [unreachable(database)]
    return times(SyncOurs, _sync_test, SIZE.tests, database=database, engines=engines).whole


def async_floor(database: str) -> float:
    return times(AsyncFloor, _looped_test, SIZE.tests, database=database).whole


def async_recipe(database: str) -> float:
    return times(AsyncRecipe, _async_test, SIZE.tests, database=database).whole


def async_ours(database: str) -> float:
    engines = [unreachable(database, is_async=True)]
    return times(AsyncOurs, _async_test, SIZE.tests, database=database, engines=engines).whole


def sync_group(name: str, title: str, database: str, missing: str = "") -> Group:
    measures = {
        "no isolation": partial(sync_floor, database),
        "hand-written recipe": partial(sync_recipe, database),
        "dbtestcase": partial(sync_ours, database),
    }
    target = adds_less(1, "dbtestcase", "hand-written recipe", "no isolation")
    return Group(name, f"sync test, {title} (ms)", measures, [target], missing=missing)


def async_group(
    name: str, title: str, database: str, targets: list[Target], missing: str = ""
) -> Group:
    measures = {
        "no isolation, one loop": partial(async_floor, database),
        "hand-written recipe": partial(async_recipe, database),
        "dbtestcase": partial(async_ours, database),
    }
    return Group(name, f"async test, {title} (ms)", measures, targets, missing=missing)


def _faster(times: float) -> list[Target]:
    return [at_least(times, "hand-written recipe", "dbtestcase")]


def groups() -> list[Group]:
    no_postgresql = no_server("DBTESTCASE_POSTGRESQL") or no_module("psycopg", "asyncpg")
    no_mysql = no_server("DBTESTCASE_MYSQL") or no_module("pymysql", "asyncmy")
    return [
        sync_group("sync-sqlite", "SQLite", "sqlite://"),
        async_group("async-sqlite", "SQLite", "sqlite://", _faster(3), no_module("aiosqlite")),
        sync_group("sync-postgresql", "PostgreSQL", POSTGRESQL, no_postgresql),
        async_group("async-postgresql", "PostgreSQL", POSTGRESQL, _faster(5), no_postgresql),
        sync_group("sync-mysql", "MySQL or MariaDB", MYSQL, no_mysql),
        async_group("async-mysql", "MySQL or MariaDB", MYSQL, [], no_mysql),
    ]
