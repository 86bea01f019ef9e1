"""Connections that the server closes between two test classes: the next one works."""

from __future__ import annotations

import secrets
import unittest
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any
from unittest import mock

from sqlalchemy import Column, Integer, MetaData, String, Table, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase
from dbtestcase.backends import backend_for
from dbtestcase.provision import provisioner

from . import inner, mysql
from .faults import reporting, tried
from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql, postgresql_server
from .test_postgres_server import needs_it
from .waiting import until

EACH = ("transaction", "truncation", "template")

# No other process has such databases, or it could take them while the door is lost.
users = Table(
    f"users_{secrets.token_hex(4)}",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("name", String(50)),
)


class Sync(DatabaseTestCase):
    metadata = users.metadata

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        session.execute(users.insert().values(name="alice"))

    def test(self) -> None:
        self.session.execute(users.insert().values(name="bob"))
        self.session.commit()
        self.assertDatabaseCount(users, 2)


class Async(AsyncDatabaseTestCase):
    metadata = users.metadata

    async def test(self) -> None:
        await self.session.execute(users.insert().values(name="bob"))
        await self.session.commit()
        await self.assertDatabaseCount(users, 1)


def case(base: Any, url: str, isolation: str, **attributes: Any) -> Any:
    return type("Case", (base,), {"database": url, "isolation": isolation, **attributes})


def cases(count: int, *args: Any, **attributes: Any) -> list[Any]:
    return [case(*args, **attributes) for _ in range(count)]


class Losses:
    """What all servers have in common."""

    url: str
    own_number: str  # a query for what the server calls a connection
    remedy = "start the server"

    def lose(self) -> None:
        """Let the server end the connection to the door."""
        self.end(self.number())

    def number(self) -> int:
        """Return what the server calls the connection to the door."""
        raise NotImplementedError

    def end(self, number: int) -> None:
        """Let the server end a connection, and wait until it has."""
        raise NotImplementedError

    @tried("the server closes our own connection", "between two classes", "passes")
    def test_between_two_classes(self: Any) -> None:
        for isolation in EACH:
            for base in (Sync, Async):
                with self.subTest(isolation, base=base.__name__):
                    before, *after = cases(3, base, self.url, isolation)
                    inner.passed(self, inner.run(before), 1)
                    self.lose()
                    inner.passed(self, inner.run(*after), 2)

    def test_that_is_not_noticed_before_something_is_asked_for(self: Any) -> None:
        """As where a firewall forgets connections."""
        backend = backend_for(self.url)
        for isolation in EACH:
            before, after = cases(2, Sync, self.url, isolation)
            inner.passed(self, inner.run(before), 1)
            with mock.patch.object(backend, "notice_loss"), self.subTest(isolation):
                self.lose()
                inner.passed(self, inner.run(after), 1)

    def test_between_a_template_and_its_copy(self: Any) -> None:
        backend = backend_for(self.url)
        create = backend.create
        lost: list[str] = []

        def lose_and_create(original: Any, *, isolation: str = "") -> Any:
            if isolation not in lost:
                lost.append(isolation)
                self.lose()
            return create(original, isolation=isolation)

        for isolation in EACH:
            lost.clear()
            provisioner.close()
            with (
                mock.patch.object(backend, "create", lose_and_create),
                self.subTest(isolation),
            ):
                inner.passed(self, inner.run(*cases(2, Sync, self.url, isolation)), 2)
                self.assertNotEqual(lost, [])

    def test_in_a_test(self: Any) -> None:
        for isolation in EACH:
            tests = {"test": lambda this: self.lose(), "test_then": Sync.test}
            with self.subTest(isolation):
                inner.passed(self, inner.run(*cases(2, Sync, self.url, isolation, **tests)), 4)

    def test_in_a_test_that_catches_the_error(self: Any) -> None:
        def use(session: Session) -> None:
            self.end(session.scalar(text(self.own_number)))
            with suppress(DBAPIError):
                session.execute(text("SELECT 1"))

        def test(this: Any) -> None:
            use(this.session)

        async def async_test(this: Any) -> None:
            await this.session.run_sync(use)

        for base, catching in ((Sync, test), (Async, async_test)):
            with self.subTest(base.__name__):
                one = case(base, self.url, "transaction", test=catching)
                said = inner.only_error(self, inner.run(one))
                self.assertRegex(said, "BackendError: .*Case.test: the connection to .* was lost")
                self.assertIn(f"  To fix this, {self.remedy}", said)
                inner.passed(self, inner.run(case(base, self.url, "transaction")), 1)

    def test_while_a_template_is_built(self: Any) -> None:
        built: list[Any] = []
        marker = secrets.token_hex(8)

        def build(cls: Any, connection: Any) -> None:
            connection.execute(text(f"SELECT '{marker}'"))
            built.append(connection)
            if len(built) == 1:
                self.lose()

        hook = {"setUpDatabase": classmethod(build)}
        result = inner.run(*cases(2, Sync, self.url, "transaction", **hook))
        self.assertEqual((len(result.errors), result.testsRun, len(built)), (1, 1, 2))
        self.assertRegex(result.errors[0][1], "terminat|[Ll]ost|gone away")

    def test_twice(self: Any) -> None:
        """Who loses it again and again is told so."""
        backend = backend_for(self.url)
        template = backend.template

        def lose_and_make(*args: Any, **kwargs: Any) -> Any:
            _ = backend.door
            self.lose()
            return template(*args, **kwargs)

        provisioner.close()
        with mock.patch.object(backend, "template", lose_and_make):
            result = inner.run(case(Sync, self.url, "transaction"))
        self.assertRegex(inner.only_error(self, result), "terminat|[Ll]ost|gone away")
        inner.passed(self, inner.run(case(Sync, self.url, "transaction")), 1)

    def test_of_the_sandbox(self: Any) -> None:
        """Its connection stays open for the next class of the same schema, and may be closed."""
        numbers: list[int] = []

        def test(this: Any) -> None:
            numbers.append(this.session.scalar(text(self.own_number)))

        one = case(Sync, self.url, "transaction", test=test)
        inner.passed(self, inner.run(one), 1)
        self.end(numbers[0])
        inner.passed(self, inner.run(one), 1)
        inner.passed(self, inner.run(one), 1)
        self.assertEqual(len({*numbers}), 2)


