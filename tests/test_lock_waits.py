"""Locks that a statement waits for: whose they are, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
import secrets
import unittest
from contextlib import closing
from typing import Any
from unittest import mock

from sqlalchemy import make_url, select, text, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from dbtestcase.backends import backend_for, postgresql_in_place
from dbtestcase.backends.server import LOCK_WAIT, Target
from dbtestcase.exceptions import BackendError
from dbtestcase.provision import provisioner

from . import inner
from .models import User, app_async_engine
from .mysql import Cases, drop_what_is_kept, only_alice, query
from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql, postgresql_server
from .suite.behaviour import Async, Behaviour, Sync
from .test_postgres_server import MISSING

IMPATIENT = "SET LOCAL lock_timeout = '10ms'"

tearDownModule = drop_what_is_kept


def somebody(case: Any) -> Any:
    """Return a connection to the database of ``case`` which is none of the test's."""
    backend: Any = backend_for(case.database)
    database = case.own_session.scalar(text("SELECT current_database()"))
    case.own_session.rollback()
    return backend.open(Target(database), is_async=False)


def note_of(case: Any, *statements: str) -> str:
    """Return what is said of the last of ``statements``, which cannot have a lock."""
    with case.app_engine.connect() as connection:
        for statement in statements[:-1]:
            connection.exec_driver_sql(statement)
        with case.assertRaises(DBAPIError) as raised:
            connection.exec_driver_sql(statements[-1])
    [note] = raised.exception.__notes__
    return str(note)


