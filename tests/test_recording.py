"""What is recorded of each statement, and how a list of statements reads."""

from __future__ import annotations

import asyncio
import re
import threading
import unittest
from typing import Any

from sqlalchemy import create_engine, event, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase, NotReadyError
from dbtestcase.code_digest import mentions
from dbtestcase.listing import listed
from dbtestcase.recording import Statement

from . import inner
from .models import Base, Post, User, app_async_engine, app_engine, register, register_async


def line_of(function: Any, offset: int) -> str:
    code = function.__code__
    return f"{code.co_filename}:{code.co_firstlineno + offset}"


def number_of_statements(test: DatabaseTestCase) -> int:
    return len(test.statements)


class Recorded(DatabaseTestCase):
    metadata = Base.metadata
    engines = [app_engine, app_async_engine]

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        cls.alice = User(name="alice")
        session.add(cls.alice)
        session.commit()
        session.add(Post(title="one", author=cls.alice))

    def test_nothing_of_the_class_and_of_other_tests(self) -> None:
        self.assertEqual(self.statements, [])
        register("bob")
        self.assertEqual(len(self.statements), 1)

    test_nothing_of_the_class_and_of_other_tests_again = (
        test_nothing_of_the_class_and_of_other_tests
    )

    def test_what_is_known_of_a_statement(self) -> None:
        self.session.execute(text("UPDATE users SET age = :age"), {"age": 3})
        [statement] = self.statements
        self.assertEqual(statement.sql, "UPDATE users SET age = ?")
        self.assertEqual(statement.parameters, (3,))
        self.assertEqual((statement.times, statement.bulk), (1, False))
        self.assertEqual(statement.rowcount, 1)
        self.assertEqual(statement.database, "default")
        self.assertEqual(statement.caller, line_of(Recorded.test_what_is_known_of_a_statement, 1))
        self.assertTrue(0 < (statement.duration or 0) < 10)

    def test_line_of_the_application(self) -> None:
        register("bob")
        [statement] = self.statements
        self.assertEqual(statement.caller, line_of(register, 4))

    def test_line_that_loads_an_attribute(self) -> None:
        user = self.session.scalars(select(User)).one()
        _ = user.posts
        self.assertRegex(self.statements[-1].sql, "FROM posts")
        self.assertEqual(
            self.statements[-1].caller, line_of(Recorded.test_line_that_loads_an_attribute, 2)
        )

    def test_in_a_thread(self) -> None:
        thread = threading.Thread(target=register, args=["bob"])
        thread.start()
        thread.join()
        [statement] = self.statements
        self.assertEqual(statement.caller, line_of(register, 4))

    def test_executemany(self) -> None:
        rows = [{"name": "a"}, {"name": "b"}]
        self.connection.execute(User.__table__.insert(), rows)
        [statement] = self.statements
        self.assertEqual((statement.times, statement.bulk, statement.rowcount), (2, True, 2))
        self.assertEqual(statement.parameters, [("a",), ("b",)])

    def test_insert_that_is_split(self) -> None:
        rows = [{"name": f"user{number}"} for number in range(2500)]
        self.session.scalars(insert(User).returning(User.id), rows).all()
        self.assertGreater(len(self.statements), 1)
        self.assertTrue(all(one.bulk for one in self.statements))
        with self.assertNoRepeatedQueries():
            self.session.scalars(
                insert(User).returning(User.id), [{"name": f"x{one['name']}"} for one in rows]
            ).all()

    def test_statement_that_fails(self) -> None:
        with self.assertRaises(IntegrityError):
            register("alice")
        [statement] = self.statements
        self.assertIsNone(statement.duration)
        self.assertEqual(statement.rowcount, -1)

    def test_savepoints_of_the_user_and_not_of_the_sandbox(self) -> None:
        with self.session.begin_nested():
            self.session.execute(text("SELECT 1"))
        register("bob")
        self.assertEqual(
            [one.sql.split()[0] for one in self.statements],
            ["SAVEPOINT", "SELECT", "RELEASE", "INSERT"],
        )

    def test_savepoints_may_be_repeated(self) -> None:
        with self.assertNoRepeatedQueries() as statements:
            for _ in range(2):
                with Session(app_engine) as session, session.begin_nested():
                    session.connection()
        self.assertEqual(len(statements), 4)

    def test_assertions_are_not_recorded(self) -> None:
        self.assertDatabaseCount(User, 1)
        self.assertEqual(self.statements, [])

    def test_a_function_that_looks(self) -> None:
        self.assertEqual(number_of_statements(self), 0)


