"""What a test sets on the connection that all of its connections share on SQLite."""

from __future__ import annotations

import sqlite3
import unittest
from typing import Any

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase

from . import inner
from .models import Base, User


class Largest:
    def __init__(self) -> None:
        self.value = 0

    def step(self, value: int) -> None:
        self.value = max(self.value, value)

    def finalize(self) -> int:
        return self.value


class LeftoversOfTests(unittest.TestCase):
    def passes(self, change: Any, *, class_data: bool = False) -> list[Any]:
        """Run a test that does ``change`` to a raw connection, and one that finds nothing of it."""
        real: list[Any] = []

        class Case(DatabaseTestCase):
            database = "sqlite://"
            metadata = Base.metadata

            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                if class_data:
                    session.execute(insert(User).values(name="alice"))

            def raw(self) -> Any:
                raw = self.connection.connection.driver_connection
                real.append(raw.sandbox.link.connection)
                return raw

            def check(self) -> None:
                raw = self.raw()
                for name, value in (("recursive_triggers", 0), ("cache_size", -2000)):
                    found = raw.execute(f"PRAGMA {name}").fetchone()
                    self.assertEqual(found, (value,))
                self.assertEqual(raw.execute("SELECT 'A' LIKE 'a'").fetchone(), (1,))
                self.assertEqual(raw.execute("SELECT lower('A')").fetchone(), ("a",))
                attached = [row[1] for row in raw.execute("PRAGMA database_list").fetchall()]
                self.assertEqual(set(attached) - {"temp"}, {"main"})
                for call in ("mine(1)", "max_of(1)", "'a' < 'b' COLLATE mine"):
                    with self.assertRaisesRegex(sqlite3.OperationalError, "no such"):
                        raw.execute(f"SELECT {call}")
                self.assertDatabaseCount(User, int(class_data))

            def test_1_starts_clean(self) -> None:
                self.check()

            def test_2_changes(self) -> None:
                change(self.raw())

            def test_3_starts_clean(self) -> None:
                self.check()

            def test_4_changes_again(self) -> None:
                change(self.raw())

        inner.passed(self, inner.run(Case), 4)
        return real

    def test_pragmas(self) -> None:
        def change(raw: Any) -> None:
            for pragma in ("recursive_triggers = ON", "cache_size(77)", "case_sensitive_like = 1"):
                raw.execute(f"PRAGMA {pragma}")
            assert raw.execute("PRAGMA cache_size").fetchone() == (77,)

        real = self.passes(change)
        self.assertEqual(len(set(real)), 1)
        self.passes(change, class_data=True)

    def test_attached(self) -> None:
        def change(raw: Any) -> None:
            raw.execute("ATTACH ':memory:' AS other")
            raw.execute("CREATE TABLE other.things (id INTEGER)")
            raw.execute("INSERT INTO other.things VALUES (1)")

        real = self.passes(change)
        self.assertEqual(len(set(real)), 1)
        self.passes(change, class_data=True)

    def test_functions(self) -> None:
        def change(raw: Any) -> None:
            raw.create_function("mine", 1, lambda value: value + 1)
            raw.create_function("lower", 1, lambda value: "mine")
            raw.create_collation("mine", lambda a, b: 0)
            raw.create_aggregate("max_of", 1, Largest)
            assert raw.execute("SELECT mine(1), lower('A')").fetchone() == (2, "mine")

        self.passes(change)
        self.passes(change, class_data=True)

    def test_functions_while_a_cursor_is_read(self) -> None:
        cursors = []

        def change(raw: Any) -> None:
            raw.create_function("mine", 1, lambda value: value + 1)
            cursors.append(raw.execute("SELECT mine(1) UNION ALL SELECT 2"))

        self.passes(change)

    def test_hooks(self) -> None:
        called = []

        def change(raw: Any) -> None:
            called.clear()
            raw.set_trace_callback(called.append)
            raw.set_authorizer(lambda *what: called.append(what) or 0)
            raw.set_progress_handler(lambda: called.append("progress"), 1)
            raw.execute("SELECT 1")

        real = self.passes(change)
        self.assertTrue(called)
        called.clear()
        real[-1].execute("SELECT 1").close()
        self.assertEqual(called, [])

    def test_async(self) -> None:
        class Case(AsyncDatabaseTestCase):
            database = "sqlite://"
            metadata = Base.metadata

            async def change(self) -> None:
                found = await self.session.scalar(text("PRAGMA recursive_triggers"))
                self.assertEqual(found, 0)
                await self.session.execute(text("PRAGMA recursive_triggers = ON"))
                await self.session.execute(text("ATTACH ':memory:' AS other"))

            test_1 = test_2 = change

        inner.passed(self, inner.run(Case), 2)
