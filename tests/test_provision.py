"""Templates are built once; databases are lent, reused, and left to the process they are of."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import Column, Integer, MetaData, Table, event, text
from sqlalchemy.exc import DBAPIError

from dbtestcase import DatabaseTestCase
from dbtestcase.backends import backend_for
from dbtestcase.backends.scratch import ScratchDirectory, abandoned
from dbtestcase.backends.sqlite_database import SQLiteDatabase
from dbtestcase.provision import Provisioner

from . import inner
from .models import Base, User
from .processes import in_a_child
from .waiting import PATIENCE

ROOT = Path(__file__).parent.parent


class Building(unittest.TestCase):
    def test_once_for_all_classes(self) -> None:
        metadata = MetaData()
        Table("things", metadata, Column("id", Integer, primary_key=True))
        built = []
        event.listen(metadata, "after_create", lambda *args, **kwargs: built.append(1))

        def case(number: int) -> type[DatabaseTestCase]:
            def test(self: Any) -> None:
                self.assertDatabaseCount("things", 0)

            attributes = {"metadata": metadata, "test": test}
            return type(f"Things{number}", (DatabaseTestCase,), attributes)

        inner.passed(self, inner.run(*map(case, range(20))), 20)
        self.assertEqual(len(built), 1)

    def test_again_when_the_metadata_has_grown(self) -> None:
        metadata = MetaData()

        class Growing(DatabaseTestCase):
            def test(self) -> None:
                self.assertDatabaseCount(self.table, 0)

        Growing.metadata = metadata
        for name in ("first", "second"):
            Growing.table = Table(name, metadata, Column("id", Integer))
            inner.passed(self, inner.run(Growing), 1)

    def test_an_error_is_remembered(self) -> None:
        attempts = []

        class Broken(DatabaseTestCase):
            @classmethod
            def setUpDatabase(cls, connection: Any) -> None:
                attempts.append(1)
                connection.execute(text("CREATE NONSENSE"))

            def test(self) -> None: ...

        class Again(Broken):
            pass

        result = inner.run(Broken, Again)
        self.assertEqual(len(result.errors), 2)
        self.assertIn("CREATE NONSENSE", result.errors[1][1])
        self.assertEqual(len(attempts), 1)

    def test_a_connection_that_is_lost_while_building_costs_one_class(self) -> None:
        """A hook is not run again for it, which may have done more than can be undone."""
        attempts = []

        class Unlucky(DatabaseTestCase):
            @classmethod
            def setUpDatabase(cls, connection: Any) -> None:
                attempts.append(1)
                if len(attempts) == 1:
                    raise DBAPIError("SELECT 1", {}, Exception("gone"), connection_invalidated=True)

            def test(self) -> None: ...

        class Again(Unlucky):
            pass

        result = inner.run(Unlucky, Again)
        self.assertEqual((len(result.errors), result.testsRun), (1, 1), result.errors)
        self.assertIn("gone", result.errors[0][1])
        self.assertEqual(len(attempts), 2)

    def test_a_copy_that_cannot_be_dropped_is_not_used_again(self) -> None:
        class First(DatabaseTestCase):
            metadata = Base.metadata
            isolation = "truncation"

            @classmethod
            def setUpTestData(cls, session: Any) -> None:
                session.add(User(name="of the first class"))

            def test(self) -> None:
                self.assertDatabaseCount(User, 1)

        class Second(DatabaseTestCase):
            metadata = Base.metadata
            isolation = "truncation"

            def test(self) -> None:
                self.assertDatabaseEmpty()

        drop = SQLiteDatabase.drop
        failing = [OSError("cannot be dropped")]

        def fail_once(database: SQLiteDatabase) -> None:
            drop(database)
            if failing:
                raise failing.pop()

        with mock.patch.object(SQLiteDatabase, "drop", fail_once):
            result = inner.run(First, Second)
        [(_, error)] = result.errors
        self.assertIn("cannot be dropped", error)
        self.assertEqual((result.failures, result.testsRun), ([], 2))

    def test_a_broken_or_lost_database_is_not_lent_again(self) -> None:
        provisioner = Provisioner()
        self.addCleanup(provisioner.close)
        backend = backend_for("sqlite://")
        first = provisioner.borrow("key", backend, "", lambda connection: None)
        provisioner.give_back("key", first)
        self.assertIs(provisioner.borrow("key", backend, "", lambda connection: None), first)
        first.sandbox.intact = False
        provisioner.give_back("key", first)
        second = provisioner.borrow("key", backend, "", lambda connection: None)
        self.assertIsNot(second, first)
        with mock.patch.object(backend, "losses", backend.losses + 1):
            provisioner.give_back("key", second)
        third = provisioner.borrow("key", backend, "", lambda connection: None)
        self.assertIsNot(third, second)
        third.drop()

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_a_child_is_lent_nothing_of_its_parents(self) -> None:
        provisioner = Provisioner()
        self.addCleanup(provisioner.close)
        with inner.directory() as directory:
            backend = backend_for(f"sqlite:///{directory}/app.db")
            first = provisioner.borrow("key", backend, "", lambda connection: None)
            provisioner.give_back("key", first)
            child = os.fork()
            if child == 0:
                other = provisioner.borrow("key", backend, "", lambda connection: None)
                alone = other is not first and len(os.listdir(directory)) == 2
                provisioner.close()
                os._exit(0 if alone else 1)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            self.assertIs(provisioner.borrow("key", backend, "", lambda connection: None), first)
            first.drop()

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_nothing_is_shared_after_a_fork(self) -> None:
        class Forked(DatabaseTestCase):
            metadata = Base.metadata
            isolation = "truncation"

            def test(self) -> None:
                self.session.add(User(name="bob"))
                self.session.commit()
                self.assertDatabaseCount(User, 1)

        inner.passed(self, inner.run(Forked), 1)
        child = os.fork()
        if child == 0:
            ok = inner.run(Forked).wasSuccessful()
            os._exit(0 if ok else 1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        inner.passed(self, inner.run(Forked), 1)


class LeavingNothingBehind(unittest.TestCase):
    SCRIPT = """
