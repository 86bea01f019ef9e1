"""Servers that have no connection left, as a class is set up and in the middle of a test."""

from __future__ import annotations

import gc
import unittest
import warnings
from contextlib import AsyncExitStack, ExitStack, suppress
from typing import Any

import psycopg
import pymysql

from dbtestcase.backends import backend_for, shown
from dbtestcase.provision import provisioner

from . import inner, test_losses
from .faults import reporting, tried
from .own_servers import NO_MARIADB, OwnMariaDB, OwnPostgreSQL, OwnServer
from .servers import needs
from .test_losses import case
from .test_postgres_server import needs_it
from .waiting import until

FEW = "10"
COLOURS = {"a test": test_losses.Sync, "an async test": test_losses.Async}
REFUSED = (psycopg.OperationalError, pymysql.err.OperationalError)


def exhausting(case: Any) -> None:
    """Open connections, as an application does that gives none back, until there is none."""
    with ExitStack() as opened:
        while True:
            opened.enter_context(case.engine.connect())


async def exhausting_async(case: Any) -> None:
    async with AsyncExitStack() as opened:
        while True:
            await opened.enter_async_context(case.engine.connect())


def surviving(case: Any) -> None:
    with suppress(Exception):
        exhausting(case)
    case.test_0()


async def surviving_async(case: Any) -> None:
    with suppress(Exception):
        await exhausting_async(case)
    await case.test_0()


#: What a test does in the middle of which there is no connection left, by colour.
TESTS = {
    test_losses.Sync: (exhausting, surviving),
    test_losses.Async: (exhausting_async, surviving_async),
}


class Few:
    """What the servers have in common."""

    url: str
    refusal: str
    isolations = ("transaction", "truncation", "template")

    def connect(self) -> Any:
        """Open a connection that dbtestcase knows nothing of."""
        raise NotImplementedError

    def count(self) -> int:
        """Return how many connections there are, beside the one that asks."""
        raise NotImplementedError

    def setUp(self: Any) -> None:
        """PyMySQL does not close the socket of a connection that is refused."""
        self.enterContext(warnings.catch_warnings())
        warnings.simplefilter("ignore", ResourceWarning)
        self.addCleanup(gc.collect)
        self.addCleanup(provisioner.close)

    def all_but(self, free: int) -> ExitStack:
        """Return what holds all connections that can be had, but so many."""
        held = []
        with suppress(*REFUSED):
            while True:
                held.append(self.connect())
        stack = ExitStack()
        for connection in held[free:]:
            stack.callback(connection.close)
        for connection in held[:free]:
            connection.close()
        assert free == 0 or until(self.is_free)
        return stack

    def is_free(self) -> bool:
        try:
            self.connect().close()
        except REFUSED:
            return False
        return True

    def check_refused(self: Any, base: Any, isolation: str) -> None:
        """Take connections away, ever fewer, until a class has all that it needs."""
        failures = 0
        for free in range(int(FEW)):
            provisioner.close()
            self.assertTrue(until(lambda: self.count() == 0))
            with self.all_but(free):
                result = inner.run(case(base, self.url, isolation))
                provisioner.close()
            if result.wasSuccessful():
                break
            message = inner.only_error(self, result)
            self.assertRegex(message, self.refusal)
            self.assertIn("  To fix this, run fewer workers at once", message)
            failures += 1
        self.assertGreater(failures, 1)
        self.assertTrue(result.wasSuccessful())

    @tried("no connection is left", "setUpClass", "refused")
    def test_in_set_up(self: Any) -> None:
        for isolation in self.isolations:
            with self.subTest(isolation):
                self.check_refused(test_losses.Sync, isolation)
        with self.subTest("async"):
            self.check_refused(test_losses.Async, "transaction")

    def check_in_a_test(self: Any, phase: str) -> None:
        base = COLOURS[phase]
        exhausting, surviving = TESTS[base]
        for isolation in self.isolations[1:]:
            with self.subTest(isolation):
                tests = {f"test_{number}": base.test for number in (0, 2, 4)}
                tests |= {"test": None, "test_1": exhausting, "test_3": surviving}
                one = case(base, self.url, isolation, **tests)
                result = inner.run(one, case(base, self.url, isolation))
                message = inner.only_error(self, result)
                self.assertEqual(result.testsRun, 5 + 1)
                self.assertRegex(message, self.refusal)
                place = f"{backend_for(self.url).title} at {shown(backend_for(self.url).url)}"
                self.assertIn(f"{place} has no connection left.\n  To fix this, run ", message)
                provisioner.close()

    @tried("no connection is left", "a test", "goes on")
    def test_in_a_test(self) -> None:
        self.check_in_a_test("a test")

    @tried("no connection is left", "an async test", "goes on")
    def test_in_an_async_test(self) -> None:
        self.check_in_a_test("an async test")


class OnOwnServer(Few):
    kind: type[Any]
    server: OwnServer

    @classmethod
    def setUpClass(cls: Any) -> None:
        super().setUpClass()  # type: ignore[misc]
        cls.server = cls.kind(cls.enterClassContext(inner.directory()))
        cls.server.options = [f"--max-connections={FEW}"]
        cls.url = cls.server.url
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()


class OnPostgreSQLServer:
    """One of either kind."""

    refusal = "too many clients already|connection slots"
    host: str

    def connect(self) -> Any:
        return psycopg.connect(host=self.host, user="postgres", autocommit=True)

    def count(self) -> int:
        clients = "SELECT count(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'"
        with self.connect() as connection:
            [number] = connection.execute(clients).fetchone()
            return int(number)


@needs_it
@reporting
class OnPostgreSQL(OnPostgreSQLServer, OnOwnServer, unittest.TestCase):
    title = "PostgreSQL"
    kind = OwnPostgreSQL

    @property
    def host(self) -> str:  # type: ignore[override]
        return str(self.server.directory)


@needs("mariadbd", NO_MARIADB, required=())
@reporting
class OnMariaDB(OnOwnServer, unittest.TestCase):
    title = "MariaDB"
    kind = OwnMariaDB
    refusal = r"\(1040, ['\"]Too many connections['\"]\)"

    def connect(self) -> Any:
        socket: Any = self.server
        return pymysql.connect(unix_socket=str(socket.socket), user="root")

    def count(self) -> int:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) - 1 FROM information_schema.processlist WHERE id > 0")
            [number] = cursor.fetchone()
            return int(number)