class RecordedAsync(AsyncDatabaseTestCase):
    metadata = Base.metadata
    engines = [app_engine, app_async_engine]

    async def test_line_of_the_application(self) -> None:
        await register_async("bob")
        await asyncio.gather(register_async("carl"), register_async("dora"))
        self.assertEqual({one.caller for one in self.statements}, {line_of(register_async, 4)})
        self.assertEqual(len(self.statements), 3)

    async def test_line_beneath_run_sync(self) -> None:
        def load(session: Session) -> None:
            session.scalars(select(User)).all()

        await self.session.run_sync(load)
        [statement] = self.statements
        self.assertEqual(statement.caller, line_of(load, 1))

    async def test_in_a_thread(self) -> None:
        await asyncio.to_thread(register, "bob")
        [statement] = self.statements
        self.assertEqual(statement.caller, line_of(register, 4))


class WhoAsks(unittest.TestCase):
    def test_nothing_is_recorded_unless_the_class_asks(self) -> None:
        class Silent(DatabaseTestCase):
            metadata = Base.metadata

            def test(self) -> None:
                register_listeners = app_engine.dispatch.before_cursor_execute
                self.assertFalse(list(register_listeners))
                self.assertFalse(list(self.engine.dispatch.before_cursor_execute))
                with self.assertRaises(NotReadyError) as raised:
                    number_of_statements(self)
                self.assertIn("say it in one", str(raised.exception))
                self.assertIn("Silent: self.statements is not recorded", str(raised.exception))

        inner.passed(self, inner.run(Silent), 1)

    def test_recording_ends_with_the_test(self) -> None:
        class Case(DatabaseTestCase):
            metadata = Base.metadata
            engines = app_engine

            @classmethod
            def tearDownClass(cls) -> None:
                register("carl")
                super().tearDownClass()

            def test(self) -> None:
                register("bob")
                type(self).last = self.statements

        inner.passed(self, inner.run(Case), 1)
        self.assertEqual(len(Case.last), 1)  # type: ignore[attr-defined]

    def test_who_mentions_what(self) -> None:
        class Base:
            def helper(self) -> Any:
                return [lambda: self.one for _ in range(2)]  # type: ignore[attr-defined]

        class Case(Base):
            two = "three"

            @classmethod
            def method(cls) -> Any:
                return cls.two

            @property
            def five(self) -> Any:
                return self.six  # type: ignore[attr-defined]

        for name in ("one", "two", "six"):
            self.assertTrue(mentions(Case, name), name)
        for name in ("three", "four", "five", "method"):
            self.assertFalse(mentions(Case, name), name)

    def test_listeners_are_gone_after_the_class(self) -> None:
        class Asking(DatabaseTestCase):
            metadata = Base.metadata
            engines = app_engine

            def test(self) -> None:
                register("bob")
                self.assertEqual(len(self.statements), 1)

        inner.passed(self, inner.run(Asking), 1)
        self.assertFalse(list(app_engine.dispatch.before_cursor_execute))
        with self.assertRaises(OperationalError):
            register("bob")

    def test_engines_are_as_fast_as_before_after_what_listened(self) -> None:
        application = create_engine("sqlite://")
        self.addCleanup(application.dispose)
        heard: list[object] = []

        def hear(connection: object) -> None:
            heard.append(connection)

        class Case(DatabaseTestCase):
            metadata = Base.metadata
            engines = [application]

            def test_1(self) -> None:
                with self.assertNumQueries(1):
                    self.session.execute(text("SELECT 1"))
                if not isinstance(self, Asking):
                    self.assertIs(_has_listeners(self.engine), False)
                    self.assertIs(_has_listeners(application), False)

            def test_2(self) -> None:
                with self.assertNumQueries(1):
                    event.listen(application, "commit", hear)
                    self.session.execute(text("SELECT 1"))
                with application.begin() as connection:
                    connection.execute(text("SELECT 1"))
                event.remove(application, "commit", hear)
                self.assertTrue(heard)
                heard.clear()

        class Asking(Case):
            def test_3(self) -> None:
                self.assertEqual(self.statements, [])

        inner.passed(self, inner.run(Case, Asking), 5)
        self.assertIs(_has_listeners(application), False)


