"""Telling what became of tables."""

from __future__ import annotations

import unittest
from unittest import mock

from sqlalchemy import Column, Connection, Integer, MetaData, Table, create_engine

from dbtestcase import DatabaseTestCase
from dbtestcase.observation import Observation, changes, observe

from .servers import POSTGRESQL, needs_postgresql


class Changes(unittest.TestCase):
    def setUp(self) -> None:
        engine = create_engine("sqlite://")
        self.addCleanup(engine.dispose)
        self.connection: Connection = self.enterContext(engine.connect())
        self.execute(
            "CREATE TABLE users (id INTEGER, tenant INTEGER, name TEXT, PRIMARY KEY (id, tenant))",
            "INSERT INTO users VALUES (1, 1, 'alice'), (1, 2, 'bob'), (2, 1, 'carl')",
            'CREATE TABLE "odd name" (word TEXT)',
            "INSERT INTO \"odd name\" VALUES ('x'), ('x'), ('y')",
        )
        self.before = self.observe()

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self.connection.exec_driver_sql(statement)

    def observe(self) -> Observation:
        return observe(self.connection, [])

    def changed(self, *statements: str) -> list[str]:
        self.execute(*statements)
        return changes(self.before, self.observe())

    def test_nothing(self) -> None:
        self.assertEqual(self.changed(), [])
        self.assertEqual(self.changed("UPDATE users SET name = name"), [])

    def test_rows_with_a_key(self) -> None:
        self.assertEqual(
            self.changed(
                "INSERT INTO users VALUES (3, 1, 'dora'), (3, 2, 'dora')",
                "UPDATE users SET name = 'x' WHERE id = 1",
                "DELETE FROM users WHERE id = 2",
            ),
            ["users: 2 inserted, 2 updated, 1 deleted"],
        )

    def test_rows_without_a_key(self) -> None:
        self.assertEqual(
            self.changed(
                "INSERT INTO \"odd name\" VALUES ('x')", "DELETE FROM \"odd name\" WHERE word = 'y'"
            ),
            ["odd name: 1 inserted, 1 deleted"],
        )

    def test_tables(self) -> None:
        self.assertEqual(
            self.changed("DROP TABLE users", "CREATE TABLE new AS SELECT 1 AS one"),
            ["new: created, 1 row", "users: dropped"],
        )

    def test_columns(self) -> None:
        self.assertEqual(
            self.changed(
                "ALTER TABLE users ADD COLUMN age INTEGER DEFAULT 3",
                'ALTER TABLE "odd name" RENAME COLUMN word TO text',
            ),
            [
                "odd name: column text added, column word dropped",
                "users: column age added",
            ],
        )

    def test_rows_of_a_table_that_has_other_columns(self) -> None:
        self.assertEqual(
            self.changed(
                "ALTER TABLE users DROP COLUMN name",
                "DELETE FROM users WHERE id = 2",
                'ALTER TABLE "odd name" ADD COLUMN age INTEGER',
                "INSERT INTO \"odd name\" VALUES ('x', 1)",
            ),
            ["odd name: column age added, 1 inserted", "users: column name dropped, 1 deleted"],
        )

    def test_primary_key_that_is_renamed(self) -> None:
        self.assertEqual(
            self.changed("ALTER TABLE users RENAME COLUMN tenant TO owner"),
            ["users: column owner added, column tenant dropped"],
        )

    def test_many_rows_are_only_counted(self) -> None:
        self.assertEqual(
            self.changed(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
                "INSERT INTO users SELECT i + 100, 1, 'x' FROM n"
            ),
            ["users: 5,000 more, of too many to compare them"],
        )
        self.before = self.observe()
        self.assertEqual(self.changed("UPDATE users SET name = 'z'"), [])
        with mock.patch("dbtestcase.observation._COMPARED_IN_ALL", 2):
            self.assertIsNone(self.observe()["odd name"].rows)
        self.assertEqual(
            self.changed("DELETE FROM users WHERE id > 200"),
            ["users: 4,900 fewer, of too many to compare them"],
        )


@needs_postgresql
class DefaultSchemaByName(DatabaseTestCase):
    database = POSTGRESQL
    metadata = MetaData(schema="public")
    users = Table("users", metadata, Column("id", Integer, primary_key=True))

    def test_each_table_is_observed_once(self) -> None:
        with self.engine.connect() as connection:
            before = observe(connection, self.metadata.tables.values())
            self.assertEqual(list(before), ["users"])
            connection.execute(self.users.insert().values(id=1))
            after = observe(connection, self.metadata.tables.values())
        self.assertEqual(changes(before, after), ["users: 1 inserted"])

    def test_assertions_know_it_by_its_name(self) -> None:
        with self.assertDatabaseChanges({self.users: 1}), self.engine.begin() as connection:
            connection.execute(self.users.insert().values(id=1))
        self.assertDatabaseEmpty(exclude=[self.users])
        with self.assertRaisesRegex(AssertionError, "not empty:\n  users: 1 row"):
            self.assertDatabaseEmpty()
