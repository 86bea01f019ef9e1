"""Runs that end badly, at each phase: what they say, and that nothing of them remains.

Each fault happens in a process of its own, as ``wrong_run`` has it; those after which a run goes on
happen in one run. After them comes one that is healthy: it must find a clean database, and leave
what a healthy run leaves.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import unittest
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from . import inner, test_pglite_server, test_postgres_server
from .faults import MODULES, Cell, declare, declared, happened, read
from .mysql import query
from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql, postgresql_server
from .test_dead_servers import has_ended
from .waiting import PATIENCE, until

ROOT = Path(__file__).parent.parent

PHASES = ["setUpClass", "setUp", "a test", "tearDown", "tearDownClass"]
ASYNC_PHASES = [
    *("asyncSetUpClass", "asyncSetUp", "an async test", "asyncTearDown", "asyncTearDownClass")
]
WORDS = {
    "SIGINT": "Ctrl-C",
    "SIGTERM": "SIGTERM",
    "SIGKILL": "kill -9",
    "_exit": "os._exit()",
    "raises": "an exception",
    "connection": "the server ends the connection",
    "dropped": "the connection breaks off",
    "fork": "fork, and the child uses the session",
    "socket": "the server's socket is removed",
    "server": "the server is killed",
    "unnoticed": "the server is killed, and its supervisor slow to notice",
}
STATUS = {"SIGINT": -2, "SIGTERM": -15, "SIGKILL": -9, "_exit": 3}

Faults = Sequence[tuple[str, str]]
EVERYWHERE = PHASES + ASYNC_PHASES
ENDS: Faults = [(fault, phase) for fault in ("SIGINT", "SIGTERM") for phase in EVERYWHERE]
RAISES: Faults = [("raises", phase) for phase in EVERYWHERE]


def in_tests(*faults: str) -> Faults:
    """Return ``faults`` in the middle of a test of each colour."""
    return [(fault, test) for fault in faults for test in ("a test", "an async test")]


KILLED = in_tests("SIGKILL", "_exit")
FORK = in_tests("fork")
CONNECTION = in_tests("connection", "dropped")
SERVER = in_tests("socket", "server", "unnoticed")

#: What drivers say; the last is asyncpg's, if it hears of its end as it begins to execute.
_LOST = (
    "closed the connection unexpectedly|closed in the middle|Lost connection|gone away"
    "|connection is closed|another operation"
)

#: What is said of faults after which a run goes on.
CAUSES = {
    "raises": "ZeroDivisionError: the first cause",
    "connection": f"terminating connection due to administrator|{_LOST}|kill",
    "dropped": _LOST,
    "server": f"{_LOST}|unexpected postmaster exit",
    "unnoticed": f"{_LOST}|unexpected postmaster exit",
}


class Battery(unittest.TestCase):
    """What all databases have in common."""

    url: str
    title: str  # in docs/faults.rst
    ended: Faults = [*ENDS, *KILLED]
    going_on: Faults = [*RAISES, *CONNECTION, *FORK]

    def setUp(self) -> None:
        self.table = f"t{secrets.token_hex(6)}"

    def happened(self, fault: str, phase: str, outcome: str) -> None:
        happened(self, Cell(WORDS[fault], phase, self.title), outcome)

    def run_wrong(self, how: str, faults: Faults) -> list[Any]:
        """Run ``wrong_run``, and return what it said in JSON."""
        given = [word for fault in faults for word in fault]
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-m", "tests.wrong_run", how, self.table, *given],
            cwd=ROOT,
            env={**os.environ, "DBTESTCASE_DATABASE": self.url},
            capture_output=True,
            check=False,
            text=True,
            timeout=PATIENCE * (len(faults) + 1),
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertNotIn("Warning", ran.stderr)
        self.await_departures(ran.stdout)
        if how == "together":
            for fault, phase in faults:
                self.assertIn(f"reached {fault} {phase}\n", ran.stdout, ran.stderr)
        return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]

    def await_departures(self, said: str) -> None:
        """Wait until private servers have ended that a run has told of, and are known to have."""
        for line in said.splitlines():
            if line.startswith("server "):
                _, process, directory = line.split(" ", 2)
                self.assertTrue(until(lambda process=process: has_ended(int(process))))
                self.assertTrue(until(lambda directory=directory: not Path(directory).exists()))
        self.await_departure()

    def check_runs_that_are_ended(self) -> None:
        self.check_each([fault for fault in self.ended if fault[0] == "SIGINT"])
        self.assert_nothing_remains()
        self.check_each([fault for fault in self.ended if fault[0] != "SIGINT"])
        self.make_old()
        self.assertEqual(self.run_wrong("together", []), [{}])
        self.assert_nothing_remains()

    def check_each(self, faults: Faults) -> None:
        for fault, ran in zip(faults, self.run_wrong("each", faults), strict=True):
            with self.subTest(fault=fault):
                name, phase = fault
                self.assertIn(f"reached {name} {phase}\n", ran["said"])
                self.assertEqual(ran["status"], STATUS[name], ran["said"])
                self.assertNotIn(f"{name} {phase} next", ran["said"])
                self.assertNotIn("Warning", ran["said"])
                if name == "SIGINT":
                    self.assertIn("KeyboardInterrupt", ran["said"])
                self.await_departures(ran["said"])
                self.happened(name, phase, "stops" if name == "SIGINT" else "ends")

    def check_runs_that_go_on(self) -> None:
        [failed] = self.run_wrong("together", self.going_on)
        for fault, phase in self.going_on:
            with self.subTest(fault=fault, phase=phase):
                own, then, last = (
                    failed.get(f"{fault} {phase}{after}", []) for after in ("", " next", " last")
                )
                self.assertEqual(then + last, [])
                for message in own:
                    self.assertRegex(message, CAUSES[fault])
                if own and fault != "raises":
                    self.assertEqual(len(own), 1)
                    self.assertIn(f"{fault} {phase}.test_1: the connection to ", own[0])
                self.happened(fault, phase, "goes on" if own else "passes")
        self.assert_nothing_remains()

    def make_old(self) -> None:
        """Let what killed runs have left be old enough to be swept."""

    def await_departure(self) -> None:
        """Wait until the server knows that the process has ended."""

    def assert_nothing_remains(self) -> None:
        """Check that there is nothing but what a healthy run leaves."""


def battery(case: Any) -> Any:
    """Give ``case`` its tests, and declare what they try."""
    case.test_runs_that_are_ended = Battery.check_runs_that_are_ended
    case.test_runs_that_go_on = Battery.check_runs_that_go_on
    for faults, test in ((case.ended, "are_ended"), (case.going_on, "go_on")):
        for fault, phase in faults:
            declare(WORDS[fault], phase, [case.title], (case, f"test_runs_that_{test}"))
    return case


@battery
class OnSQLite(Battery):
    """In files: in memory there is nothing to leave."""

    title = "SQLite"
    going_on = [*RAISES, *FORK]

    def setUp(self) -> None:
        super().setUp()
        self.files = self.enterContext(inner.directory())
        self.url = f"sqlite:///{self.files}/file.db"

    def make_old(self) -> None:
        for path in self.files.iterdir():
            os.utime(path, (0, 0))

    def assert_nothing_remains(self) -> None:
        self.assertEqual(list(self.files.iterdir()), [])


@unittest.skipIf(test_pglite_server.MISSING, test_pglite_server.MISSING)
@battery
class OnPGlite(Battery):
    url = "pglite://"
    title = "PGlite"
    going_on = [*RAISES, *in_tests("dropped"), *FORK, *SERVER]


@unittest.skipIf(test_postgres_server.MISSING, test_postgres_server.MISSING)
@battery
class OnPGServer(Battery):
    url = "pgserver://"
    title = "pgserver"
    going_on = [*RAISES, *CONNECTION, *FORK, *SERVER]

    def setUp(self) -> None:
        self.table = "faults"  # whose template stays


@needs_postgresql
@battery
class OnPostgreSQL(Battery):
    title = "PostgreSQL"

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


@needs_mysql
@battery
class OnMySQL(Battery):
    url = MYSQL
    title = "MariaDB"

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


class Page(unittest.TestCase):
    """The table in ``docs/faults.rst`` has what is tried, and nothing else."""

    def test_the_table(self) -> None:
        for module in MODULES:
            import_module(f"tests.{module}")
        self.assertEqual(read().keys() ^ declared.keys(), set())
