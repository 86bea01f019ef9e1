"""Connections that a test takes from an engine and does not give back."""

from __future__ import annotations

import gc
import logging
import re
import unittest
import warnings
from contextlib import suppress
from queue import Queue
from threading import Event, Thread
from typing import Any
from unittest import TestCase, expectedFailure

from sqlalchemy import insert, select
from sqlalchemy.engine import Connection

from dbtestcase import InterleavedTransactionsError

from .. import inner
from ..models import User
from ..waiting import PATIENCE
from .behaviour import Async, Behaviour, Sync

COLOURS = (Sync, Async)


class Unreturned(TestCase):
    def setUp(self) -> None:
        self.kept: list[Connection] = []
        self.enterContext(warnings.catch_warnings())
        # A connection of an async engine that is never closed is SQLAlchemy's to complain of too.
        warnings.filterwarnings("ignore", "The garbage collector")
        pools = logging.getLogger("sqlalchemy.pool")
        self.addCleanup(pools.setLevel, pools.level)
        pools.setLevel(logging.CRITICAL)
        self.addCleanup(gc.collect)
        self.addCleanup(self.kept.clear)

    def run_case(self, colour: Any, **methods: Any) -> Any:
        return inner.run(type("Inner", (Behaviour, colour), methods))

    def test_it_is_reported(self) -> None:
        def test_1(case: Any) -> None:
            self.kept.append(case.app_engine.connect())
            self.kept[-1].execute(insert(User).values(name="bob"))

        def test_2(case: Any) -> None:
            case.assertEqual(case.names(), ["alice"])

        for colour in COLOURS:
            with self.subTest(colour.__name__):
                result = self.run_case(colour, test_1=test_1, test_2=test_2)
                message = inner.only_error(self, result)
                self.assertEqual(result.testsRun, 2)
                self.assertIn("StaleConnectionError", message)
                self.assertIn("Inner.test_1: ", message)
                self.assertIn("INSERT INTO users", message)
                self.assertRegex(message, r"opened at \S+test_unreturned\.py:\d+")
                self.assertIn("To fix this, close it", message)

    def test_also_one_that_has_committed_or_done_nothing(self) -> None:
        def test_committed(case: Any) -> None:
            self.kept.append(case.app_engine.connect())
            self.kept[-1].execute(insert(User).values(name="bob"))
            self.kept[-1].commit()

        def test_nothing(case: Any) -> None:
            self.kept.append(case.own_engine.connect())

        def test_other(case: Any) -> None:
            case.assertEqual(case.names(), ["alice"])

        tests = {"test_committed": test_committed, "test_nothing": test_nothing}
        for colour in COLOURS:
            with self.subTest(colour.__name__):
                result = self.run_case(colour, **tests, test_other=test_other)
                reported = "".join(text for _, text in result.errors)
                found = re.findall(r"StaleConnectionError: \S+Inner\.(\w+): ", reported)
                self.assertEqual((found, result.testsRun), (["test_committed", "test_nothing"], 3))

    def test_not_of_a_test_that_fails_anyway(self) -> None:
        def test_fails(case: Any) -> None:
            self.kept.append(case.app_engine.connect())
            case.fail("for a reason of its own")

        def test_skips(case: Any) -> None:
            self.kept.append(case.app_engine.connect())
            case.skipTest("for now")

        for colour in COLOURS:
            with self.subTest(colour.__name__):
                result = self.run_case(colour, test_fails=test_fails, test_skips=test_skips)
                self.assertIn("a reason of its own", inner.only_error(self, result))
                self.assertEqual(len(result.skipped), 1)

    def test_not_of_one_that_is_expected_to_fail(self) -> None:
        @expectedFailure
        def test(case: Any) -> None:
            self.kept.append(case.app_engine.connect())
            case.fail("as expected")

        for colour in COLOURS:
            with self.subTest(colour.__name__):
                result = self.run_case(colour, test_1=test)
                self.assertEqual((len(result.expectedFailures), result.errors), (1, []))

    def test_not_of_an_earlier_run_of_the_test(self) -> None:
        def test(case: Any) -> None:
            if not self.kept:
                self.kept.append(case.app_engine.connect())
                case.fail("at first")

        case = type("Inner", (Behaviour, Sync), {"test": test})
        result = unittest.TestResult()
        unittest.TestSuite([case("test"), case("test")]).run(result)
        self.assertIn("at first", inner.only_error(self, result))

    def test_not_of_one_that_works_for_all_tests_of_the_class(self) -> None:
        """It may be in the middle of something when a test ends."""
        asked: Queue[Any] = Queue()
        taken = Event()

        def work(case: Any) -> None:
            for ask in iter(asked.get, None):
                with case.app_engine.connect() as connection:
                    connection.execute(select(User)).all()
                    taken.set()
                    ask.wait()
                taken.clear()

        def set_up_class(cls: Any) -> None:
            super(cls, cls).setUpClass()
            worker = Thread(target=work, args=(cls,))
            worker.start()
            cls.addClassCleanup(worker.join)
            cls.addClassCleanup(asked.put, None)
            cls.done = Event()
            cls.addClassCleanup(cls.done.set)

        def test(case: Any) -> None:
            asked.put(case.done)
            case.assertTrue(taken.wait(PATIENCE))

        methods = {"setUpClass": classmethod(set_up_class), "test": test}
        inner.passed(self, self.run_case(Sync, **methods), 1)

    def test_what_is_given_back_in_time(self) -> None:
        def test_clean_up(case: Any) -> None:
            connection = case.app_engine.connect()
            case.addCleanup(connection.close)
            connection.execute(select(User)).all()

        def test_own(case: Any) -> None:
            case.own_connection.execute(select(User)).all()
            case.own_session.execute(select(User)).all()

        def test_detached(case: Any) -> None:
            with case.app_engine.connect() as connection:
                connection.execute(select(User)).all()
                connection.detach()

        def set_up(case: Any) -> None:
            case.addCleanup(lambda: case.connection_of_mixin.close())  # noqa: PLW0108
            super(case_of_mixin[0], case).setUp()
            case.connection_of_mixin = case.app_engine.connect()

        case_of_mixin: list[Any] = []
        case_of_mixin.append(type("Inner", (Behaviour, Sync), {"setUp": set_up, "test": test_own}))
        inner.passed(self, inner.run(*case_of_mixin), 1)
        tests = {"test_clean_up": test_clean_up, "test_own": test_own}
        inner.passed(self, self.run_case(Sync, **tests, test_detached=test_detached), 3)
        inner.passed(self, self.run_case(Async, test_own=test_own), 1)

    def test_one_of_the_class_serves_all_tests(self) -> None:
        def set_up_class(cls: Any) -> None:
            super(cls, cls).setUpClass()
            self.kept.append(cls.app_engine.connect())
            cls.addClassCleanup(self.kept[-1].close)

        def test(case: Any) -> None:
            case.assertEqual(len(self.kept[-1].execute(select(User)).all()), 1)
            self.kept[-1].rollback()

        tests = {"setUpClass": classmethod(set_up_class), "test_1": test, "test_2": test}
        inner.passed(self, self.run_case(Sync, **tests), 2)

    def test_one_whose_roll_back_is_refused(self) -> None:
        """It is closed all the same: SQLAlchemy would leave it to the garbage collector."""

        def test_raises(case: Any) -> None:
            with case.app_engine.connect() as connection:
                connection.execute(insert(User).values(name="bob"))
                case.register("carl")

        def test_swallows(case: Any) -> None:
            with suppress(InterleavedTransactionsError):
                test_raises(case)

        def test_then(case: Any) -> None:
            case.assertEqual(case.names(), ["alice"])

        tests = {"test_raises": test_raises, "test_swallows": test_swallows}
        for colour in COLOURS:
            with self.subTest(colour.__name__), warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                result = self.run_case(colour, **tests, test_then=test_then)
                errors = [text for _, text in result.errors]
                self.assertEqual((len(errors), result.testsRun), (2, 3))
                for text in errors:
                    self.assertIn("InterleavedTransactionsError", text)
                del result
                gc.collect()
                self.assertEqual([str(each.message) for each in warned], [])
