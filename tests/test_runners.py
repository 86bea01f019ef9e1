"""The ways people run tests, each in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import unittest
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import text

from . import test_pglite_server, test_postgres_server
from .faults import reporting, tried
from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql, postgresql_server
from .waiting import PATIENCE

ROOT = Path(__file__).parent.parent


class Runners(unittest.TestCase):
    def run_suite(self, *command: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-m", *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=5 * PATIENCE,
        )
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        return ran.stdout + ran.stderr

    def test_unittest(self) -> None:
        command = ("unittest", "-k", "commit", "tests.suite.test_behaviour")
        self.assertRegex(self.run_suite(*command), r"Ran \d{2} tests")

    def test_unittest_options(self) -> None:
        options = ("-v", "-b", "-f", "-k", "autocommit")
        output = self.run_suite("unittest", *options, "tests.suite.test_behaviour")
        self.assertIn("test_autocommit (tests.suite.test_behaviour.AsyncTemplate", output)

    def test_pytest_in_the_order_of_the_file(self) -> None:
        output = self.run_suite("pytest", *_COMMITS, "-p", "no:randomly")
        self.assertRegex(output, r"\d{2} passed")

    def test_pytest_with_xdist_and_shuffled(self) -> None:
        output = self.run_suite("pytest", *_COMMITS, "-n", "2")
        self.assertRegex(output, r"\d{2} passed")

    def test_pytest_fixtures_of_the_user(self) -> None:
        with TemporaryDirectory() as name:
            path = Path(name, "test_fixtures.py")
            path.write_text(_FIXTURES)
            output = self.run_suite(
                "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider", str(path)
            )
        self.assertRegex(output, r"2 passed")


_COMMITS = ("-q", "-k", "commit", "tests/suite/test_behaviour.py")

_FIXTURES = """
import pytest
from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase

@pytest.fixture
def greeting(monkeypatch):
    monkeypatch.setenv("GREETING", "hello")

class SyncTests(DatabaseTestCase):
    @pytest.fixture(autouse=True)
    def take(self, tmp_path, monkeypatch):
        self.directory = tmp_path
        monkeypatch.chdir(tmp_path)

    @pytest.mark.usefixtures("greeting")
    def test(self):
        import os
        self.assertEqual(os.environ["GREETING"], "hello")
        self.assertEqual(os.getcwd(), str(self.directory.resolve()))
        self.assertEqual(self.connection.exec_driver_sql("SELECT 1").scalar(), 1)

@pytest.mark.usefixtures("greeting")
class AsyncTests(AsyncDatabaseTestCase):
    @pytest.fixture(autouse=True)
    def take(self, tmp_path):
        self.directory = tmp_path

    async def test(self):
        import os
        self.assertEqual(os.environ["GREETING"], "hello")
        self.assertTrue(self.directory.is_dir())
        await self.assertDatabaseEmpty()
"""


class Options(unittest.TestCase):
    """What ``python -m unittest`` can be told, with tests of both colours that fail."""

    def run_suite(self, *options: str) -> tuple[str, str]:
        """Return what tests that fail print, on both streams."""
        with TemporaryDirectory() as directory:
            Path(directory, "test_notes.py").write_text(_NOTES)
            ran = subprocess.run(
                [sys.executable, "-W", "error", "-m", "unittest", *options],
                cwd=directory,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "DBTESTCASE_DATABASE": "sqlite://",
                    "DBTESTCASE_SQL": "",
                },
                capture_output=True,
                text=True,
                check=False,
                timeout=5 * PATIENCE,
            )
        self.assertEqual(ran.returncode, 1, ran.stderr)
        return ran.stdout, ran.stderr

    def failed(self, output: str) -> list[str]:
        """Return the identifiers in the headings of failures."""
        return re.findall(r"(?m)^FAIL: test_\w+ \((.*?)\)", output)

    def test_none(self) -> None:
        printed, said = self.run_suite()
        self.assertEqual(
            self.failed(said),
            [
                "test_notes.AsyncNotes.test_fails",
                "test_notes.AsyncNotes.test_sub_tests",
                "test_notes.Notes.test_fails",
                "test_notes.Notes.test_sub_tests",
            ],
        )
        self.assertIn("(number=2)", said)
        self.assertIn("Ran 6 tests", said)
        for rows in ("1", "2"):
            self.assertEqual(
                said.count(f"the test changed in the database:\n    notes: {rows} "), 2
            )
        self.assertEqual(printed.split(), ["printed"] * 4)

    def test_first_failure_ends_it(self) -> None:
        _, said = self.run_suite("--failfast")
        self.assertEqual(self.failed(said), ["test_notes.AsyncNotes.test_fails"])
        self.assertIn("Ran 1 test ", said)

    def test_output_is_kept_for_failures(self) -> None:
        printed, said = self.run_suite("--buffer", "-k", "*otes.test_fails", "-k", "passes")
        self.assertEqual(printed.split(), ["Stdout:", "printed"] * 2)
        self.assertEqual(said.count("\nStdout:\nprinted\n"), 2)

    def test_pattern(self) -> None:
        _, said = self.run_suite("-v", "-k", "test_notes.Notes.test_?a*s")
        self.assertEqual(
            re.findall(r"(?m)^(test_\w+) \((.*)\)[^\n]* \.\.\. ", said),
            [(name, f"test_notes.Notes.{name}") for name in ("test_fails", "test_passes")],
        )

    def test_local_variables(self) -> None:
        _, said = self.run_suite("--locals", "-k", "*otes.test_fails")
        self.assertEqual(said.count("    mine = 42\n"), 2)

    def test_one_by_its_name(self) -> None:
        _, said = self.run_suite("test_notes.AsyncNotes.test_fails")
        self.assertEqual(self.failed(said), ["test_notes.AsyncNotes.test_fails"])


_NOTES = """
from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase
from sqlalchemy import Column, Integer, MetaData, Table, insert

