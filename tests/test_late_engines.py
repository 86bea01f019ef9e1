"""Engines that are redirected late: their statements are recorded as those of all others."""

from __future__ import annotations

import asyncio
import threading
import unittest
from typing import Any
from unittest import mock

from sqlalchemy import Engine, create_engine, func, insert, select
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, sessionmaker

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase, UsageError
from dbtestcase.recording import Statement

from . import inner
from .models import Base, User, app_engine, register

UNREACHABLE = "sqlite:////unreachable/application.db"
ASYNC_UNREACHABLE = "sqlite+aiosqlite:////unreachable/application.db"


def add(engine: Engine, name: str) -> None:
    with engine.begin() as connection:
        connection.execute(insert(User).values(name=name))


async def add_async(engine: AsyncEngine, name: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(User).values(name=name))


def names(statements: list[Statement]) -> list[str]:
    """Return the parameter of each, which drivers take in different forms."""
    given = [one.parameters for one in statements]
    return [next(iter(one.values() if isinstance(one, dict) else one)) for one in given]


def has_listeners(engine: Engine) -> bool:
    events = engine.dispatch
    return any(map(list, (events.before_cursor_execute, events.after_cursor_execute)))


class Case(DatabaseTestCase):
    metadata = Base.metadata


class AsyncCase(AsyncDatabaseTestCase):
    metadata = Base.metadata


class InTheTest(Case):
    def setUp(self) -> None:
        super().setUp()
        self.late = create_engine(UNREACHABLE)

    def test_statements(self) -> None:
        self.redirect_engines(self.late)
        add(self.late, "bob")
        add(self.engine, "carl")
        self.assertEqual(names(self.statements), ["bob", "carl"])
        self.assertEqual({one.database for one in self.statements}, {"default"})
        self.assertTrue(all(one.duration is not None for one in self.statements))

    def test_statements_of_an_async_engine(self) -> None:
        late = create_async_engine(ASYNC_UNREACHABLE)
        self.redirect_engines(late)
        asyncio.run(add_async(late, "bob"))
        self.assertEqual(names(self.statements), ["bob"])

    def test_redirected_in_a_block(self) -> None:
        with self.assertNumQueries(2) as outer:
            self.redirect_engines(self.late)
            with self.assertQueriesMatch("^INSERT INTO users") as nested:
                add(self.late, "bob")
            self.redirect_engines(self.late)  # which leads there already
            add(self.late, "carl")
        self.assertEqual(names(nested), ["bob"])
        self.assertEqual(names(outer), ["bob", "carl"])

    def test_none(self) -> None:
        with self.assertRaisesRegex(UsageError, r"redirect_engines\(\) was given no engine\.\n"):
            self.redirect_engines()

    def test_failing_block(self) -> None:
        wrong = self.assertRaisesRegex(AssertionError, "1 query executed, none expected")
        with wrong, self.assertNoQueries():
            self.redirect_engines(self.late)
            add(self.late, "bob")

    def test_violation_in_a_block(self) -> None:
        others = [create_engine("postgresql+psycopg://unreachable.invalid/app") for _ in range(2)]
        with self.assertConstraintViolated("users.name"):
            self.redirect_engines(self.late, *others)
            dispatch: Any = self.late.dialect.dispatch
            inside = len(dispatch.handle_error)
            add(self.late, "bob")
            add(others[0], "bob")
        self.assertEqual(len(dispatch.handle_error), inside - 1)

    def test_redirected_in_a_thread(self) -> None:
        def use() -> None:
            self.redirect_engines(self.late)
            add(self.late, "bob")

        with self.assertNumQueries(1):
            thread = threading.Thread(target=use)
            thread.start()
            thread.join()

    def test_comparison_of_the_schema_is_not_recorded(self) -> None:
        with self.assertNoQueries():
            self.assertSchemaMatchesModels()


class WithOneDerivedFromIt(Case):
    engine_of_app = create_engine(UNREACHABLE)
    derived = engine_of_app.execution_options(mine=True)
    engines = [engine_of_app, derived]

    def test_each_statement_counts_once(self) -> None:
        add(self.derived, "bob")
        self.assertEqual(names(self.statements), ["bob"])
        self.assertIsNotNone(self.statements[0].duration)


