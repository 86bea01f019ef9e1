"""Each assertion where it passes, where it fails, and what a person reads then."""

from __future__ import annotations

import unittest
from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase, UsageError

from . import inner
from .models import Base, Post, User


class Rows(DatabaseTestCase):
    metadata = Base.metadata

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        cls.alice = User(name="alice", age=30, posts=[Post(title="one")])
        session.add_all([cls.alice, User(name="bob")])

    def fails(self, message: str, assertion: Any, *args: Any, **kwargs: Any) -> None:
        with self.assertRaises(AssertionError) as raised:
            assertion(*args, **kwargs)
        self.assertEqual(str(raised.exception), message)

    def test_has(self) -> None:
        self.assertDatabaseHas(User)
        self.assertDatabaseHas(User, name="alice", age=30)
        self.assertDatabaseHas(User.__table__, name="alice")
        self.assertDatabaseHas("users", name="alice")
        self.assertDatabaseHas(User, User.age > 20, name="alice")
        self.assertDatabaseHas(User, name="bob", age=None)
        self.assertDatabaseHas(Post, author=self.alice)
        self.fails(
            "No row with name = 'carl' and age = 3 in users, which has 2 rows; the nearest:\n"
            "    id=1, name='alice' (not 'carl'), age=30 (not 3)\n"
            "    id=2, name='bob' (not 'carl'), age=None (not 3)",
            self.assertDatabaseHas,
            User,
            name="carl",
            age=3,
        )
        self.fails(
            "No row with users.age > 40 in users, which has 2 rows; the nearest:\n"
            "    id=1, name='alice', age=30, not users.age > 40\n"
            "    id=2, name='bob', age=None, not users.age > 40",
            self.assertDatabaseHas,
            User,
            User.age > 40,
        )

    def test_has_in_an_empty_table(self) -> None:
        self.session.delete(self.alice.posts[0])
        self.session.commit()
        self.fails("No row in posts, which is empty", self.assertDatabaseHas, Post)

    def test_missing(self) -> None:
        self.assertDatabaseMissing(User, name="carl")
        self.fails(
            "1 row with name = 'bob' in users, expected none:\n    id=2, name='bob', age=None",
            self.assertDatabaseMissing,
            User,
            name="bob",
        )

    def test_count(self) -> None:
        self.assertDatabaseCount(User, 2)
        self.assertDatabaseCount("users", 1, age=30)
        self.assertDatabaseCount(User, 0, User.age > 40)
        self.fails(
            "2 rows in users, expected 3:\n"
            "    id=1, name='alice', age=30\n"
            "    id=2, name='bob', age=None",
            self.assertDatabaseCount,
            User,
            3,
        )
        self.fails(
            "0 rows with age = 1 in users, expected 1; the nearest others:\n"
            "    id=1, name='alice', age=30 (not 1)\n"
            "    id=2, name='bob', age=None (not 1)",
            self.assertDatabaseCount,
            User,
            1,
            age=1,
        )

    def test_empty(self) -> None:
        self.assertDatabaseEmpty(exclude=[User, "posts"])
        self.fails(
            "The database is not empty:\n"
            "  users: 2 rows\n"
            "    id=1, name='alice', age=30\n"
            "    id=2, name='bob', age=None",
            self.assertDatabaseEmpty,
            exclude=[Post.__table__],
        )
        self.assertIn("users: 2 rows", self.message_of(self.assertDatabaseEmpty, User))
        self.session.delete(self.alice.posts[0])
        self.session.commit()
        self.assertDatabaseEmpty(Post)

    def test_stale_objects_do_not_count(self) -> None:
        self.alice.name = "changed, not flushed"
        self.assertDatabaseHas(User, name="alice")
        self.session.add(User(name="carl"))
        self.fails(
            "No row with name = 'carl' in users, which has 2 rows; the nearest:\n"
            "    id=1, name='alice' (not 'carl'), age=30\n"
            "    id=2, name='bob' (not 'carl'), age=None\n"
            "  self.session has unflushed changes (User): flush or commit it first",
            self.assertDatabaseHas,
            User,
            name="carl",
        )
        self.assertIn("unflushed changes", self.message_of(self.assertDatabaseCount, User, 3))

    def message_of(self, assertion: Any, *args: Any) -> str:
        with self.assertRaises(AssertionError) as raised:
            assertion(*args)
        return str(raised.exception)

    def test_long_things_are_cut_and_say_so(self) -> None:
        self.session.add_all(User(name=f"{number:03}" * 50) for number in range(20))
        self.session.commit()
        lines = self.message_of(self.assertDatabaseCount, User, 0).splitlines()
        self.assertEqual(len(lines), 12)
        self.assertEqual(lines[-1], "    … and 12 more rows")
        self.assertTrue(all(len(line) < 120 for line in lines))
        self.assertIn("'000000000000000000000…"[-5:], lines[3])

    def test_wrong_use(self) -> None:
        wrong: list[tuple[str, Any, dict[str, Any]]] = [
            ("users has no column 'nmae'; did you mean 'name'?", User, {"nmae": "x"}),
            ("users has no column 'nmae'; did you mean 'name'?", "users", {"nmae": "x"}),
            ("users has no column 'zzz'; it has id, name, age", "users", {"zzz": "x"}),
            ("there is no table 'user'; did you mean 'users'?", "user", {}),
            ("there is no table 'zzz'; there are: posts, tags, users", "zzz", {}),
            ("is neither a mapped class, nor a Table, nor the name of a table", int, {}),
            ("write User and the values of its columns", self.alice, {}),
        ]
        for message, target, values in wrong:
            for assertion in (self.assertDatabaseHas, self.assertDatabaseMissing):
                with self.subTest(message), self.assertRaises(UsageError) as raised:
                    assertion(target, **values)
                self.assertIn(message, str(raised.exception))

    def test_model_whose_table_is_not_there(self) -> None:
        class Elsewhere(DeclarativeBase):
            pass

        class Missing(Elsewhere):
            __tablename__ = "missing"
            id: Mapped[int] = mapped_column(primary_key=True)

        with self.assertRaises(UsageError) as raised:
            self.assertDatabaseCount(Missing, 0)
        self.assertEqual(
            str(raised.exception),
            "there is no table 'missing' in the database; it has: posts, tags, users\n"
            "  Is it part of the option metadata?",
        )

    def test_conditions_that_are_none(self) -> None:
        with self.assertRaisesRegex(UsageError, "{'age': 30} is not an SQL expression"):
            self.assertDatabaseHas(User, {"age": 30})  # type: ignore[arg-type]

    def test_related_objects_are_named(self) -> None:
        self.assertIn(
            "with author = <User 1> in posts", self.message_of(self.author_missing, self.alice)
        )

    def author_missing(self, author: User) -> None:
        self.assertDatabaseMissing(Post, author=author)

    def test_tables_that_only_the_database_knows(self) -> None:
        self.connection.exec_driver_sql("CREATE TABLE extra (word TEXT)")
        self.connection.exec_driver_sql("INSERT INTO extra VALUES ('x')")
        self.assertDatabaseHas("extra", word="x")