@unittest.skipIf(MISSING, MISSING)
class OnPGServer(unittest.TestCase):
    @staticmethod
    def case(*tests: Any, colour: Any = Sync, **attributes: Any) -> Any:
        attributes = {"database": "pgserver://", "isolation": "truncation", **attributes}
        attributes |= {f"test_{number}": test for number, test in enumerate(tests)}
        return type("Case", (Behaviour, colour), attributes)

    def test_each_connection_has_the_limit_unless_it_sets_another(self) -> None:
        def test(self: Any) -> None:
            show = text("SHOW lock_timeout")
            with self.own_engine.connect() as connection:
                self.assertEqual(connection.scalar(show), f"{LOCK_WAIT}s")
                connection.execute(text("SET lock_timeout = '3s'"))
                connection.commit()
                self.assertEqual(connection.scalar(show), "3s")

        for colour, isolation in ((Sync, "truncation"), (Async, "transaction")):
            with self.subTest(isolation):
                case = self.case(test, test, colour=colour, isolation=isolation)
                inner.passed(self, inner.run(case), 2)

    def test_what_does_not_wait_is_not_explained(self) -> None:
        """A queue asks so for the next job, and expects to be refused."""

        def test(self: Any) -> None:
            self.own_session.execute(update(User).values(age=1))
            with self.own_engine.connect() as connection, self.assertRaises(DBAPIError) as raised:
                connection.exec_driver_sql("SELECT * FROM users FOR UPDATE NOWAIT")
            self.assertFalse(hasattr(raised.exception, "__notes__"))

        inner.passed(self, inner.run(self.case(test)), 1)

    def test_what_is_held(self) -> None:
        """Of those that are open, the one that has to be waited for, and no other."""

        def rows_that_a_foreign_key_needs(self: Any) -> None:
            self.own_session.scalars(select(User).with_for_update()).all()
            with self.own_engine.begin() as other:
                other.execute(text("INSERT INTO tags (word) VALUES ('new')"))
                add = "INSERT INTO posts (title, author_id) SELECT title, author_id FROM posts"
                note = note_of(self, IMPATIENT, add)
            self.assertIn("FROM users FOR UPDATE", note)
            self.assertNotIn("tags", note)

        def tables_that_are_read(self: Any) -> None:
            self.own_session.scalars(select(User)).all()
            with self.own_engine.begin() as other:
                other.execute(text("SELECT 1 FROM tags"))
                note = note_of(self, IMPATIENT, "LOCK TABLE users")
            self.assertIn("FROM users\n", note)
            self.assertNotIn("tags", note)

        def tables_that_are_locked(self: Any) -> None:
            self.own_session.execute(update(User).values(age=1))
            with self.own_engine.begin() as other:
                other.execute(text("LOCK TABLE users IN ROW EXCLUSIVE MODE"))
                other.execute(text("LOCK TABLE posts"))
                note = note_of(self, IMPATIENT, "SELECT title FROM posts")
            self.assertIn("LOCK TABLE posts", note)
            self.assertNotIn("UPDATE users", note)

        def advisory_locks(self: Any) -> None:
            self.own_session.execute(update(User).values(age=1))
            with self.own_engine.begin() as other:
                other.execute(text("SELECT pg_advisory_xact_lock(1)"))
                note = note_of(self, IMPATIENT, "SELECT pg_advisory_xact_lock(1)")
            self.assertEqual(note.count("opened at"), 1, note)
            self.assertNotIn("UPDATE users", note)

        tests = (
            rows_that_a_foreign_key_needs,
            tables_that_are_read,
            tables_that_are_locked,
            advisory_locks,
        )
        inner.passed(self, inner.run(self.case(*tests)), len(tests))

    def test_deadlock(self) -> None:
        async def go_on(session: Any, name: str) -> None:
            await session.execute(update(User).where(User.name == name).values(age=1))

        class Case(Behaviour, Async):
            database = "pgserver://"
            isolation = "truncation"

            async def test(self) -> None:
                sessions = [AsyncSession(app_async_engine) for _ in range(3)]
                async with sessions[0] as first, sessions[1] as second, sessions[2] as third:
                    first.add(User(name="bob"))
                    await first.commit()
                    for session, name in ((first, "alice"), (second, "bob")):
                        await session.execute(text("SET LOCAL deadlock_timeout = '10ms'"))
                        await go_on(session, name)
                    await third.execute(text("INSERT INTO tags (word) VALUES ('new')"))
                    both = (go_on(first, "bob"), go_on(second, "alice"))
                    results = await asyncio.gather(*both, return_exceptions=True)
                [error] = [one for one in results if isinstance(one, DBAPIError)]
                [note] = error.__notes__
                self.assertIn("deadlock detected", str(error))
                self.assertEqual(note.count("on the connection opened at"), 1, note)
                self.assertNotIn("tags", note)

        inner.passed(self, inner.run(Case), 1)

    def test_in_the_sandbox(self) -> None:
        def test(self: Any) -> None:
            other = somebody(self)
            self.addCleanup(other.close)
            other.cursor().execute("LOCK TABLE tags")
            self.own_session.add(User(name="bob"))
            self.own_session.flush()
            note = note_of(self, IMPATIENT, "SELECT word FROM tags")
            self.assertRegex(note, r"LOCK TABLE tags\n +on process \d+ \(.*\) of \w+\n")
            self.assertNotIn("INSERT INTO users", note)
            self.own_session.commit()
            self.assertEqual(self.names(), ["bob"])

        attributes = {
            "isolation": "transaction",
            "setUpTestData": classmethod(lambda cls, session: None),
        }
        for colour in (Sync, Async):
            with self.subTest(colour.__name__):
                case = self.case(test, test, colour=colour, **attributes)
                inner.passed(self, inner.run(case), 2)


@needs_postgresql
class InPlace(unittest.TestCase):
    def test_each_connection_has_the_limit(self) -> None:
        def test(self: Any) -> None:
            limit = self.own_session.scalar(text("SHOW lock_timeout"))
            self.assertEqual(limit, f"{LOCK_WAIT}s")

        url = make_url(POSTGRESQL).update_query_dict({"in_place": "on"})
        database = url.render_as_string(hide_password=False)
        for colour in (Sync, Async):
            with self.subTest(colour.__name__):
                attributes = {"database": database, "test": test}
                case: Any = type("Case", (Behaviour, colour), attributes)
                inner.passed(self, inner.run(case), 1)

    def test_a_schema_in_use_is_dropped_by_the_next_run(self) -> None:
        def build(connection: Connection) -> None:
            connection.exec_driver_sql("CREATE TABLE things (id integer)")

        url = make_url(POSTGRESQL).update_query_dict({"in_place": "on"})
        with mock.patch.object(postgresql_in_place, "LOCK_WAIT", 1):
            backend = postgresql_in_place.InPlaceBackend(url)
            self.addCleanup(backend.close)
            database: Any = backend.template("", build)
        other: Any = backend.open(database.target, is_async=False)
        with closing(other):
            other.cursor().execute("INSERT INTO things VALUES (1)")
            with self.assertRaises(BackendError) as raised:
                database.drop()
        [name] = database.target.schemas
        self.assertIn(f"The schema {name} in the database", str(raised.exception))
        self.assertIn("To fix this, end what is connected to it", str(raised.exception))
        backend.close()
        with postgresql_server() as connection:
            there = text("SELECT count(*) FROM pg_namespace WHERE nspname = :name")
            self.assertEqual(connection.scalar(there, {"name": name}), 0)


