"""Schemas from migrations, and tests of migrations, on every backend and in both colours."""

from __future__ import annotations

import atexit
import os
import re
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, insert, inspect, select, text

from dbtestcase import (
    AsyncDatabaseTestCase,
    AsyncMigrationTestCase,
    DatabaseTestCase,
    MigrationTestCase,
    UsageError,
    isolation,
)
from dbtestcase.backends import backend_for

from .. import inner
from ..histories import History, digest_of_package, library, write_library

_DIRECTORY = TemporaryDirectory()
atexit.register(_DIRECTORY.cleanup)
HISTORIES = {name: History(Path(_DIRECTORY.name, name), name) for name in ("generic", "async")}
for _history in HISTORIES.values():
    write_library(_history)
    with _history.env_py.open("a") as _env:
        _env.write(f"# {digest_of_package()}\n")  # what another version has built proves nothing
SYNC_ENV = HISTORIES["generic"].ini
ASYNC_ENV = HISTORIES["async"].ini

BACKEND = backend_for(os.environ.get("DBTESTCASE_DATABASE") or "sqlite://")
ISOLATIONS = BACKEND.features.isolations

authors = library.tables["authors"]


class Schema(DatabaseTestCase):
    """The schema of a class, by an env.py as ``alembic init`` writes it."""

    migrations: Any = SYNC_ENV
    metadata = library

    @classmethod
    def setUpTestData(cls, session: Any) -> None:
        session.execute(insert(authors).values(first_name="Ann"))

    def add(self) -> None:
        self.connection.execute(insert(authors).values(first_name="Bob"))
        self.connection.commit()
        self.assertDatabaseCount("authors", 2)

    test_one = test_other = add

    def test_is_that_of_the_migrations(self) -> None:
        self.assertDatabaseHas("alembic_version", version_num="c1")
        self.assertSchemaMatchesModels()


class SchemaOfAsyncEnvironment(Schema):
    migrations = ASYNC_ENV


class SchemaInEveryIsolation(Schema):
    if "truncation" in ISOLATIONS:
        test_truncation = test_truncation_again = isolation("truncation")(Schema.add)
    if "template" in ISOLATIONS:

        @isolation("template")
        def test_template(self) -> None:
            self.add()
            self.assertSchemaMatchesModels()


class SchemaOfScriptDirectory(Schema):
    migrations = str(ASYNC_ENV.parent / "scripts")


class AsyncSchema(AsyncDatabaseTestCase):
    migrations: Any = SYNC_ENV
    metadata = library

    @classmethod
    async def asyncSetUpTestData(cls, session: Any) -> None:
        await session.execute(insert(authors).values(first_name="Ann"))

    async def add(self) -> None:
        await self.connection.execute(insert(authors).values(first_name="Bob"))
        await self.connection.commit()
        await self.assertDatabaseCount("authors", 2)

    test_one = test_other = add

    async def test_is_that_of_the_migrations(self) -> None:
        await self.assertDatabaseHas("alembic_version", version_num="c1")
        await self.assertSchemaMatchesModels()

    if "truncation" in ISOLATIONS:

        @isolation("truncation")
        async def test_truncation(self) -> None:
            await self.add()
            await self.assertSchemaMatchesModels()


class AsyncSchemaOfAsyncEnvironment(AsyncSchema):
    migrations = ASYNC_ENV


if "schema" in ISOLATIONS:

    class SchemaInSchema(Schema):
        isolation = "schema"


class Migrations(MigrationTestCase):
    migrations: Any = SYNC_ENV
    metadata = library

    def test_splitting_names(self) -> None:
        self.migrate_to("b1")
        self.connection.execute(self.table("authors").insert().values(name="Ann Lee"))
        self.connection.execute(self.table("books").insert().values(title="x", author_id=1))
        self.migrate_to("head")
        self.assertDatabaseHas("authors", first_name="Ann", last_name="Lee")
        self.assertDatabaseCount("books", 1)
        self.migrate_to("a1")
        self.assertEqual(list(self.table("authors").c.keys()), ["id", "name"])

    test_begins_anew = test_splitting_names

    def test_table_that_is_not_there(self) -> None:
        self.migrate_to("a1")
        with self.assertRaises(UsageError) as raised:
            self.table("author")
        self.assertEqual(
            str(raised.exception), "there is no table 'author'; did you mean 'authors'?"
        )

    def test_with_a_session(self) -> None:
        self.migrate_to("a1")
        self.session.execute(text("INSERT INTO authors (name) VALUES ('Bob')"))
        self.migrate_to("b2")
        self.assertEqual(self.session.scalars(select(authors.c.first_name)).all(), ["Bob"])

    def test_relative_revisions(self) -> None:
        self.migrate_to("+1")
        self.assertEqual(self.tables(), {"authors"})
        self.migrate_to("b1")
        self.assertEqual(self.tables(), {"authors", "books"})
        self.migrate_to("-1")
        self.assertEqual(self.tables(), {"authors"})
        self.migrate_to("base")
        self.assertEqual(self.tables(), set())

    def test_more_steps_than_there_are(self) -> None:
        self.migrate_to("a1")
        with self.assertRaisesRegex(UsageError, "-5 didn't produce 5 migrations"):
            self.migrate_to("-5")

    def tables(self) -> set[str]:
        with self.engine.connect() as connection:
            return {*inspect(connection).get_table_names()} - {"alembic_version"}

    def test_starts_empty(self) -> None:
        self.assertEqual(self.tables(), set())


