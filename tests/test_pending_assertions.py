"""Assertions that a test calls and does not use: without ``with``, or without ``await``."""

from __future__ import annotations

import asyncio
import inspect
import unittest
from typing import Any

from sqlalchemy.util import await_only

from dbtestcase import AsyncDatabaseTestCase, AsyncMigrationTestCase, DatabaseTestCase
from dbtestcase.assertions.pending import PendingAssertion

from . import inner
from .models import Base, User

#: Every assertion that is about a block, with arguments that it takes.
OF_BLOCKS: dict[str, tuple[Any, ...]] = {
    "assertConstraintViolated": ("uq_users",),
    "assertDatabaseChanges": ({User: 1},),
    "assertMaxQueries": (0,),
    "assertNoLazyLoads": (),
    "assertNoQueries": (),
    "assertNoRepeatedQueries": (),
    "assertNumQueries": (1000,),
    "assertQueriesMatch": ("never",),
}
#: Those that look at the database before and after the block.
LOOKING = {"assertConstraintViolated", "assertDatabaseChanges"}


class WithoutWith(unittest.TestCase):
    def test_in_sync_tests(self) -> None:
        for name, arguments in OF_BLOCKS.items():

            class Forgetful(DatabaseTestCase):
                metadata = Base.metadata

                def test(self, name: str = name, arguments: Any = arguments) -> None:
                    getattr(self, name)(*arguments)

            with self.subTest(name):
                self.reads(Forgetful, name, f"write `with self.{name}(...):`")

    def test_in_async_tests(self) -> None:
        for name, arguments in OF_BLOCKS.items():

            class Forgetful(AsyncDatabaseTestCase):
                metadata = Base.metadata

                async def test(self, name: str = name, arguments: Any = arguments) -> None:
                    getattr(self, name)(*arguments)

            keyword = "async with" if name in LOOKING else "with"
            with self.subTest(name):
                self.reads(Forgetful, name, f"write `{keyword} self.{name}(...):`")

    def reads(self, case: type[unittest.TestCase], name: str, usage: str) -> None:
        result = inner.run(case)
        self.assertEqual(len(result.failures), 1, result.errors)
        message = inner.only_error(self, result)
        self.assertRegex(
            message,
            rf"AssertionError: nothing was asserted by {name} at .*test_pending_assert.*\.py:\d+, "
            "whose block was never entered\n  To fix this, ",
        )
        self.assertIn(usage, message)

    def test_no_block_is_left_out(self) -> None:
        for name, method in inspect.getmembers(DatabaseTestCase, inspect.isfunction):
            if name.startswith("assert") and not hasattr(unittest.TestCase, name):
                about_block = "with`` block" in (method.__doc__ or "")
                self.assertEqual(about_block, name in OF_BLOCKS, name)

    def test_all_of_a_test_are_named(self) -> None:
        class Forgetful(DatabaseTestCase):
            metadata = Base.metadata

            def test(self) -> None:
                self.assertNumQueries(1)
                with self.assertNoQueries():
                    pass
                self.assertNoLazyLoads()
                self.session.add(User(name="alice"))
                self.session.commit()

            def test_that_runs_next(self) -> None:
                self.assertDatabaseEmpty()

        message = inner.only_error(self, inner.run(Forgetful))
        self.assertIn("by assertNumQueries at", message)
        self.assertIn("by assertNoLazyLoads at", message)
        self.assertNotIn("assertNoQueries", message)

    def test_blocks_that_something_else_enters(self) -> None:
        class Entering(DatabaseTestCase):
            metadata = Base.metadata

            def test(self) -> None:
                statements = self.enterContext(self.assertNumQueries(1))
                self.enterContext(self.assertNoLazyLoads())
                self.session.add(User(name="alice"))
                self.session.commit()
                self.assertEqual(len(statements), 1)

        inner.passed(self, inner.run(Entering), 1)

    def test_the_debug_method_tells_too(self) -> None:
        class Forgetful(DatabaseTestCase):
            metadata = Base.metadata

            def test(self) -> None:
                self.assertNoQueries()

        suite = unittest.defaultTestLoader.loadTestsFromTestCase(Forgetful)
        with self.assertRaisesRegex(AssertionError, "nothing was asserted by assertNoQueries"):
            suite.debug()