@needs_mysql
class OnMySQL(Cases):
    def test_each_connection_has_the_limits_unless_it_sets_others(self) -> None:
        def test(self: Any) -> None:
            ask = text("SELECT @@innodb_lock_wait_timeout, @@lock_wait_timeout")
            with self.own_engine.connect() as connection:
                self.assertEqual(tuple(connection.execute(ask).one()), (LOCK_WAIT, LOCK_WAIT))
                connection.execute(text("SET SESSION innodb_lock_wait_timeout = 7"))
                self.assertEqual(tuple(connection.execute(ask).one()), (7, LOCK_WAIT))

        self.each_driver(test, test, isolation="transaction")
        inner.passed(self, inner.run(self.case(test, test, isolation="truncation")), 2)

    def test_the_url_sets_others(self) -> None:
        def test(self: Any) -> None:
            self.assertEqual(self.own_session.scalar(text("SELECT @@lock_wait_timeout")), 7)

        url = make_url(MYSQL).update_query_dict({"init_command": "SET lock_wait_timeout = 7"})
        case = self.case(test)
        case.database = url.render_as_string(hide_password=False)
        inner.passed(self, inner.run(case), 1)

    def test_tables_that_are_read(self) -> None:
        def test(self: Any) -> None:
            self.own_session.scalars(select(User)).all()
            with self.own_engine.begin() as other:
                other.execute(text("INSERT INTO tags (word) VALUES ('new')"))
                limit = "SET SESSION lock_wait_timeout = 0"
                note = note_of(self, limit, "ALTER TABLE users ADD COLUMN more integer")
            self.assertRegex(note, r"FROM users\n +on the connection opened at")

        case = self.case(test, only_alice, isolation="truncation")
        inner.passed(self, inner.run(case), 2)

    def test_what_somebody_has_just_asked_for(self) -> None:
        """The server answers the same again for a tenth of a second."""
        look = text("SELECT count(*) FROM information_schema.innodb_trx")

        def test(self: Any) -> None:
            with self.own_engine.connect() as other:
                other.execute(select(User.id))
                other.execute(look)
                self.own_session.execute(update(User).values(age=1))
                limit = "SET SESSION innodb_lock_wait_timeout = 0"
                note = note_of(self, limit, "UPDATE users SET age = 2")
            self.assertRegex(note, r"UPDATE users SET age=\S+\n +on the connection opened at")

        inner.passed(self, inner.run(self.case(test, only_alice, isolation="truncation")), 2)

    def test_who_may_not_see_transactions_is_told_of_those_of_the_test(self) -> None:
        def test(self: Any) -> None:
            self.own_session.execute(update(User).values(age=1))
            with self.own_engine.connect() as other:
                other.execute(select(User.id))
                limit = "SET SESSION innodb_lock_wait_timeout = 0"
                note = note_of(self, limit, "UPDATE users SET age = 2")
            self.assertEqual(note.count("opened at"), 1, note)
            self.assertRegex(note, r"UPDATE users SET age=\S+\n +on the connection opened at")

        user = f"dbtestcase_{secrets.token_hex(4)}"
        query(f"CREATE USER {user} IDENTIFIED BY 'secret'")
        self.addCleanup(query, f"DROP USER {user}")
        self.addCleanup(provisioner.close)
        query(f"GRANT ALL PRIVILEGES ON `dbtestcase\\_%%`.* TO {user}")
        url = make_url(MYSQL).set(username=user, password="secret", database="")  # noqa: S106
        case = self.case(test, isolation="truncation")
        case.database = url.render_as_string(hide_password=False)
        inner.passed(self, inner.run(case), 1)