class OnAnyPostgreSQL(Losses):
    own_number = "SELECT pg_backend_pid()"

    def number(self) -> int:
        backend: Any = backend_for(self.url)
        number: int = backend.door.exec_driver_sql(self.own_number).scalar()
        return number

    def end(self, number: int) -> None:
        backend: Any = backend_for(self.url)
        with closing(backend.open(is_async=False)) as connection:
            connection.autocommit = True
            connection.execute(f"SELECT pg_terminate_backend({number})")
            there = f"SELECT FROM pg_stat_activity WHERE pid = {number}"
            assert until(lambda: not connection.execute(there).fetchall())


@needs_it
@reporting
class OnPGServer(OnAnyPostgreSQL, unittest.TestCase):
    title = "pgserver"
    url = "pgserver://"
    remedy = "see what has ended it"


@needs_postgresql
@reporting
class OnPostgreSQL(OnAnyPostgreSQL, unittest.TestCase):
    """Through a door of its own: who enters the same one sweeps while it is lost."""

    title = "PostgreSQL"

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        door = f"door_{secrets.token_hex(6)}"
        cls.url = make_url(POSTGRESQL).set(database=door).render_as_string(hide_password=False)
        with postgresql_server() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {door}")
        cls.addClassCleanup(cls.drop_door, door)

    @classmethod
    def drop_door(cls, door: str) -> None:
        for leftover in backend_for(cls.url).leftovers():
            leftover.remove()
        provisioner.close()
        with postgresql_server() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {door} WITH (FORCE)")

    def test_of_which_the_server_has_not_heard(self) -> None:
        """It holds the lock that says that this process lives, until we have it ended."""
        inner.passed(self, inner.run(case(Sync, self.url, "truncation")), 1)
        backend: Any = backend_for(self.url)
        token, number = backend.token, self.number()
        door = backend.door.connection.dbapi_connection
        backend.door.connection.detach()  # still open, to the server's knowledge
        self.addCleanup(door.close)
        backend.door.invalidate()
        inner.passed(self, inner.run(case(Sync, self.url, "truncation")), 1)
        self.assertEqual(backend.token, token)
        self.assertNotEqual(self.number(), number)

    def test_while_another_process_sweeps_what_seems_to_be_left(self) -> None:
        """It holds the same lock meanwhile, and is waited for."""
        backend: Any = backend_for(self.url)
        number, run = self.number(), int(backend.token, 16)
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        waiting += (
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        with postgresql_server(self.url) as other, ThreadPoolExecutor(1) as pool:
            self.end(number)
            self.assertTrue(backend._lock_number(other, "pg_try_advisory_lock", run))
            opened = pool.submit(backend.notice_loss)
            self.assertTrue(until(lambda: other.exec_driver_sql(waiting).scalar() == 1))
            backend._lock_number(other, "pg_advisory_unlock", run)
            opened.result()
        inner.passed(self, inner.run(case(Sync, self.url, "truncation")), 1)


@needs_mysql
@reporting
class OnMySQL(Losses, unittest.TestCase):
    title = "MariaDB"
    url = MYSQL
    own_number = "SELECT CONNECTION_ID()"

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.addClassCleanup(mysql.drop_what_is_kept)

    def number(self) -> int:
        backend: Any = backend_for(self.url)
        number: int = backend.door.exec_driver_sql(self.own_number).scalar()
        return number

    def end(self, number: int) -> None:
        mysql.query(f"KILL {number}")
        there = "SELECT count(*) FROM information_schema.processlist WHERE id = %s"
        assert until(lambda: mysql.query(there, number) == [(0,)])

    def test_for_being_idle(self) -> None:
        one = case(Sync, self.url, "transaction")
        inner.passed(self, inner.run(one), 1)
        backend: Any = backend_for(self.url)
        number = self.number()
        backend.door.exec_driver_sql("SET SESSION wait_timeout = 1")
        there = "SELECT count(*) FROM information_schema.processlist WHERE id = %s"
        self.assertTrue(until(lambda: mysql.query(there, number) == [(0,)]))
        inner.passed(self, inner.run(one), 1)
        self.assertNotEqual(self.number(), number)