class MigrationsByAsyncEnvironment(Migrations):
    migrations = ASYNC_ENV


class AsyncMigrations(AsyncMigrationTestCase):
    migrations: Any = SYNC_ENV
    metadata = library

    async def test_splitting_names(self) -> None:
        await self.migrate_to("b1")
        table = await self.table("authors")
        await self.connection.execute(table.insert().values(name="Ann Lee"))
        await self.migrate_to("head")
        await self.assertDatabaseHas("authors", first_name="Ann", last_name="Lee")
        await self.assertSchemaMatchesModels()
        await self.migrate_to("a1")
        rows = await self.connection.execute(select(await self.table("authors")))
        self.assertEqual(rows.all(), [(1, "Ann")])

    test_begins_anew = test_splitting_names

    async def test_with_a_session(self) -> None:
        await self.migrate_to("a1")
        await self.session.execute(text("INSERT INTO authors (name) VALUES ('Bob')"))
        await self.migrate_to("b2")
        self.assertEqual((await self.session.scalars(select(authors.c.first_name))).all(), ["Bob"])

    async def test_without_migrating(self) -> None:
        """After one that has migrated: the connection leads to an empty database again."""
        names = await self.connection.run_sync(lambda one: inspect(one).get_table_names())
        self.assertEqual(names, [])


class AsyncMigrationsByAsyncEnvironment(AsyncMigrations):
    migrations = ASYNC_ENV


class Differences(unittest.TestCase):
    """A schema that is not as the models say, in both colours."""

    models = MetaData()
    Table(
        "authors",
        models,
        Column("id", Integer, primary_key=True),
        Column("first_name", String(70), nullable=False),
        Column("last_name", String(50), nullable=False, server_default="unknown"),
        Column("born", Integer),
    )

    def check(self, message: str) -> None:
        for line in (
            "The schema is not what the models say. A revision that makes it so:",
            "    op.add_column('authors', sa.Column('born', sa.Integer(), nullable=True))",
            "type_=sa.String(length=70)",
            "server_default='unknown'",
            "    op.drop_table('books')",
        ):
            self.assertIn(line, message)

    def test_sync(self) -> None:
        class Case(DatabaseTestCase):
            migrations = SYNC_ENV
            metadata = self.models

            def test(self) -> None:
                self.assertSchemaMatchesModels()

        self.check(inner.only_error(self, inner.run(Case)))

    def test_async(self) -> None:
        class Case(AsyncDatabaseTestCase):
            migrations = ASYNC_ENV
            metadata = self.models

            async def test(self) -> None:
                await self.assertSchemaMatchesModels()

        self.check(inner.only_error(self, inner.run(Case)))

    def test_exclusions(self) -> None:
        class Case(DatabaseTestCase):
            migrations = SYNC_ENV
            metadata = self.models

            def test(self) -> None:
                self.assertSchemaMatchesModels(exclude=["books", "authors.*"])

        inner.passed(self, inner.run(Case), 1)

    def test_exclusions_that_are_misspelt(self) -> None:
        class Case(DatabaseTestCase):
            metadata = library

            def test(self) -> None:
                self.assertSchemaMatchesModels(exclude=["spatial_ref_sys", "books", "nothing_*"])
                for wrong, message in (
                    ("boks", "exclude has 'boks'; did you mean 'books'?"),
                    (
                        "authors.fist_name",
                        "has 'authors.fist_name'; did you mean 'authors.first_name'?",
                    ),
                    (5, '5 is no pattern of names; write for example "legacy_*"'),
                ):
                    with self.assertRaisesRegex(UsageError, re.escape(message)):
                        self.assertSchemaMatchesModels(exclude=[wrong])  # type: ignore[list-item]

        inner.passed(self, inner.run(Case), 1)

    def test_without_migrations(self) -> None:
        class Case(DatabaseTestCase):
            metadata = library

            def test(self) -> None:
                self.assertSchemaMatchesModels()

        class AsyncCase(AsyncDatabaseTestCase):
            metadata = library

            async def test(self) -> None:
                await self.assertSchemaMatchesModels()

        inner.passed(self, inner.run(Case, AsyncCase), 2)