class InTheOtherWay(unittest.TestCase):
    def test_with_and_async_with(self) -> None:
        class Confused(AsyncDatabaseTestCase):
            metadata = Base.metadata

            async def test_with(self) -> None:
                with self.assertDatabaseChanges({User: 1}):  # type: ignore[attr-defined]
                    pass

            async def test_async_with(self) -> None:
                async with self.assertNumQueries(1):  # type: ignore[attr-defined]
                    pass

        result = inner.run(Confused)
        self.assertEqual(result.failures, [])
        (_, async_with), (_, with_) = result.errors
        for text, line in (
            (with_, r"the block of assertDatabaseChanges at .*:\d+ is not for `with`\n"),
            (with_, r"write `async with self.assertDatabaseChanges\(...\):`\n"),
            (async_with, r"the block of assertNumQueries at .*:\d+ is not for `async with`\n"),
            (async_with, r"write `with self.assertNumQueries\(...\):`\n"),
        ):
            self.assertRegex(text, line)


class WithoutAwait(unittest.TestCase):
    def test_the_fix_is_named(self) -> None:
        class Forgetful(AsyncDatabaseTestCase):
            metadata = Base.metadata

            async def test(self) -> None:
                self.assertDatabaseCount(User, 1000)

        message = inner.only_error(self, inner.run(Forgetful))
        self.assertRegex(message, r"by assertDatabaseCount at .*:\d+, which was never awaited\n")
        self.assertIn("write `await self.assertDatabaseCount(...)`", message)

    def test_a_test_that_cannot_wait(self) -> None:
        class Plain(AsyncDatabaseTestCase):
            metadata = Base.metadata

            def test(self) -> None:
                self.assertDatabaseCount(User, 1000)

        self.assertIn(
            "write `await self.assertDatabaseCount(...)`, in a test that is an `async def`\n",
            inner.only_error(self, inner.run(Plain)),
        )

    def test_migrating(self) -> None:
        class Forgetful(AsyncMigrationTestCase):
            async def test(self) -> None:
                self.migrate_to("head")
                self.table("users")

        message = inner.only_error(self, inner.run(Forgetful))
        for expected in (
            r"nothing was migrated by migrate_to at .*:\d+, which was never awaited",
            r"To fix this, write `await self.migrate_to\(...\)`\n",
            r"nothing was read by table at .*:\d+, which was never awaited\n",
        ):
            self.assertRegex(message, expected)

    def test_a_task_that_nobody_waits_for(self) -> None:
        async def run() -> PendingAssertion:
            assertion = PendingAssertion("assertDatabaseEmpty", lambda: await_only(never.wait()))
            never = asyncio.Event()
            task = asyncio.ensure_future(assertion)
            await asyncio.sleep(0)
            self.assertTrue(assertion.is_used)
            task.cancel()
            await asyncio.wait([task])
            return assertion

        self.assertFalse(asyncio.run(run()).is_used)

    def test_tasks_that_are_waited_for(self) -> None:
        class Concurrent(AsyncDatabaseTestCase):
            metadata = Base.metadata

            async def test(self) -> None:
                await asyncio.gather(self.assertDatabaseEmpty(), self.assertDatabaseCount(User, 0))

        inner.passed(self, inner.run(Concurrent), 1)

    def test_a_test_that_fails_or_skips_anyway(self) -> None:
        class Forgetful(AsyncDatabaseTestCase):
            metadata = Base.metadata

            async def test_fails(self) -> None:
                self.assertDatabaseEmpty()
                self.fail("for a reason of its own")

            async def test_skips(self) -> None:
                self.assertDatabaseEmpty()
                self.skipTest("for now")

            @unittest.expectedFailure
            async def test_is_expected_to_fail(self) -> None:
                await self.test_fails()

        result = inner.run(Forgetful)
        self.assertIn("a reason of its own", inner.only_error(self, result))
        self.assertEqual((len(result.skipped), len(result.expectedFailures)), (1, 1))


class Tracebacks(unittest.TestCase):
    def test_end_in_the_test(self) -> None:
        class Sync(DatabaseTestCase):
            metadata = Base.metadata

            def test_rows(self) -> None:
                self.assertDatabaseHas(User)

            def test_changes(self) -> None:
                with self.assertDatabaseChanges({User: 1}):
                    pass

            def test_queries(self) -> None:
                with self.assertNumQueries(1):
                    pass

        class Async(AsyncDatabaseTestCase):
            metadata = Base.metadata

            async def test_rows(self) -> None:
                await self.assertDatabaseHas(User)

            async def test_changes(self) -> None:
                async with self.assertDatabaseChanges({User: 1}):
                    pass

            async def test_queries(self) -> None:
                with self.assertNumQueries(1):
                    pass

        result = inner.run(Sync, Async)
        self.assertEqual((len(result.failures), result.errors), (6, []))
        for test, message in result.failures:
            with self.subTest(test.id()):
                innermost = message.rpartition('  File "')[2]
                self.assertIn("test_pending_assertions.py", innermost)
