"""Runs that end badly, at each phase: what they say, and that nothing of them remains.

Each fault happens in a process of its own, which does it to itself when it comes to the phase, so
that nothing depends on time. After the faults comes one run that is healthy: it must find a clean
database, and leave what a healthy run leaves.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import unittest
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from . import inner, test_pglite_server, test_postgres_server
from .mysql import query
from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql, postgresql_server
from .test_dead_servers import has_ended
from .test_postgres_server import until

ROOT = Path(__file__).parent.parent
PATIENCE = 120  # seconds, for a machine that does much else

SCRIPT = """
import asyncio, os, signal, sys, unittest
from pathlib import Path
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, make_url, text
from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase
from dbtestcase.backends import backend_for

signal.signal(signal.SIGINT, signal.default_int_handler)  # of a job in the background it is ignored
PHASE, FAULT, TABLE = sys.argv[1:]
URL = os.environ["DBTESTCASE_DATABASE"]
table = Table(TABLE, MetaData(), Column("id", Integer, primary_key=True))
server = getattr(backend_for(URL), "server", None)

def say(*what):
    print(*what, flush=True)

def process():
    return int((server.socket_directory / "process").read_text().split()[0])

def reach(phase, session=None):
    if phase == PHASE:
        if server is not None:
            say("server", process(), server.socket_directory)
        say("reached", phase)
        if FAULT.startswith("SIG"):
            signal.raise_signal(signal.Signals[FAULT])
        elif FAULT == "_exit":
            os._exit(3)
        elif FAULT == "server":
            os.kill(process(), signal.SIGKILL)
            session.execute(text("SELECT 1"))
        elif FAULT == "connection":
            mysql = "mysql" in URL or "mariadb" in URL
            ask = "SELECT CONNECTION_ID()" if mysql else "SELECT pg_backend_pid()"
            end = "KILL {}" if mysql else "SELECT pg_terminate_backend({}, 60000)"
            number = session.scalar(text(ask))
            door = create_engine(backend_for(URL).driver_url(is_async=False))
            with door.connect() as other:
                other.exec_driver_sql(end.format(number))
            door.dispose()
            session.execute(text("SELECT 1"))
        elif FAULT == "raises":
            raise ZeroDivisionError("the first cause")

class Healthy(DatabaseTestCase):
    metadata = table.metadata
    @classmethod
    def setUpTestData(cls, session):
        session.execute(table.insert().values(id=1))
    def write(self):
        self.assertDatabaseCount(table, 1)
        self.session.execute(table.insert().values(id=2))
        self.session.commit()
    def test_1(self):
        self.write()
    def test_2(self):
        self.write()

class First(Healthy):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        reach("setUpClass")
    def setUp(self):
        super().setUp()
        self.write()
        reach("setUp", self.session)
    def test_1(self):
        reach("test", self.session)
    def test_2(self):
        pass
    def tearDown(self):
        reach("tearDown", self.session)
        super().tearDown()
    @classmethod
    def tearDownClass(cls):
        reach("tearDownClass")
        super().tearDownClass()

class Coroutines(AsyncDatabaseTestCase):
    metadata = table.metadata
    async def test(self):
        await self.session.execute(table.insert().values(id=2))
        await self.session.commit()
        reach("coroutine")
        await asyncio.Event().wait()

class Second(Healthy):
    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        say("second")