class Queries(DatabaseTestCase):
    metadata = Base.metadata

    def test_passes(self) -> None:
        with self.assertNumQueries(0):
            pass
        with self.assertNumQueries(2) as statements:
            self.session.add(User(name="alice"))
            self.session.commit()
            self.session.scalars(select(User)).all()
        self.assertIn("INSERT INTO users", statements[0].sql)

    def test_fails_with_the_statements(self) -> None:
        with self.assertRaises(AssertionError) as raised, self.assertNumQueries(1):
            self.session.add(User(name="alice"))
            self.session.commit()
            self.session.scalars(select(User.id)).all()
        self.assertRegex(
            str(raised.exception),
            r"^2 queries executed, 1 expected:\n"
            r"  1. INSERT INTO users \(name, age\) VALUES \(\?, \?\)\n"
            r"       \('alice', None\), \d+\.\d ms, 1 row, tests/test_assertions.py:\d+\n"
            r"  2. SELECT users.id FROM users\n"
            r"       \d+\.\d ms, tests/test_assertions.py:\d+$",
        )
        with self.assertRaises(AssertionError) as raised, self.assertNumQueries(1):
            pass
        self.assertEqual(str(raised.exception), "0 queries executed, 1 expected")

    def test_an_error_inside_is_not_hidden(self) -> None:
        with self.assertRaises(ZeroDivisionError), self.assertNumQueries(5):
            raise ZeroDivisionError

    def test_executemany_counts_once_and_assertions_do_not(self) -> None:
        with self.assertNumQueries(1):
            self.connection.execute(User.__table__.insert(), [{"name": "a"}, {"name": "b"}])
            self.assertDatabaseCount(User, 2)

    def test_own_savepoints_do_not_count(self) -> None:
        with self.assertNumQueries(1):
            self.session.add(User(name="alice"))
            self.session.commit()