def _has_listeners(engine: Any) -> bool:
    """Tell whether SQLAlchemy believes that ``engine`` has listeners, and asks for them."""
    return engine._has_events  # type: ignore[no-any-return]


class Lists(unittest.TestCase):
    def lists(self, *statements: Statement) -> list[str]:
        return listed(statements).splitlines()

    def test_one(self) -> None:
        statement = Statement(
            "SELECT\n  1", (1,), "app.py:3", "default", duration=0.01234, rowcount=2
        )
        self.assertEqual(
            self.lists(statement), ["", "  1. SELECT 1", "       (1,), 12.3 ms, 2 rows, app.py:3"]
        )

    def test_details_that_are_unusual(self) -> None:
        self.assertEqual(
            self.lists(
                Statement("A", (), "app.py:3", "other"),
                Statement("B", [{"x": 1}, {"x": 2}], "app.py:4", "default", times=2, duration=1),
            ),
            [
                "",
                "  1. A",
                "       not completed, database 'other', app.py:3",
                "  2. B",
                "       2 sets of parameters from {'x': 1} on, 1000.0 ms, app.py:4",
            ],
        )

    def test_repeated_ones_are_together_and_cut(self) -> None:
        repeated = [Statement("B", (n,), f"app.py:{n}", "default", duration=0) for n in range(7)]
        first = Statement("A", (), "app.py:9", "default", duration=0)
        lines = self.lists(repeated[0], first, *repeated[1:])
        self.assertEqual(
            lines,
            [
                "",
                "  1. B",
                "       7 times:",
                "         1. (0,), 0.0 ms, app.py:0",
                "         3. (1,), 0.0 ms, app.py:1",
                "         4. (2,), 0.0 ms, app.py:2",
                "         5. (3,), 0.0 ms, app.py:3",
                "         6. (4,), 0.0 ms, app.py:4",
                "         … and 2 times more",
                "  2. A",
                "       0.0 ms, app.py:9",
            ],
        )

    def test_long_things_are_cut_and_say_so(self) -> None:
        sql = f"SELECT {'x' * 2000}"
        parameters = ("y" * 5000, b"z" * 5000, list(range(500)))
        lines = self.lists(Statement(sql, parameters, "app.py:1", "default", duration=0))
        self.assertTrue(lines[1].endswith("xxx… (2,007 characters)"), lines[1])
        self.assertLess(len(lines[1]), 850)
        self.assertLess(len(lines[2]), 400)
        self.assertEqual(len(re.findall("…", lines[2])), 3)

    def test_many_are_cut(self) -> None:
        many = [Statement(f"SELECT {n}", (), "app.py:1", "default") for n in range(80)]
        lines = self.lists(*many)
        self.assertEqual(len(lines), 1 + 50 * 2 + 1)
        self.assertEqual(lines[-1], "  … and 30 more statements, which are not shown")
