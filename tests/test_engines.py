"""The application's engines: redirected whatever they are, and restored whatever happens."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import unittest
from typing import Any

from sqlalchemy import JSON, Column, MetaData, Table, create_engine, event, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase, OptionError

from . import inner
from .models import Base, User, app_async_engine, app_engine, register, register_async

documents = Table("documents", MetaData(), Column("body", JSON))


class Redirected(unittest.TestCase):
    def test_sync_and_async_engines_in_a_sync_test(self) -> None:
        class Both(DatabaseTestCase):
            metadata = Base.metadata
            engines = [app_engine, app_async_engine]

            def test(self) -> None:
                register("sync")
                asyncio.run(register_async("async"))
                self.assertDatabaseCount(User, 2)

            def test_again(self) -> None:
                self.assertDatabaseEmpty()
                asyncio.run(register_async("async"))
                self.assertDatabaseCount(User, 1)

        inner.passed(self, inner.run(Both), 2)

    def test_sync_and_async_engines_in_an_async_test(self) -> None:
        class Both(AsyncDatabaseTestCase):
            metadata = Base.metadata
            engines = [app_engine, app_async_engine]

            async def test(self) -> None:
                register("in the loop")
                await asyncio.to_thread(register, "in a thread")
                await asyncio.gather(*(register_async(f"task {n}") for n in range(10)))
                await self.assertDatabaseCount(User, 12)

        inner.passed(self, inner.run(Both), 1)

    def test_engine_of_another_database(self) -> None:
        engine = create_engine("mysql+pymysql://unreachable.invalid/app", module=sqlite3)

        class Other(DatabaseTestCase):
            metadata = Base.metadata
            engines = engine

            def test(self) -> None:
                with Session(engine) as session:
                    session.add(User(name="bob"))
                    session.commit()
                    self.assertEqual(session.scalar(select(func.count()).select_from(User)), 1)
                self.assertDatabaseCount(User, 1)
                self.assertEqual(engine.dialect.name, "sqlite")

        dialect, pool = engine.dialect, engine.pool
        inner.passed(self, inner.run(Other), 1)
        self.assertIs(engine.dialect, dialect)
        self.assertIs(engine.pool, pool)

    def test_ways_to_name_an_engine(self) -> None:
        ways: list[Any] = [
            app_engine,
            [None, app_engine],
            (app_engine, app_engine),
            "tests.models:app_engine",
            ["tests.models:app_engine"],
            lambda: app_engine,
            lambda: [app_engine],
            [app_engine.execution_options(mine=True)],
        ]
        for way in ways:
            with self.subTest(way):

                class Named(DatabaseTestCase):
                    metadata = Base.metadata
                    engines = [way]

                    def test(self) -> None:
                        register("bob")
                        self.assertDatabaseCount(User, 1)

                inner.passed(self, inner.run(Named), 1)

    def test_what_names_no_engine(self) -> None:
        wrong: dict[str, Any] = {
            "'nonsense'; write \"module:attribute\"": "nonsense",
            "'sqlite://…'; write \"module:attribute\"": "sqlite:///x.db",
            "importing it failed: No module named 'no_such_module'": "no_such_module:engine",
            "tests.models has no 'enigne'": "tests.models:enigne",
            "did you mean 'app_engine'?": "tests.models:ap_engine",
            "'tests.models:User': a DeclarativeAttributeIntercept": "tests.models:User",
            "sessionmaker": sessionmaker(app_engine),
            "scoped_session": scoped_session(sessionmaker(app_engine)),
            "42, which is not an engine": 42,
        }
        for message, value in wrong.items():
            with self.subTest(message):

                class Wrong(DatabaseTestCase):
                    engines = [value]

                    def test(self) -> None: ...

                error = inner.only_error(self, inner.run(Wrong))
                self.assertIn(OptionError.__name__, error)
                self.assertIn("Wrong: engines contains", error)
                self.assertIn(message, error)

    def test_restored_after_a_failing_test(self) -> None:
        class Failing(DatabaseTestCase):
            engines = [app_engine, app_async_engine]

            def test(self) -> None:
                self.fail()

        before = [app_engine.pool, app_engine.dialect, app_async_engine.pool]
        inner.only_error(self, inner.run(Failing))
        self.assertEqual(before, [app_engine.pool, app_engine.dialect, app_async_engine.pool])

    def test_disposed_by_the_application(self) -> None:
        class Disposing(DatabaseTestCase):
            metadata = Base.metadata
            engines = [app_engine]

            def test(self) -> None:
                register("bob")
                app_engine.dispose()
                register("carl")
                self.assertDatabaseCount(User, 2)

        inner.passed(self, inner.run(Disposing), 1)

    def test_options_of_the_engine_stay_in_force(self) -> None:
        engine = create_engine(
            "sqlite:////unreachable/x.db", json_serializer=lambda value: json.dumps([value])
        )

        class Serialized(DatabaseTestCase):
            metadata = documents.metadata
            engines = engine

            def test(self) -> None:
                with engine.begin() as connection:
                    connection.execute(insert(documents).values(body=1))
                with self.engine.connect() as connection:
                    self.assertEqual(connection.scalar(select(documents.c.body)), [1])

        inner.passed(self, inner.run(Serialized), 1)

    def test_listeners_to_connect_are_called(self) -> None:
        engine = create_engine("sqlite:////unreachable/x.db")
        async_engine = create_async_engine("sqlite+aiosqlite:////unreachable/x.db")

        for listened in (engine, async_engine.sync_engine):

            @event.listens_for(listened, "connect")
            def add_function(connection: Any, record: Any) -> None:
                connection.isolation_level = None
                for pragma in ("foreign_keys=ON", "journal_mode=WAL", "synchronous(NORMAL)"):
                    cursor = connection.cursor()
                    cursor.execute(f"PRAGMA {pragma}")
                    cursor.close()
                connection.isolation_level = ""
                connection.create_function("twice", 1, lambda value: value * 2)

        class Listening(AsyncDatabaseTestCase):
            metadata = Base.metadata
            engines = [engine, async_engine]

            async def test(self) -> None:
                self.session.add(User(name="a transaction is open"))
                await self.session.flush()
                with engine.connect() as connection:
                    self.assertEqual(connection.scalar(select(func.twice(2))), 4)
                async with AsyncSession(async_engine) as session:
                    self.assertEqual(await session.scalar(select(func.twice(3))), 6)

            test_again = test

        inner.passed(self, inner.run(Listening), 2)
