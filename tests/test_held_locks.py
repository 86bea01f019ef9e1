"""Locks that are not given up: the test that waits for one fails, and no other does."""

from __future__ import annotations

import sqlite3
import unittest
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

from sqlalchemy import text
from sqlalchemy.orm import Session

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase
from dbtestcase.backends import backend_for, mysql_door
from dbtestcase.backends.server import Target

from . import inner
from .faults import reporting, tried
from .mysql import drop_what_is_kept
from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql
from .test_losses import case, users
from .test_postgres_server import needs_it

NOTE = ".Case.test_1: at {file}:[0-9]+, this statement could not have a lock that another"
INSERT = users.insert().values(id=100, name="carl")

tearDownModule = drop_what_is_kept


class Sync(DatabaseTestCase):
    """A class without data, for which SQLite's sandbox would lock out everybody else."""

    metadata = users.metadata

    def test(self) -> None:
        self.session.execute(INSERT)
        self.session.commit()
        self.assertDatabaseCount(users, 1)


class Async(AsyncDatabaseTestCase):
    metadata = users.metadata

    async def test(self) -> None:
        await self.session.execute(INSERT)
        await self.session.commit()
        await self.assertDatabaseCount(users, 1)


COLOURS = {"a test": Sync, "an async test": Async}


def by_the_test(session: Session) -> None:
    """Lock it on another connection of the test, which is in use to its end."""
    session.execute(INSERT)


class Held:
    """What all databases have in common."""

    title: str
    url: str
    isolations = ("truncation", "template")
    limit: str  # lets a connection wait no longer than a moment
    stranger: str  # what is said of others

    def setUp(self: Any) -> None:
        self.opened: list[Any] = []
        self.addCleanup(self.close)

    def close(self) -> None:
        while self.opened:
            self.opened.pop().close()

    def enter(self, session: Session) -> Any:
        """Return a connection to the database of ``session`` which is none of the test's."""
        raise NotImplementedError

    def by_somebody(self, session: Session) -> None:
        """Lock it on a connection that outlives the test, and its class."""
        other = self.enter(session)
        self.opened.append(other)
        other.cursor().execute(str(INSERT.compile(compile_kwargs={"literal_binds": True})))

    def by_somebody_after_a_commit(self, session: Session) -> None:
        session.execute(users.insert().values(name="dora"))
        session.commit()
        self.by_somebody(session)

    def wait(self, lock: Callable[[Session], None], session: Session) -> None:
        lock(session)
        with session.get_bind().connect() as connection:
            connection.execute(text(self.limit))
            connection.execute(INSERT)

    def blocked(self, base: Any, isolation: str, lock: Callable[[Session], None]) -> Any:
        """Return a class of which the second of three tests waits for a lock in vain."""

        def test(this: Any) -> None:
            self.wait(lock, this.session)

        async def async_test(this: Any) -> None:
            await this.session.run_sync(partial(self.wait, lock))

        waiting = async_test if base is Async else test
        tests = {"test_0": base.test, "test_1": waiting, "test_2": base.test}
        return case(base, self.url, isolation, test=None, **tests)

    def check(self: Any, phase: str) -> None:
        of_others = (self.by_somebody, self.by_somebody_after_a_commit)
        tries = [(one, lock) for one in self.isolations for lock in (by_the_test, *of_others)]
        for isolation, lock in [("transaction", self.by_somebody), *tries]:
            with self.subTest(isolation, lock=lock.__name__):
                blocked = self.blocked(COLOURS[phase], isolation, lock)
                after = [case(one, self.url, isolation) for one in COLOURS.values()]
                result = inner.run(blocked, *after)
                said = inner.only_error(self, result)
                self.assertEqual(result.testsRun, 3 + 2)
                self.assertRegex(said, NOTE.format(file=__file__))
                ours = f"on the connection opened at {__file__}:[0-9]+\n"
                self.assertRegex(said, ours if lock is by_the_test else self.stranger)
                self.close()

    @tried("a lock is not given up", "a test", "goes on")
    def test_in_a_test(self) -> None:
        self.check("a test")

    @tried("a lock is not given up", "an async test", "goes on")
    def test_in_an_async_test(self) -> None:
        self.check("an async test")


@reporting
class OnSQLite(Held, unittest.TestCase):
    """In files: nobody else enters one in memory."""

    title = "SQLite"
    limit = "PRAGMA busy_timeout = 0"
    stranger = r"on a connection that is none of the test's\n"

    def setUp(self) -> None:
        super().setUp()
        self.url = f"sqlite:///{self.enterContext(inner.directory())}/file.db"

    def enter(self, session: Session) -> Any:
        [(_, _, path)] = session.execute(text("PRAGMA database_list"))
        session.rollback()
        return sqlite3.connect(path)


class OnAServer(Held):
    name: str  # of the database

    def enter(self, session: Session) -> Any:
        backend: Any = backend_for(self.url)
        name = session.scalar(text(self.name))
        session.rollback()
        return backend.open(Target(name), is_async=False)


class OnAnyPostgreSQL(OnAServer):
    isolations = ("truncation", "template", "schema")
    limit = "SET LOCAL lock_timeout = '10ms'"
    stranger = r"on process \d+ \(.*\) of \w+\n"
    name = "SELECT current_database()"

    def enter(self, session: Session) -> Any:
        schemas = session.scalar(text("SHOW search_path"))
        other = super().enter(session)
        other.cursor().execute(f"SET search_path = {schemas}")
        return other


@needs_it
@reporting
class OnPGServer(OnAnyPostgreSQL, unittest.TestCase):
    title = "pgserver"
    url = "pgserver://"


@needs_postgresql
@reporting
class OnPostgreSQL(OnAnyPostgreSQL, unittest.TestCase):
    title = "PostgreSQL"
    url = POSTGRESQL


@needs_mysql
@reporting
class OnMySQL(OnAServer, unittest.TestCase):
    title = "MariaDB"
    url = MYSQL
    limit = "SET SESSION innodb_lock_wait_timeout = 0"
    stranger = r"on connection \d+ of \w+\n"
    name = "SELECT DATABASE()"

    def setUp(self) -> None:
        super().setUp()
        limits = f"{self.limit}, lock_wait_timeout = 0"
        self.enterContext(mock.patch.object(mysql_door, "LIMITS", limits))