classes = {"coroutine": [Coroutines, Second], "": [Second]}.get(PHASE, [First, Second])
load = unittest.defaultTestLoader.loadTestsFromTestCase
result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(map(load, classes)))
sys.exit(not result.wasSuccessful())
"""
PHASES = ("setUpClass", "setUp", "test", "tearDown", "tearDownClass")
STATUS = {"SIGINT": -2, "SIGTERM": -15, "SIGKILL": -9, "_exit": 3}
INTERRUPTED = [(phase, "SIGINT") for phase in (*PHASES, "coroutine")]
ENDED = [("test", "SIGINT"), ("coroutine", "SIGINT"), ("test", "SIGTERM"), ("test", "SIGKILL")]


class Battery(unittest.TestCase):
    """What all databases have in common."""

    url: str
    title: str  # in docs/faults.rst
    ended: Iterable[tuple[str, str]] = ENDED
    going_on: Sequence[tuple[str, str]] = [("setUpClass", "raises")]

    def setUp(self) -> None:
        self.table = f"t{secrets.token_hex(6)}"

    def run_script(self, phase: str = "", fault: str = "") -> Any:
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT, phase, fault, self.table],
            cwd=ROOT,
            env={**os.environ, "DBTESTCASE_DATABASE": self.url},
            capture_output=True,
            check=False,
            text=True,
            timeout=PATIENCE,
        )

    def run_with(self, phase: str, fault: str) -> Any:
        """Return what a run said and how it ended, once the fault has happened in it."""
        ran = self.run_script(phase, fault)
        self.assertIn(f"reached {phase}\n", ran.stdout, ran.stderr)
        for line in ran.stdout.splitlines():
            if line.startswith("server "):
                _, process, directory = line.split(" ", 2)
                self.assertTrue(until(lambda process=process: has_ended(int(process))))
                self.assertTrue(until(lambda directory=directory: not Path(directory).exists()))
        return ran

    def assert_next_run_is_healthy(self) -> None:
        ran = self.run_script()
        self.assertEqual((ran.returncode, ran.stdout), (0, "second\n"), ran.stderr)

    def check_that_runs_end(self) -> None:
        for phase, fault in self.ended:
            with self.subTest(phase=phase, fault=fault):
                ran = self.run_with(phase, fault)
                self.assertEqual(ran.returncode, STATUS[fault], ran.stderr)
                self.assertNotIn("second", ran.stdout)
                if fault == "SIGINT":
                    self.assertIn("KeyboardInterrupt", ran.stderr)
                self.assertNotIn("Warning", ran.stderr)
                self.await_departure()
        self.assert_next_run_is_healthy()
        self.assert_nothing_remains()

    def check_that_runs_go_on(self, faults: Iterable[tuple[str, str]], cause: str) -> None:
        for phase, fault in faults:
            with self.subTest(phase=phase, fault=fault):
                ran = self.run_with(phase, fault)
                self.assertEqual(ran.returncode, 1, ran.stderr)
                self.assertRegex(ran.stderr, cause)
                self.assertIn("second\n", ran.stdout, ran.stderr)
                self.assertNotIn("Warning", ran.stderr)
                self.assert_nothing_remains()

    def await_departure(self) -> None:
        """Wait until the server knows that the process has ended."""

    def assert_nothing_remains(self) -> None:
        """Check that there is nothing but what a healthy run leaves."""


class OnSQLite(Battery):
    """In files: in memory there is nothing to leave."""

    title = "SQLite"
    ended = dict.fromkeys([*INTERRUPTED, *ENDED, ("test", "_exit")])
    going_on = [(phase, "raises") for phase in PHASES]

    def setUp(self) -> None:
        super().setUp()
        self.files = self.enterContext(inner.directory())
        self.url = f"sqlite:///{self.files}/file.db"

    def await_departure(self) -> None:
        """Let what is there be old enough to be swept."""
        for path in self.files.iterdir():
            os.utime(path, (0, 0))

    def assert_nothing_remains(self) -> None:
        self.assertEqual(list(self.files.iterdir()), [])

    def test_runs_that_are_ended(self) -> None:
        self.check_that_runs_end()

    def test_runs_that_go_on(self) -> None:
        self.check_that_runs_go_on(self.going_on, cause="ZeroDivisionError: the first cause")


@unittest.skipIf(test_postgres_server.MISSING, test_postgres_server.MISSING)
class OnPGServer(Battery):
    url = "pgserver://"
    title = "pgserver"
    going_on = [("setUpClass", "raises"), ("test", "server")]

    def test_runs_that_are_ended(self) -> None:
        self.check_that_runs_end()

    def test_a_set_up_that_raises(self) -> None:
        self.check_that_runs_go_on(self.going_on[:1], cause="the first cause")

    def test_a_server_that_is_killed(self) -> None:
        """The next set-up says so, and what the server said; further ones have another server."""
        ran = self.run_with(*self.going_on[1])
        self.assertEqual(ran.returncode, 1, ran.stderr)
        self.assertRegex(ran.stderr, r"BackendError: (.*: )?\w+ has ended\. It said:")
        self.assertNotIn("Warning", ran.stderr)


@unittest.skipIf(test_pglite_server.MISSING, test_pglite_server.MISSING)
class OnPGlite(OnPGServer):
    url = "pglite://"
    title = "PGlite"


@needs_postgresql
class OnPostgreSQL(Battery):
    title = "PostgreSQL"
    going_on = [("setUpClass", "raises"), ("test", "connection")]

    def setUp(self) -> None:
        from dbtestcase.backends.postgresql import PostgreSQLBackend

        super().setUp()
        door = f"door_{secrets.token_hex(6)}"
        url = make_url(POSTGRESQL).set(database=door)
        self.url = url.render_as_string(hide_password=False)
        self.execute(f"CREATE DATABASE {door}")
        self.addCleanup(self.execute, f"DROP DATABASE {door}")
        backend = PostgreSQLBackend(url)
        self.mark = backend.birthmark
        backend.close()
        self.addCleanup(self.drop_all)

    def execute(self, sql: str) -> Any:
        with postgresql_server() as connection:
            result = connection.exec_driver_sql(sql)
            return result.scalars().all() if result.returns_rows else None

    def there(self) -> list[str]:
        return self.execute(  # type: ignore[no-any-return]
            f"SELECT datname FROM pg_database WHERE datconnlimit = {self.mark}"  # noqa: S608
        )

    def drop_all(self) -> None:
        for name in self.there():
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def await_departure(self) -> None:
        names = ", ".join(f"'{name}'" for name in [*self.there(), make_url(self.url).database])
        busy = f"SELECT count(*) FROM pg_stat_activity WHERE datname IN ({names})"  # noqa: S608
        self.assertTrue(until(lambda: self.execute(busy) == [0]))

    def assert_nothing_remains(self) -> None:
        [template] = self.there()
        self.assertRegex(template, "^dbtestcase_template_")

    def test_runs_that_are_ended(self) -> None:
        self.check_that_runs_end()

    def test_a_set_up_that_raises(self) -> None:
        self.check_that_runs_go_on(self.going_on[:1], cause="the first cause")

    def test_a_connection_that_is_killed(self) -> None:
        cause = "terminating connection due to administrator command"
        self.check_that_runs_go_on(self.going_on[1:], cause=cause)


@needs_mysql
class OnMySQL(Battery):
    url = MYSQL
    title = "MariaDB"
    going_on = OnPostgreSQL.going_on

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.drop_all)

    def there(self) -> list[str]:
        tables = "SELECT table_schema FROM information_schema.tables WHERE table_name = %s"
        return [name for (name,) in query(tables, self.table)]

    def drop_all(self) -> None:
        for name in self.there():
            query(f"DROP DATABASE IF EXISTS {name}")
            query("DELETE FROM dbtestcase_registry.databases WHERE name = %s", name)

    def await_departure(self) -> None:
        def is_free(name: str) -> bool:
            return query("SELECT IS_FREE_LOCK(%s)", name)[0][0] == 1

        self.assertTrue(until(lambda: all(map(is_free, self.there()))))

    def assert_nothing_remains(self) -> None:
        """One database is kept, clean, for the next run."""
        [name] = self.there()
        self.assertEqual(query(f"SELECT count(*) FROM {name}.{self.table}"), [(0,)])  # noqa: S608

    def test_runs_that_are_ended(self) -> None:
        self.check_that_runs_end()

    def test_a_set_up_that_raises(self) -> None:
        self.check_that_runs_go_on(self.going_on[:1], cause="the first cause")

    def test_a_connection_that_is_killed(self) -> None:
        cause = "Lost connection|gone away|kill"
        self.check_that_runs_go_on(self.going_on[1:], cause=cause)


class Page(unittest.TestCase):
    """The table in ``docs/faults.rst`` is what is tried here, and nothing else."""

    WORDS = {
        "SIGINT": "Ctrl-C",
        "SIGTERM": "SIGTERM",
        "SIGKILL": "kill -9",
        "_exit": "os._exit()",
        "raises": "an exception",
        "server": "its server is killed",
        "connection": "its connection is killed",
    }
    COLUMNS = (OnSQLite, OnPGlite, OnPGServer, OnPostgreSQL, OnMySQL)

    def table(self) -> list[str]:
        cases = {case: [*case.ended, *case.going_on] for case in self.COLUMNS}
        border = " ".join(["=" * 24, "=" * 14, *("=" * 10 for _ in cases)])
        titles = self.row("what happens", "in", *(case.title for case in cases))
        rows = [
            self.row(
                word, phase, *("yes" if (phase, fault) in cases[case] else "" for case in cases)
            )
            for fault, word in self.WORDS.items()
            for phase in (*PHASES, "coroutine")
            if any((phase, fault) in tried for tried in cases.values())
        ]
        return [border, titles, border, *rows, border]

    def row(self, what: str, phase: str, *cells: str) -> str:
        where = {"test": "a test", "coroutine": "an async test"}.get(phase, phase)
        return f"{what:24} {where:14} {' '.join(f'{cell:10}' for cell in cells)}".rstrip()

    def test_the_table(self) -> None:
        self.assertIn("\n".join(self.table()), (ROOT / "docs" / "faults.rst").read_text())
