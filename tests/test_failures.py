"""The notes on what fails a test, and what does not fail it."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import shutil
import sqlite3
import unittest
from contextlib import closing, redirect_stderr
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase

from . import inner
from .models import Base, User, app_async_engine, app_engine, register, register_async

CHANGED = "Until it failed, the test changed in the database:\n    users: 1 inserted\n"


class Inner(DatabaseTestCase):
    metadata = Base.metadata
    engines = [app_engine, app_async_engine]

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        session.add(User(name="alice"))


def failures(case: type[unittest.TestCase], **environment: str) -> list[str]:
    """Run ``case`` and return the texts of its failures and errors, in their order."""
    with mock.patch.dict(os.environ, environment):
        result = inner.run(case)
    return [text for _, text in result.failures + result.errors]


def discard(directory: str) -> None:
    """Remove what was kept."""
    if "/dbtestcase-kept-" in directory:
        shutil.rmtree(directory)


class What(unittest.TestCase):
    """Which failures carry notes."""

    def test_errors_of_each_phase(self) -> None:
        class InSetUp(Inner):
            def setUp(self) -> None:
                super().setUp()
                register("bob")
                raise ZeroDivisionError

            def test(self) -> None: ...

        class InTest(Inner):
            def test(self) -> None:
                register("bob")
                raise ZeroDivisionError

        class InTearDown(Inner):
            def tearDown(self) -> None:
                register("bob")
                raise ZeroDivisionError

            def test(self) -> None: ...

        class InCleanup(Inner):
            def clean(self) -> None:
                register("bob")
                raise ZeroDivisionError

            def test(self) -> None:
                self.addCleanup(self.clean)

        for case in (InSetUp, InTest, InTearDown, InCleanup):
            with self.subTest(case.__name__):
                [message] = failures(case)
                self.assertIn(f"ZeroDivisionError\n{CHANGED}", message)

    def test_several_errors_of_one_test_in_their_order(self) -> None:
        class Case(Inner):
            def tearDown(self) -> None:
                register("carl")
                raise ValueError("second")

            def test(self) -> None:
                register("bob")
                raise ValueError("first")

        first, second = failures(Case)
        self.assertIn(f"first\n{CHANGED}", first)
        self.assertIn("second\nUntil it failed, the test changed in the database:", second)
        self.assertIn("    users: 2 inserted\n", second)

    def test_each_sub_test_and_the_test_after_them(self) -> None:
        class Case(Inner):
            def test(self) -> None:
                for name in ("bob", "carl"):
                    with self.subTest(name):
                        register(name)
                        self.fail()
                with self.subTest("passes"):
                    register("dora")
                self.fail()

        messages = failures(Case)
        counts = [message.split("users: ")[1][:10] for message in messages]
        self.assertEqual(counts, ["1 inserted", "2 inserted", "3 inserted"])

    def test_what_was_not_committed_is_told_too(self) -> None:
        class Case(Inner):
            def tearDown(self) -> None:
                self.session.rollback()

            def test(self) -> None:
                self.session.add(User(name="bob"))
                self.session.flush()
                self.fail()

        [message] = failures(Case)
        self.assertIn(CHANGED, message)

    def test_a_test_that_changed_nothing(self) -> None:
        class Case(Inner):
            def test(self) -> None:
                self.fail()

        [message] = failures(Case)
        self.assertIn("Until it failed, the test changed nothing in the database.\n", message)

    def test_set_up_that_forgets_to_call_ours(self) -> None:
        class Case(Inner):
            def setUp(self) -> None: ...

            def test(self) -> None:
                self.fail("as expected")

        [message] = failures(Case, DBTESTCASE_SQL="failed", DBTESTCASE_KEEP="1")
        self.assertTrue(message.endswith("AssertionError: as expected\n"), message)

    def test_what_does_not_fail_a_test(self) -> None:
        class Case(Inner):
            def setUp(self) -> None:
                super().setUp()
                register("bob")

            @unittest.expectedFailure
            def test_expected(self) -> None:
                self.fail()

            def test_skipped(self) -> None:
                self.skipTest("no")

            def test_skipped_sub_test(self) -> None:
                with self.subTest():
                    self.skipTest("no")

        with mock.patch("dbtestcase.observation.changes") as looked:
            result = inner.run(Case)
        self.assertTrue(result.wasSuccessful())
        self.assertEqual((len(result.skipped), len(result.expectedFailures)), (2, 1))
        self.assertNotIn("Until it failed", result.expectedFailures[0][1])
        looked.assert_not_called()

    def test_pytest_skips_by_raising(self) -> None:
        class Case(Inner):
            def test_skips(self) -> None:
                pytest.skip("no")

            def test_fails(self) -> None:
                pytest.fail("yes")

        fails, skips = failures(Case)
        self.assertIn("Until it failed, ", fails)
        self.assertNotIn("Until it failed, ", skips)

    def test_async_sub_tests(self) -> None:
        class Case(AsyncDatabaseTestCase):
            metadata = Base.metadata
            engines = [app_engine, app_async_engine]

            async def test(self) -> None:
                for name in ("bob", "carl"):
                    with self.subTest(name):
                        await register_async(name)
                        self.fail()

        for message in failures(Case):
            self.assertIn(
                "Until its end, the test changed in the database:\n    users: 2 inserted", message
            )

    def test_each_of_several_databases(self) -> None:
        class Case(DatabaseTestCase):
            databases = {"default": {"metadata": Base.metadata}, "other": {}}

            def test(self) -> None:
                self.session.add(User(name="bob"))
                self.session.commit()
                with self.engine_of("other").begin() as connection:
                    connection.execute(text("CREATE TABLE new AS SELECT 1 AS one"))
                self.fail()

        [message] = failures(Case, DBTESTCASE_KEEP="1")
        self.assertEqual(message.count("The database is kept, as it was then."), 2)
        self.assertIn("    users: 1 inserted\n    new: created, 1 row (other)\n", message)
        self.assertIn("test.other.sqlite", message)
        for kept in message.split("rm -r ")[1:]:
            discard(kept.splitlines()[0])

    def test_database_that_cannot_be_looked_at(self) -> None:
        class Case(Inner):
            def test(self) -> None:
                self.fail("this first")

        with mock.patch("dbtestcase.evidence.observe", side_effect=OSError("gone\nreally")):
            [message] = failures(Case)
        self.assertTrue(
            message.endswith(
                "AssertionError: this first\n"
                "What the test changed in the database cannot be told: OSError: gone\n"
            ),
            message,
        )

    def test_class_data_that_is_another_after_a_rebuild(self) -> None:
        numbers = itertools.count()

        class Case(Inner):
            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                session.add(User(name=f"alice{next(numbers)}"))

            def test_1(self) -> None:
                self.fail()

            def test_2(self) -> None:
                for _ in range(2):
                    self.connection.exec_driver_sql(
                        "INSERT OR ROLLBACK INTO users (id, name) VALUES (9, 'bob')"
                    )

            def test_3(self) -> None:
                self.fail()

        first, last, broken = failures(Case)
        self.assertEqual(next(numbers), 2)
        for message in (first, last):
            self.assertIn("Until it failed, the test changed nothing in the database.\n", message)
        self.assertIn("Until it failed, the test changed in the database:\n    users: 1", broken)

    def test_clean_up_that_fails_is_an_error_of_its_own(self) -> None:
        class Case(Inner):
            def test(self) -> None:
                self.connection.exec_driver_sql("INSERT INTO users (name) VALUES ('bob')")
                with contextlib.suppress(Exception):
                    self.connection.exec_driver_sql(
                        "INSERT OR ROLLBACK INTO users (name) VALUES ('bob')"
                    )
                raise ZeroDivisionError

            def test_again_is_clean(self) -> None:
                self.assertDatabaseCount(User, 1)

        messages = failures(Case)
        self.assertTrue(
            messages[0].endswith(
                "ZeroDivisionError\n"
                "What the test changed in the database cannot be told: its isolation was broken.\n"
            ),
            messages[0],
        )
        self.assertIn("TransactionEndedError", messages[-1])


class Runs(unittest.TestCase):
    """Who runs a test makes no difference to it."""

    def test_the_runners_result_is_returned(self) -> None:
        outer = self

        class Case(Inner):
            def test(self) -> None: ...

        class Suite(unittest.TestSuite):
            def run(self, result: Any, debug: bool = False) -> Any:
                for test in self:
                    outer.assertIs(test(result), result)  # type: ignore[operator]
                return result

        Case.setUpClass()
        try:
            Suite([Case("test")]).run(unittest.TestResult())
            self.assertEqual(Case("test").run().testsRun, 1)  # type: ignore[union-attr]
        finally:
            Case.tearDownClass()
            Case.doClassCleanups()

    def test_debug(self) -> None:
        class Case(Inner):
            def test(self) -> None:
                register("bob")
                raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            unittest.TestSuite([Case("test")]).debug()
        Case.doClassCleanups()

    def test_interrupted(self) -> None:
        class Case(Inner):
            def test(self) -> None:
                with self.subTest():
                    self.fail("before")
                raise KeyboardInterrupt

        result = unittest.TestResult()
        Case.setUpClass()
        case = Case("test")
        try:
            with self.assertRaises(KeyboardInterrupt):
                case.run(result)
            [(_, message)] = result.failures
            self.assertIn("AssertionError: before", message)
        finally:
            case.doCleanups()
            Case.tearDownClass()
            Case.doClassCleanups()

    def test_failfast(self) -> None:
        class Case(Inner):
            def test_1(self) -> None:
                self.fail()

            def test_2(self) -> None: ...

        result = unittest.TestResult()
        result.failfast = True
        unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
        self.assertEqual((result.testsRun, len(result.failures)), (1, 1))

    def test_result_without_sub_tests(self) -> None:
        class Result:
            """As old as unittest."""

            def __init__(self) -> None:
                self.failures: list[Any] = []

            def startTest(self, test: Any) -> None: ...

            def stopTest(self, test: Any) -> None: ...

            def addSuccess(self, test: Any) -> None: ...

            def addDuration(self, test: Any, elapsed: float) -> None: ...

            def addFailure(self, test: Any, error: Any) -> None:
                self.failures.append(error[1])

        class Case(Inner):
            def test(self) -> None:
                with self.subTest():
                    self.fail()

        result: Any = Result()
        Case.setUpClass()
        try:
            Case("test").run(result)
        finally:
            Case.tearDownClass()
            Case.doClassCleanups()
        [failure] = result.failures
        self.assertEqual(
            failure.__notes__, ["Until it failed, the test changed nothing in the database."]
        )


class Variables(unittest.TestCase):
    def test_sql_of_failed_tests(self) -> None:
        class Case(Inner):
            def test_fails(self) -> None:
                register("bob")
                self.fail()

            def test_fails_without(self) -> None:
                self.fail()

            def test_passes(self) -> None:
                register("carl")

        with redirect_stderr(io.StringIO()) as written:
            with_sql, without = failures(Case, DBTESTCASE_SQL="failed")
        self.assertIn("Until it failed, the test executed 1 query:\n  1. INSERT INTO us", with_sql)
        self.assertIn("Until it failed, the test executed no SQL", without)
        self.assertEqual(written.getvalue(), "")

    def test_sql_of_an_error_in_the_clean_up(self) -> None:
        class Case(AsyncDatabaseTestCase):
            metadata = Base.metadata
            engines = app_async_engine

            async def test(self) -> None:
                await register_async("bob")
                self.assertDatabaseCount(User, 1)  # which is not awaited

        [message] = failures(Case, DBTESTCASE_SQL="failed")
        self.assertIn("never awaited", message)
        self.assertIn("Until it failed, the test executed 1 query:\n  1. INSERT INTO us", message)

    def test_kept_file_is_private_and_not_reused(self) -> None:
        class Case(Inner):
            def test(self) -> None:
                for name in ("bob", "carl"):
                    with self.subTest(name):
                        register(name)
                        self.fail()

        messages = [*failures(Case, DBTESTCASE_KEEP="1"), *failures(Case, DBTESTCASE_KEEP="1")]
        paths = [Path(message.split("sqlite3 ")[1].splitlines()[0]) for message in messages]
        self.assertEqual(paths[0], paths[1])
        self.assertEqual(paths[2], paths[3])
        self.assertIn("The database is kept, as it was then. To open it:", messages[0])
        self.assertIn("The database is kept, as it was at another failure of this", messages[1])
        self.assertNotEqual(paths[0], paths[2])
        self.assertEqual(paths[0].parent.stat().st_mode & 0o777, 0o700)
        for path in {*paths}:
            with closing(sqlite3.connect(path)) as connection:
                names = [name for (name,) in connection.execute("SELECT name FROM users")]
            self.assertEqual(names, ["alice", "bob"])  # as at the first failure
            discard(str(path.parent))

    def test_kept_under_another_isolation(self) -> None:
        class Case(Inner):
            isolation = "truncation"

            def tearDown(self) -> None:
                register("carl")

            def test(self) -> None:
                register("bob")
                self.fail()

        [message] = failures(Case, DBTESTCASE_KEEP="1")
        self.assertIn("The database is kept, as it was then. To open it:", message)
        path = Path(message.split("sqlite3 ")[1].splitlines()[0])
        with closing(sqlite3.connect(path)) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM users")]
        self.assertEqual(names, ["alice", "bob"])
        discard(str(path.parent))

    def test_database_that_cannot_be_kept(self) -> None:
        class Case(Inner):
            def test(self) -> None:
                self.fail("this first")

        with mock.patch(
            "dbtestcase.backends.sqlite_database.kept_file", side_effect=OSError("full")
        ):
            [message] = failures(Case, DBTESTCASE_KEEP="1")
        self.assertIn("this first\nThe database cannot be kept: OSError: full\n", message)
        self.assertNotIn("To open it", message)
