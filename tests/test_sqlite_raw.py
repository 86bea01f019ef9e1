"""The API of ``sqlite3``, as it is used on the connection beneath an engine."""

from __future__ import annotations

import sqlite3
import unittest
from typing import Any

import dbtestcase
from dbtestcase import DatabaseTestCase

from . import inner
from .models import Base, User


class RawConnections(unittest.TestCase):
    def passes(self, use: Any) -> None:
        """Do ``use`` with a raw connection, under the isolation with stand-ins and one without."""

        class Case(DatabaseTestCase):
            database = "sqlite://"
            metadata = Base.metadata

            def check(self) -> None:
                connection = self.engine.raw_connection()
                raw: Any = connection.driver_connection
                raw.execute("INSERT INTO users (name) VALUES ('alice'), ('bob')")
                raw.commit()
                use(self, raw)
                connection.close()

            def test_transaction(self) -> None:
                self.check()

            @dbtestcase.isolation("truncation")
            def test_truncation(self) -> None:
                self.check()

        inner.passed(self, inner.run(Case), 2)

    def test_next(self) -> None:
        def use(case: Any, raw: Any) -> None:
            cursor = raw.execute("SELECT name FROM users ORDER BY name")
            case.assertEqual(next(cursor), ("alice",))
            case.assertEqual(list(cursor), [("bob",)])
            with case.assertRaises(StopIteration):
                next(cursor)

        self.passes(use)

    def test_attributes_of_a_cursor_that_are_set(self) -> None:
        def use(case: Any, raw: Any) -> None:
            cursor = raw.cursor()
            cursor.arraysize = 2
            cursor.execute("SELECT name FROM users ORDER BY name")
            case.assertEqual(cursor.fetchmany(), [("alice",), ("bob",)])

        self.passes(use)

    def test_with_commits(self) -> None:
        def use(case: Any, raw: Any) -> None:
            with raw as same:
                same.execute("DELETE FROM users WHERE name = 'bob'")
            raw.rollback()
            case.assertDatabaseCount(User, 1)

        self.passes(use)

    def test_with_rolls_back_after_an_error(self) -> None:
        def use(case: Any, raw: Any) -> None:
            with case.assertRaises(ZeroDivisionError), raw:
                raw.execute("DELETE FROM users")
                raise ZeroDivisionError
            raw.commit()
            case.assertDatabaseCount(User, 2)

        self.passes(use)

    def test_row_factory(self) -> None:
        def use(case: Any, raw: Any) -> None:
            raw.row_factory = sqlite3.Row
            row = raw.execute("SELECT name FROM users ORDER BY name").fetchone()
            case.assertEqual(row["name"], "alice")
            cursor = raw.cursor()
            case.assertIs(cursor.row_factory, sqlite3.Row)
            cursor.row_factory = lambda _, values: values[0]
            case.assertEqual(list(cursor.execute("SELECT name FROM users")), ["alice", "bob"])
            with case.engine.connect() as other:
                found = other.exec_driver_sql("SELECT name FROM users ORDER BY name").all()
                case.assertEqual(found, [("alice",), ("bob",)])

        self.passes(use)