class InAsyncTests(unittest.TestCase):
    def test_each_passes_and_fails(self) -> None:
        class Rows(AsyncDatabaseTestCase):
            metadata = Base.metadata

            async def test(self) -> None:
                await self.assertDatabaseEmpty()
                with self.assertNumQueries(1):
                    self.session.add(User(name="alice"))
                    await self.session.commit()
                await self.assertDatabaseHas(User, name="alice")
                await self.assertDatabaseMissing(User, name="bob")
                await self.assertDatabaseCount(User, 1)

            async def test_failures(self) -> None:
                with self.assertRaisesRegex(AssertionError, "posts, which is empty"):
                    await self.assertDatabaseHas(Post)
                with self.assertRaisesRegex(AssertionError, "0 rows in users, expected 1"):
                    await self.assertDatabaseCount(User, 1)
                self.session.add(User(name="alice"))
                await self.session.flush()
                with self.assertRaisesRegex(AssertionError, "1 row in users, expected none"):
                    await self.assertDatabaseMissing(User)
                with self.assertRaisesRegex(AssertionError, "not empty:\n  users: 1 row"):
                    await self.assertDatabaseEmpty()
                with (
                    self.assertRaisesRegex(AssertionError, "1 query executed, 0 expected"),
                    self.assertNumQueries(0),
                ):
                    await self.session.scalars(select(User))
                with self.assertRaisesRegex(UsageError, "did you mean 'name'"):
                    await self.assertDatabaseHas(User, nmae="alice")

        inner.passed(self, inner.run(Rows), 2)


many = MetaData()
for number in range(25):
    Table(f"many_{number:02}", many, *(Column(f"c{n}", Integer) for n in range(30)))


class ManyTables(DatabaseTestCase):
    metadata = many

    def fill(self) -> None:
        with self.engine.begin() as connection:
            for table in many.sorted_tables:
                connection.execute(insert(table).values(c0=1))

    def test_not_empty(self) -> None:
        self.fill()
        with self.assertRaises(AssertionError) as raised:
            self.assertDatabaseEmpty()
        lines = [line for line in str(raised.exception).splitlines() if line[:3] != "   "]
        self.assertEqual(lines[0], "The database is not empty:")
        self.assertEqual(lines[-2:], ["  many_19: 1 row", "  … and 5 more"])

    def test_changes(self) -> None:
        with self.assertRaises(AssertionError) as raised, self.assertDatabaseChanges({}):
            self.fill()
        lines = [line for line in str(raised.exception).splitlines() if line[:3] != "   "]
        self.assertEqual(
            lines[-2:], ["  many_19: 1 inserted, expected no change", "  … and 5 more"]
        )
        expected = dict.fromkeys(many.sorted_tables, 1)
        with self.assertRaises(AssertionError) as raised, self.assertDatabaseChanges(expected):
            self.fill()
            with self.engine.begin() as connection:
                connection.execute(insert(many.tables["many_00"]).values(c0=2))
        self.assertRegex(str(raised.exception), r"as expected: many_01, .*, many_20, … and 4 more$")

    def test_names(self) -> None:
        for target, values, end in [
            ("zzz", {}, "many_18, many_19, … and 5 more"),
            ("many_00", {"zzz": 1}, "c18, c19, … and 10 more"),
            (Table("zzz", MetaData()), {}, "many_19, … and 5 more\n  Is it part of the option"),
        ]:
            with self.assertRaises(UsageError) as raised:
                self.assertDatabaseHas(target, **values)
            self.assertIn(end, str(raised.exception))

    def test_plan(self) -> None:
        self.session.execute(text("CREATE INDEX ix_unused ON many_01 (c0)"))
        query = " UNION ALL ".join(["SELECT 1 FROM many_00"] * 70)
        with self.assertRaises(AssertionError) as raised:
            self.assertIndexUsed("ix_unused", query)
        lines = str(raised.exception).splitlines()
        self.assertEqual(len(lines), 53)
        self.assertRegex(lines[-2], r"^    … and \d+ more$")
