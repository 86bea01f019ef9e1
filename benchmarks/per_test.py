"""What one test costs: without isolation, with the hand-written recipe, and with dbtestcase."""

from __future__ import annotations

import asyncio
import time
import unittest
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase

from .models import Base, work, work_async

TESTS = 200


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


def _memory(create: Any, url: str) -> Any:
    arguments = {"check_same_thread": False}
    return _with_real_transactions(create(url, poolclass=StaticPool, connect_args=arguments))


class SyncFloor(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.engine = _memory(create_engine, "sqlite://")
        Base.metadata.create_all(cls.engine)
        cls.addClassCleanup(cls.engine.dispose)

    def setUp(self) -> None:
        self.session = Session(self.engine)
        self.addCleanup(self.session.close)


class SyncRecipe(SyncFloor):
    def setUp(self) -> None:
        self.connection = self.engine.connect()
        self.addCleanup(self.connection.close)
        transaction = self.connection.begin()
        self.addCleanup(transaction.rollback)
        self.session = Session(self.connection, join_transaction_mode="create_savepoint")
        self.addCleanup(self.session.close)


class SyncOurs(DatabaseTestCase):
    database = "sqlite://"
    metadata = Base.metadata
    engines = [create_engine("sqlite:////unreachable/application.db")]


class AsyncFloor(unittest.TestCase):
    """One loop for the class and no isolation."""

    @classmethod
    def setUpClass(cls) -> None:
        runner = asyncio.Runner()
        cls.addClassCleanup(runner.close)
        cls.run_async = staticmethod(runner.run)
        cls.engine = _memory(create_async_engine, "sqlite+aiosqlite://")
        cls.run_async(_create_tables(cls.engine))
        cls.addClassCleanup(lambda: runner.run(cls.engine.dispose()))

    async def work(self) -> None:
        async with AsyncSession(self.engine) as session:
            await work_async(session)


class AsyncRecipe(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.engine = _memory(create_async_engine, "sqlite+aiosqlite://")
        asyncio.run(_create_tables(cls.engine))
        cls.addClassCleanup(lambda: asyncio.run(cls.engine.dispose()))

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
    database = "sqlite://"
    metadata = Base.metadata
    engines = [create_async_engine("sqlite+aiosqlite:////unreachable/application.db")]


async def _create_tables(engine: Any) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)


def _sync_test(self: Any) -> None:
    work(self.session)


def _looped_test(self: Any) -> None:
    self.run_async(self.work())


async def _async_test(self: Any) -> None:
    await work_async(self.session)


for case, test in [
    (SyncFloor, _sync_test),
    (SyncRecipe, _sync_test),
    (SyncOurs, _sync_test),
    (AsyncFloor, _looped_test),
    (AsyncRecipe, _async_test),
    (AsyncOurs, _async_test),
]:
    for number in range(TESTS):
        setattr(case, f"test_{number:03}", test)


def milliseconds_per_test(case: type[unittest.TestCase]) -> float:
    """Run all tests of ``case`` and return what one took on average, class set-up included."""
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    result = unittest.TestResult()
    start = time.perf_counter()
    suite.run(result)
    took = time.perf_counter() - start
    assert result.wasSuccessful(), [*result.errors, *result.failures][0]
    return took / TESTS * 1000
