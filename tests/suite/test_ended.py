"""A transaction that is ended on the driver's own connection, which no sandbox sees."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from sqlalchemy.util import await_only

from .. import inner
from .behaviour import BACKEND, Async, Behaviour, Sync


async def execute(driver: Any, sql: str) -> None:
    if hasattr(driver, "fetchval"):  # asyncpg
        await driver.execute(sql)
    else:
        async with driver.cursor() as cursor:
            await cursor.execute(sql)


def clean(case: Any) -> None:
    case.assertEqual(case.names(), ["alice"])


class Ended(TestCase):
    def check(self, *statements: str) -> None:
        """Execute ``statements`` behind the back of a test, between others that are clean."""

        def test_2_ends(case: Any) -> None:
            case.register("bob")
            driver = case.own_connection.connection.driver_connection
            for sql in statements:
                await_only(execute(driver, sql))

        tests = {"test_1": clean, "test_2_ends": test_2_ends, "test_3": clean}
        case = type("Inner", (Behaviour, Async), tests)
        result = inner.run(case, type("Next", (case,), {"test_2_ends": clean}))
        if BACKEND.both_colours:  # the driver's connection leads through the stand-in
            inner.passed(self, result, 6)
            return
        message = inner.only_error(self, result)
        self.assertEqual(result.testsRun, 6)
        self.assertIn("TransactionEndedError", message)
        self.assertIn("Inner.test_2_ends: ", message)

    def test_by_commit(self) -> None:
        self.check("COMMIT")

    def test_by_rollback(self) -> None:
        self.check("ROLLBACK")

    def test_by_commit_and_another_one_is_begun(self) -> None:
        self.check("COMMIT", "BEGIN")

    def test_in_a_class_whose_connection_is_older_than_that_of_an_async_one(self) -> None:
        def ends(case: Any) -> None:
            case.register("bob")
            link = case._dbtestcase_databases().by_alias["default"].sandbox.link
            link.call(link.control, ["COMMIT"])

        pairs = ((Sync, clean), (Async, clean), (Sync, ends), (Sync, clean))
        cases = [type("Inner", (Behaviour, colour), {"test_it": test}) for colour, test in pairs]
        result = inner.run(*cases)
        self.assertIn("TransactionEndedError", inner.only_error(self, result))
        self.assertEqual(result.testsRun, 4)