import asyncio, os, signal, sys, unittest
from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase
from tests.models import Base, User, app_async_engine, register_async

class Killed(AsyncDatabaseTestCase):
    metadata = Base
    database = sys.argv[1]
    isolation = sys.argv[2]
    engines = app_async_engine

    async def test(self):
        await register_async("bob")
        await self.assertDatabaseCount(User, 1)
        self.leaked = await self.engine.connect()
        print("ready", flush=True)
        {end}

unittest.main(argv=["x"])
"""

    def script(self, end: str, directory: Path, isolation: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, "-c", self.SCRIPT.format(end=end)),
                *(f"sqlite:///{directory}/app.db", isolation),
            ],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def make_old(self, directory: Path) -> None:
        for made in directory.glob("dbtestcase-*"):
            os.utime(made, (0, 0))

    def test_a_run_that_ends(self) -> None:
        isolations = ("transaction", "truncation", "template")
        for end in ("pass", "1 / 0", "raise KeyboardInterrupt", "sys.exit(3)"):
            with self.subTest(end), inner.directory() as directory:
                runs = [self.script(end, directory, isolation) for isolation in isolations]
                errors = [run.communicate(timeout=PATIENCE)[1] for run in runs]
                self.assertNotIn("ResourceWarning", "".join(errors))
                self.assertEqual(os.listdir(directory), [], errors)

    def test_a_killed_run_is_swept_by_the_next(self) -> None:
        with inner.directory() as directory:
            process = self.script("os.kill(os.getpid(), signal.SIGKILL)", directory, "template")
            process.communicate(timeout=PATIENCE)
            left = os.listdir(directory)
            self.script("pass", directory, "transaction").communicate(timeout=PATIENCE)
            self.assertEqual(os.listdir(directory), left)  # it might be new, and not locked yet
            self.make_old(directory)
            self.script("pass", directory, "transaction").communicate(timeout=PATIENCE)
            self.assertEqual(os.listdir(directory), [])

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_what_is_old_by_a_clock_that_was_set(self) -> None:
        with inner.directory() as directory:
            in_a_child(lambda: ScratchDirectory(directory))
            living = ScratchDirectory(directory)
            self.addCleanup(living.remove)
            [killed] = {*directory.iterdir()} - {living.path}
            now = time.time()
            for moment, left in {0.0: True, now + 2 * 86_400: True, now + 100: False}.items():
                for path in (killed, living.path):
                    os.utime(path, (moment, moment))
                self.assertEqual(abandoned(directory), [killed] if left else [])

    def test_a_living_run_is_not_swept(self) -> None:
        with inner.directory() as directory:
            living = self.script("sys.stdin.read()", directory, "template")
            assert living.stdout is not None
            self.assertEqual(living.stdout.readline(), "ready\n")
            alive = os.listdir(directory)
            self.make_old(directory)
            self.script("pass", directory, "transaction").communicate(timeout=PATIENCE)
            self.assertEqual(os.listdir(directory), alive)
            living.communicate(timeout=PATIENCE)

    def test_what_is_not_ours_is_left_alone(self) -> None:
        with inner.directory() as directory:
            (directory / "app.db").write_text("precious")
            (directory / "dbtestcase-of-somebody").write_text("a file")
            (directory / "dbtestcase-empty").mkdir()
            (directory / "dbtestcase-project").mkdir()
            (directory / "dbtestcase-project" / "owner.sqlite").touch()
            (directory / "dbtestcase-project" / "precious").touch()
            (directory / "dbtestcase-unmarked").mkdir()
            (directory / "dbtestcase-unmarked" / "owner.sqlite").touch()
            os.symlink(directory / "dbtestcase-unmarked", directory / "dbtestcase-link")
            self.make_old(directory)
            before = sorted(directory.rglob("*"))
            _, errors = self.script("pass", directory, "truncation").communicate(timeout=PATIENCE)
            self.assertIn("OK", errors)
            self.assertEqual(sorted(directory.rglob("*")), before)
            self.assertEqual((directory / "app.db").read_text(), "precious")