notes = Table("notes", MetaData(), Column("id", Integer, primary_key=True))

class Notes(DatabaseTestCase):
    metadata = notes.metadata

    def test_fails(self):
        mine = 42
        print("printed")
        self.session.execute(insert(notes))
        self.assertDatabaseEmpty()

    def test_passes(self):
        print("printed")
        self.assertDatabaseEmpty()

    def test_sub_tests(self):
        for number in (1, 2):
            with self.subTest(number=number):
                self.session.execute(insert(notes))
                self.assertDatabaseCount(notes, 1)

class AsyncNotes(AsyncDatabaseTestCase):
    metadata = notes.metadata

    async def test_fails(self):
        mine = 42
        print("printed")
        await self.session.execute(insert(notes))
        await self.assertDatabaseEmpty()

    async def test_passes(self):
        print("printed")
        await self.assertDatabaseEmpty()

    async def test_sub_tests(self):
        for number in (1, 2):
            with self.subTest(number=number):
                await self.session.execute(insert(notes))
                await self.assertDatabaseCount(notes, 1)
"""


class WithSuite(unittest.TestCase):
    """A directory with a suite for runners that know nothing of dbtestcase."""

    def setUp(self) -> None:
        self.directory = Path(self.enterContext(TemporaryDirectory()))
        (self.directory / "notes").mkdir()
        (self.directory / "settings.py").touch()
        shutil.copy(ROOT / "tests" / "workers.py", self.directory / "test_workers.py")

    def run_suite(self, *command: str, processes: int, database: str = "pgserver://") -> str:
        """Run the suite, check that no process shares a database, and return the output."""
        ran = subprocess.run(
            [sys.executable, "-W", "error", *command],
            cwd=self.directory,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
                "DBTESTCASE_DATABASE": database,
                "DJANGO_SETTINGS_MODULE": "settings",
                "NOTES": str(self.directory / "notes"),
                "PROCESSES": str(processes),
                **_NO_PLUGINS,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=10 * PATIENCE,
        )
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        users: dict[str, set[str]] = defaultdict(set)
        for path in (self.directory / "notes").iterdir():
            process, database = path.name.split()
            users[database].add(process)
        self.assertEqual([len(pids) for pids in users.values()], [1] * len(users))
        self.assertEqual(len(set.union(*users.values())), processes)
        return ran.stdout + ran.stderr


class Workers(WithSuite):
    """Runners with several processes, where they have them."""

    ids = [
        f"test_workers.{case}.test_{number}"
        for case in ("AsyncTests", "AsyncTruncationTests", "SyncTests", "TruncationTests")
        for number in (1, 2)
    ]

    def test_unittest_with_durations(self) -> None:
        durations = ("--durations", "3") if sys.version_info >= (3, 12) else ()
        output = self.run_suite("-m", "unittest", "-v", *durations, processes=1)
        for test in self.ids:
            self.assertIn(f"({test})", output)

    def test_unittest_parallel(self) -> None:
        options = ("-v", "-j", "2", "--level", "class")
        output = self.run_suite("-m", "unittest_parallel", *options, processes=2)
        self.assertIn("Ran 8 tests", output)
        self.assertIn("test_1 (test_workers.AsyncTests.test_1) ... ok", output)

    def test_pytest_asyncio_beside_it(self) -> None:
        scope = ("-o", "asyncio_default_fixture_loop_scope=function")
        for mode in ("strict", "auto"):
            with self.subTest(mode):
                options = ("-p", "asyncio", "-v", *scope, f"--asyncio-mode={mode}")
                output = self.run_suite("-m", "pytest", *options, processes=1)
                self.assertIn("8 passed", output)
                self.assertIn(f"asyncio: mode=Mode.{mode.upper()}", output)
                self.forget()

    def test_pytest_xdist(self) -> None:
        self.assertIn("8 passed", self.run_suite("-m", "pytest", *_XDIST, "2", processes=2))

    def django(self, start_method: str, database: str = "pgserver://") -> None:
        """Check the runner with two processes that are started by ``start_method``."""
        options = ("parallel=2", start_method)
        output = self.run_suite("-c", _DJANGO, *options, processes=2, database=database)
        self.assertIn("Ran 8 tests", output)
        for test in self.ids:
            self.assertIn(f"({test}) ... ok", output)

    def test_django_runner(self) -> None:
        output = self.run_suite("-c", _DJANGO, "parallel=0", "spawn", processes=1)
        self.assertIn("Ran 8 tests", output)

    def test_django_runner_that_forks(self) -> None:
        self.django("fork")

    def test_django_runner_that_spawns(self) -> None:
        self.django("spawn")

    def test_django_runner_with_a_fork_server(self) -> None:
        self.django("forkserver")

    @needs_postgresql
    def test_django_runner_on_postgresql(self) -> None:
        for start_method in ("fork", "spawn"):
            with self.subTest(start_method):
                self.django(start_method, POSTGRESQL)
                databases = self.forget()
                with postgresql_server() as connection:
                    there = set(connection.scalars(text("SELECT datname FROM pg_database")))
                self.assertEqual(there.intersection(databases), set())

    @needs_mysql
    def test_django_runner_on_mysql(self) -> None:
        for start_method in ("fork", "spawn"):
            with self.subTest(start_method):
                self.django(start_method, MYSQL)
                self.forget()

    def forget(self) -> list[str]:
        """Remove the notes, and return the databases in them."""
        notes = list((self.directory / "notes").iterdir())
        for path in notes:
            path.unlink()
        return [path.name.split()[1] for path in notes]

    def test_fork_of_a_process_that_has_run_tests(self) -> None:
        output = self.run_suite("-c", _USED + _DJANGO, "parallel=2", "fork", processes=3)
        self.assertRegex(output, r"Ran 4 tests[\s\S]*Ran 8 tests")

    def test_stestr(self) -> None:
        options = ("--test-path", ".", "run", "--concurrency", "2")
        output = self.run_suite("-m", "stestr", *options, processes=2)
        self.assertIn("Passed: 8", output)
        for test in self.ids:
            self.assertIn(test, output)


class Eight:
    """Eight processes at once, whatever database they use."""

    url: str

    @tried("eight workers of pytest at once", "a suite", "passes")
    def test_pytest(self: Any) -> None:
        shutil.copy(self.directory / "test_workers.py", self.directory / "test_more.py")
        output = self.run_suite("-m", "pytest", *_XDIST, "8", processes=8, database=self.url)
        self.assertIn("16 passed", output)


@reporting
class EightOnSQLite(Eight, WithSuite):
    title = "SQLite"

    def setUp(self) -> None:
        super().setUp()
        self.url = f"sqlite:///{self.directory}/file.db"


@test_pglite_server.needs_it
@reporting
class EightOnPGlite(Eight, WithSuite):
    title = "PGlite"
    url = "pglite://"


@test_postgres_server.needs_it
@reporting
class EightOnPGServer(Eight, WithSuite):
    title = "pgserver"
    url = "pgserver://"


@needs_postgresql
@reporting
class EightOnPostgreSQL(Eight, WithSuite):
    title = "PostgreSQL"
    url = POSTGRESQL


@needs_mysql
@reporting
class EightOnMySQL(Eight, WithSuite):
    title = "MariaDB"
    url = MYSQL


# Before it forks, the process itself runs tests of a sync and of an async class.
_USED = """
import os, unittest, test_workers
processes = os.environ["PROCESSES"]
os.environ["PROCESSES"] = "1"
loader = unittest.defaultTestLoader
cases = [test_workers.SyncTests, test_workers.AsyncTests]
suite = unittest.TestSuite(map(loader.loadTestsFromTestCase, cases))
assert unittest.TextTestRunner().run(suite).wasSuccessful()
os.environ["PROCESSES"] = processes
"""

# Those of all packages that tests need take pytest three seconds to import, in each process.
_NO_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
_XDIST = ("-p", "xdist", "--dist", "loadscope", "-n")

_DJANGO = """
import multiprocessing, sys, django
from django.test.runner import DiscoverRunner
multiprocessing.set_start_method(sys.argv[2])
django.setup()
parallel = int(sys.argv[1].partition("=")[2])
sys.exit(DiscoverRunner(parallel=parallel, verbosity=2).run_tests(["."]))
"""