class InTheAsyncTest(AsyncCase):
    async def test_redirected_in_a_block(self) -> None:
        late = create_async_engine(ASYNC_UNREACHABLE)
        with self.assertNumQueries(1):
            self.redirect_engines(late)
            await add_async(late, "bob")
        await add_async(late, "carl")
        self.assertEqual(names(self.statements), ["bob", "carl"])

    async def test_sync_engine(self) -> None:
        late = create_engine(UNREACHABLE)
        self.redirect_engines(late)
        with self.assertNumQueries(1):
            await asyncio.to_thread(add, late, "bob")
        self.assertEqual(names(self.statements), ["bob"])

    async def test_comparison_of_the_schema_is_not_recorded(self) -> None:
        with self.assertNoQueries():
            await self.assertSchemaMatchesModels()


class InTheClass(Case):
    late: Engine

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.late = create_engine(UNREACHABLE)
        cls.redirect_engines(cls.late)
        add(cls.late, "of the class")

    def test(self) -> None:
        add(self.late, "bob")
        self.assertEqual(names(self.statements), ["bob"])

    test_again = test


class ChosenByGetBind(unittest.TestCase):
    def test_in_a_sync_test(self) -> None:
        late = create_engine(UNREACHABLE)

        class Routing(Session):
            def get_bind(self, *args: Any, **kwargs: Any) -> Engine:
                return late

        make = sessionmaker(class_=Routing)

        class Inner(Case):
            session_factories = [make]

            def test(self) -> None:
                with make() as session, self.assertNumQueries(1):
                    self.assertEqual(session.scalar(select(func.count()).select_from(User)), 0)
                self.assertEqual(len(self.statements), 1)

            test_again = test

        inner.passed(self, inner.run(Inner), 2)
        self.assertFalse(has_listeners(late))

    def test_in_an_async_test(self) -> None:
        late = create_async_engine(ASYNC_UNREACHABLE)

        class Routing(Session):
            def get_bind(self, *args: Any, **kwargs: Any) -> Engine:
                return late.sync_engine

        make = async_sessionmaker(sync_session_class=Routing)

        class Inner(AsyncCase):
            session_factories = [make]

            async def test(self) -> None:
                with self.assertNumQueries(1):
                    async with make() as session:
                        await session.scalars(select(User))
                self.assertEqual(len(self.statements), 1)

        inner.passed(self, inner.run(Inner), 1)
        self.assertFalse(has_listeners(late.sync_engine))


class Removal(unittest.TestCase):
    def test_listeners_are_gone_after_the_test(self) -> None:
        late = create_engine(UNREACHABLE)

        class Inner(Case):
            def test_1(self) -> None:
                self.redirect_engines(late)
                add(late, "bob")
                self.assertEqual(len(self.statements), 1)
                self.fail("on purpose")

            def test_2(self) -> None:
                self.assertFalse(has_listeners(late))

            def test_3_a_block_that_nobody_leaves(self) -> None:
                self.assertNumQueries(1).__enter__()
                self.redirect_engines(late)
                add(late, "bob")

            def test_4(self) -> None:
                self.assertFalse(has_listeners(late))

            def test_5_a_block_left_as_the_test_ends(self) -> None:
                self.enterContext(self.assertNumQueries(1))
                self.redirect_engines(late)
                add(late, "bob")

        self.assertIn("on purpose", inner.only_error(self, inner.run(Inner)))
        self.assertFalse(has_listeners(late))

    def test_nothing_listens_unless_somebody_asks(self) -> None:
        late = create_engine(UNREACHABLE)

        class Silent(Case):
            def test(self) -> None:
                self.redirect_engines(late)
                self.assertFalse(has_listeners(late))
                with self.assertNumQueries(0):
                    self.assertTrue(has_listeners(late))
                self.assertFalse(has_listeners(late))
                self.assertFalse(has_listeners(self.engine))

        inner.passed(self, inner.run(Silent), 1)


class InTheReport(unittest.TestCase):
    def test_sql_of_a_failed_test(self) -> None:
        late = create_engine(UNREACHABLE)

        class Failing(Case):
            engines = app_engine

            def test(self) -> None:
                self.redirect_engines(late)
                register("bob")
                add(late, "carl")
                self.fail("on purpose")

        with mock.patch.dict("os.environ", DBTESTCASE_SQL="failed"):
            message = inner.only_error(self, inner.run(Failing))
        self.assertIn("Until it failed, the test executed 2 queries:", message)
        self.assertIn("'carl'", message)
