"""Errors of databases whose reason lies where they were asked, or in what these lack."""

from __future__ import annotations

import unittest
from typing import Any

from sqlalchemy import MetaData, create_engine, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase

from . import inner
from .models import Base, User
from .servers import MYSQL, POSTGRESQL

#: Where nothing is, as production's database where tests run.
forgotten = create_engine("sqlite:////nowhere/production.db")
forgotten_async = create_async_engine("sqlite+aiosqlite:////nowhere/production.db")


def register() -> None:
    with Session(forgotten) as session:
        session.add(User(name="bob"))
        session.commit()


async def register_async(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO users (name) VALUES ('bob')"))


class EnginesThatAreNotRedirected(unittest.TestCase):
    def reads(self, case: type[unittest.TestCase], engine: Engine) -> None:
        said = inner.only_error(self, inner.run(case))
        self.assertIn("OperationalError", said)
        self.assertIn(
            f"\n{engine!r}, which raised this, is not redirected: it leads where it leads in "
            "production.\n  To fix this, either: name it in the option engines, or ",
            said,
        )

    def test_that_cannot_connect(self) -> None:
        class Sync(DatabaseTestCase):
            metadata = Base.metadata

            def test(self) -> None:
                register()

        class Async(AsyncDatabaseTestCase):
            metadata = Base.metadata

            async def test(self) -> None:
                await register_async(forgotten_async)

        class OfClassData(DatabaseTestCase):
            metadata = Base.metadata

            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                register()

            def test(self) -> None: ...

        self.reads(Sync, forgotten)
        self.reads(Async, forgotten_async.sync_engine)
        self.reads(OfClassData, forgotten)

    def test_that_another_error_is_raised_from(self) -> None:
        class Translating(DatabaseTestCase):
            metadata = Base.metadata

            def test(self) -> None:
                try:
                    register()
                except Exception as error:
                    raise LookupError("nobody there") from error

        self.reads(Translating, forgotten)

    def test_that_lack_a_table(self) -> None:
        engine = create_engine("sqlite://")
        self.addCleanup(engine.dispose)

        class Lacking(DatabaseTestCase):
            metadata = Base.metadata

            def test(self) -> None:
                with engine.connect() as connection:
                    connection.execute(text("SELECT 1 FROM users"))

        self.reads(Lacking, engine)

    def test_it_is_not_said_of_others(self) -> None:
        class Redirected(DatabaseTestCase):
            metadata = Base.metadata
            engines = forgotten

            def test_error_of_the_database(self) -> None:
                with forgotten.connect() as connection:
                    connection.execute(text("SELECT 1 FROM nothing"))

            def test_error_of_the_test(self) -> None:
                self.assertRaises(ZeroDivisionError, self.session.scalars, text("no SQL"))

        class Unreachable(DatabaseTestCase):
            database = "postgresql://127.0.0.1:1/nothing"

            def test(self) -> None: ...

        result = inner.run(Redirected, Unreachable)
        self.assertEqual(len(result.errors), 3)
        for _, said in result.errors:
            self.assertNotIn("redirected", said)


class DatabasesWithoutTables(unittest.TestCase):
    def said(self, **options: Any) -> str:
        class Reading(DatabaseTestCase):
            def test(self) -> None:
                self.session.query(User).all()

        return inner.only_error(self, inner.run(type("Reading", (Reading,), options)))

    def test_without_metadata(self) -> None:
        urls = ["sqlite://", *filter(None, (POSTGRESQL, MYSQL))]
        for url in urls:
            with self.subTest(url):
                self.assertIn(
                    "\nReading: the database has no tables, because it has neither metadata nor "
                    "migrations.\n  To fix this, write for example metadata = Base.metadata",
                    self.said(database=url),
                )

    def test_with_metadata_that_is_empty(self) -> None:
        message = "the database has no tables, because its metadata is empty."
        self.assertIn(message, self.said(metadata=MetaData()))
        options = {"default": {"database": "sqlite://", "metadata": MetaData()}}
        self.assertIn(f'\ndatabases["default"]: {message}', self.said(databases=options))

    def test_it_is_not_said_where_tables_are_made_in_another_way(self) -> None:
        def make(cls: Any, connection: Connection) -> None:
            connection.execute(text("CREATE TABLE members (id INTEGER)"))

        said = self.said(setUpDatabase=classmethod(make))
        self.assertIn("users", said)
        self.assertNotIn("the database has no tables", said)
