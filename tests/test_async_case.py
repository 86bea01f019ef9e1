"""The phases of the async test case, by running inner ones."""

from __future__ import annotations

import asyncio
import threading
import unittest
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from dbtestcase import AsyncDatabaseTestCase, NotReadyError, isolation

from . import inner
from .models import Base, User, app_async_engine, app_engine, register, register_async
from .waiting import PATIENCE


class Inner(AsyncDatabaseTestCase):
    metadata = Base.metadata
    engines = [app_engine, app_async_engine]


class EventLoop(unittest.TestCase):
    def test_is_one_for_the_class_and_not_in_debug_mode(self) -> None:
        loops = set()

        class Loops(Inner):
            @classmethod
            async def asyncSetUpClass(cls) -> None:
                loops.add(asyncio.get_running_loop())
                cls.lock = asyncio.Lock()

            async def test_one(self) -> None:
                loops.add(asyncio.get_running_loop())
                self.assertFalse(asyncio.get_running_loop().get_debug())
                async with self.lock:
                    await self.assertDatabaseEmpty()

            test_two = test_one

            @classmethod
            async def asyncTearDownClass(cls) -> None:
                loops.add(asyncio.get_running_loop())

        inner.passed(self, inner.run(Loops), 2)
        self.assertEqual(len(loops), 1)
        self.assertTrue(loops.pop().is_closed())

    def test_loop_factory(self) -> None:
        class Special(asyncio.SelectorEventLoop):
            pass

        class WithFactory(Inner):
            loop_factory = Special

            async def test(self) -> None:
                self.assertIsInstance(asyncio.get_running_loop(), Special)

        inner.passed(self, inner.run(WithFactory), 1)

    def test_is_current_in_every_test(self) -> None:
        class Current(Inner):
            def setUp(self) -> None:
                super().setUp()
                self.loop = asyncio.get_event_loop()

            def test_1_runs_another_loop(self) -> None:
                asyncio.run(asyncio.sleep(0))

            async def test_2(self) -> None:
                self.assertIs(self.loop, asyncio.get_running_loop())

        inner.passed(self, inner.run(Current), 2)

    def test_tasks_that_a_test_leaves_are_cancelled_those_of_the_class_are_not(self) -> None:
        class Tasks(Inner):
            @classmethod
            async def asyncSetUpClass(cls) -> None:
                cls.of_the_class = asyncio.create_task(asyncio.Event().wait())
                cls.left: list[asyncio.Task[Any]] = []

            async def test_one(self) -> None:
                self.assertFalse(self.of_the_class.done())
                self.assertTrue(all(task.cancelled() for task in self.left))
                self.left.append(asyncio.create_task(asyncio.Event().wait()))

            test_two = test_one

        inner.passed(self, inner.run(Tasks), 2)
        self.assertEqual([task.cancelled() for task in Tasks.left], [True, True])
        self.assertTrue(Tasks.of_the_class.cancelled())

    def test_task_cannot_write_after_its_test(self) -> None:
        class Tasks(Inner):
            async def test_1_leaves_a_writer(self) -> None:
                async def write() -> None:
                    try:
                        await asyncio.Event().wait()
                    finally:
                        await register_async("late")

                asyncio.create_task(write())
                await asyncio.sleep(0)

            async def test_2_is_clean(self) -> None:
                await self.assertDatabaseEmpty()

        inner.passed(self, inner.run(Tasks), 2)

    def test_error_of_a_cancelled_task_is_reported(self) -> None:
        reported: list[dict[str, Any]] = []

        class Tasks(Inner):
            async def test(self) -> None:
                async def fail() -> None:
                    try:
                        await asyncio.Event().wait()
                    finally:
                        raise ZeroDivisionError

                loop = asyncio.get_running_loop()
                loop.set_exception_handler(lambda loop, context: reported.append(context))
                asyncio.create_task(fail())
                await asyncio.sleep(0)

        inner.passed(self, inner.run(Tasks), 1)
        self.assertIsInstance(reported[0]["exception"], ZeroDivisionError)

    def test_no_thread_is_left(self) -> None:
        class Threads(Inner):
            async def test(self) -> None:
                leaked = self.session_factory()
                await asyncio.gather(*(register_async(f"user{n}") for n in range(5)))
                await leaked.execute(select(User))
                self.leaked = leaked

        before = set(threading.enumerate())
        case = Threads("test")
        result = unittest.TestResult()
        unittest.TestSuite([case]).run(result)
        inner.passed(self, result, 1)
        for thread in set(threading.enumerate()) - before:
            thread.join(PATIENCE)
        self.assertLessEqual(set(threading.enumerate()), before)


class ClassContexts(unittest.TestCase):
    def test_left_in_reverse_also_after_a_failure(self) -> None:
        calls = []

        @asynccontextmanager
        async def context(name: str) -> AsyncIterator[str]:
            await asyncio.sleep(0)
            yield name
            await asyncio.sleep(0)
            calls.append(name)

        class Contexts(Inner):
            @classmethod
            async def asyncSetUpClass(cls) -> None:
                cls.entered = [await cls.enterAsyncClassContext(context(name)) for name in "ab"]
                cls.addAsyncClassCleanup(register_async, "the database is still there")

            async def test(self) -> None:
                self.assertEqual(self.entered, ["a", "b"])
                self.assertEqual(calls, [])

        class Failing(Contexts):
            @classmethod
            async def asyncSetUpClass(cls) -> None:
                await super().asyncSetUpClass()
                raise ZeroDivisionError

        inner.passed(self, inner.run(Contexts), 1)
        self.assertEqual(calls, ["b", "a"])
        inner.only_error(self, inner.run(Failing))
        self.assertEqual(calls, ["b", "a"] * 2)


class Phases(unittest.TestCase):
    def test_whatever_fails_is_rolled_back(self) -> None:
        class InSetUp(Inner):
            async def asyncSetUp(self) -> None:
                await super().asyncSetUp()
                await register_async("bob")
                self.fail("in asyncSetUp")

            async def test(self) -> None: ...

        class InTest(Inner):
            async def test(self) -> None:
                await register_async("bob")
                self.fail("in the test")

        class InTearDown(Inner):
            async def test(self) -> None: ...

            async def asyncTearDown(self) -> None:
                await register_async("bob")
                self.fail("in asyncTearDown")

        class InCleanUp(Inner):
            async def test(self) -> None:
                self.addCleanup(self.fail, "in a clean-up")
                self.addAsyncCleanup(register_async, "bob")

        class Clean(Inner):
            async def test(self) -> None:
                await self.assertDatabaseEmpty()

        for case in (InSetUp, InTest, InTearDown, InCleanUp):
            with self.subTest(case.__name__):
                self.assertIn("AssertionError: in ", inner.only_error(self, inner.run(case)))
                inner.passed(self, inner.run(Clean), 1)

    def test_session_and_connection_are_there_throughout(self) -> None:
        class Everywhere(Inner):
            async def asyncSetUp(self) -> None:
                await super().asyncSetUp()
                self.session.add(User(name="bob"))
                self.addAsyncCleanup(self.use)

            async def test(self) -> None:
                await self.use()

            async def asyncTearDown(self) -> None:
                await self.use()
                await super().asyncTearDown()

            async def use(self) -> None:
                self.assertEqual(len((await self.session.scalars(select(User))).all()), 1)
                self.assertEqual(await self.connection.scalar(text("SELECT 1")), 1)

        inner.passed(self, inner.run(Everywhere), 1)

    def test_connection_does_not_carry_options_into_the_next_test(self) -> None:
        class Connections(Inner):
            async def test_one(self) -> None:
                options = self.connection.sync_connection.get_execution_options()
                self.assertNotIn("mine", options)
                await self.connection.execution_options(mine=True)
                await self.connection.execute(insert(User).values(name="bob"))
                await self.assertDatabaseCount(User, 1)

            test_two = test_one

        inner.passed(self, inner.run(Connections), 2)

    def test_plain_functions_are_tests_too(self) -> None:
        class Plain(Inner):
            def test(self) -> None:
                register("bob")
                self.assertEqual(self.engine.name, "sqlite")

            async def test_other(self) -> None:
                await self.assertDatabaseEmpty()

        inner.passed(self, inner.run(Plain, shuffled=True), 2)

    def test_both_hooks_for_class_data(self) -> None:
        class Data(Inner):
            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                cls.alice = User(name="alice")
                session.add(cls.alice)

            @classmethod
            async def asyncSetUpTestData(cls, session: AsyncSession) -> None:
                cls.both = [cls.alice, User(name="bob")]
                session.add_all(cls.both)
                await register_async("by the application")

            async def test_one(self) -> None:
                self.assertEqual([user.name for user in self.both], ["alice", "bob"])
                self.assertIs(self.both[0], self.alice)
                self.both[1].name = "changed"
                await self.session.commit()
                await self.assertDatabaseHas(User, name="changed")
                await self.assertDatabaseCount(User, 3)

            test_two = test_one

        inner.passed(self, inner.run(Data), 2)

    def test_failing_async_set_up_class(self) -> None:
        calls = []

        class Failing(Inner):
            @classmethod
            async def asyncSetUpClass(cls) -> None:
                await register_async("bob")
                raise ZeroDivisionError

            @classmethod
            async def asyncTearDownClass(cls) -> None:
                calls.append("asyncTearDownClass")

            async def test(self) -> None: ...

        class Clean(Inner):
            async def test(self) -> None:
                await self.assertDatabaseEmpty()

        pool = app_async_engine.pool
        self.assertIn("ZeroDivisionError", inner.only_error(self, inner.run(Failing)))
        self.assertIs(app_async_engine.pool, pool)
        self.assertEqual(calls, [])
        inner.passed(self, inner.run(Clean), 1)

    def test_decorator_changes_one_test(self) -> None:
        class Mixed(Inner):
            async def test_transaction(self) -> None:
                await self.connection.execute(insert(User).values(name="bob"))
                await self.assertDatabaseCount(User, 1)

            @isolation("template")
            async def test_template(self) -> None:
                await self.connection.execute(insert(User).values(name="bob"))
                await self.assertDatabaseCount(User, 0)

        for _ in range(3):
            inner.passed(self, inner.run(Mixed, shuffled=True), 2)

    def test_debug(self) -> None:
        class Debugged(Inner):
            async def test(self) -> None:
                await self.assertDatabaseEmpty()
                await register_async("bob")

        for _ in range(2):
            unittest.defaultTestLoader.loadTestsFromTestCase(Debugged).debug()

    def test_same_test_can_run_twice(self) -> None:
        class Twice(Inner):
            async def test(self) -> None:
                await self.assertDatabaseEmpty()
                await register_async("bob")

        test = Twice("test")
        for _ in range(2):
            result = unittest.TestResult()
            unittest.TestSuite([test]).run(result)
            inner.passed(self, result, 1)


class Forgotten(unittest.TestCase):
    def test_super_set_up(self) -> None:
        class Forgetful(Inner):
            def setUp(self) -> None:
                pass

            async def test(self) -> None:
                _ = self.session

        message = inner.only_error(self, inner.run(Forgetful))
        self.assertIn("call super().setUp() first", message)

    def test_super_async_set_up(self) -> None:
        class Forgetful(Inner):
            async def asyncSetUp(self) -> None:
                pass

            async def test(self) -> None:
                self.session.add(User(name="bob"))
                await self.session.commit()
                with self.assertRaisesRegex(NotReadyError, r"await super\(\).asyncSetUp\(\)"):
                    _ = self.connection

        inner.passed(self, inner.run(Forgetful), 1)

    def test_super_set_up_class(self) -> None:
        class Forgetful(Inner):
            @classmethod
            def setUpClass(cls) -> None:
                pass

            async def test(self) -> None: ...

        message = inner.only_error(self, inner.run(Forgetful))
        self.assertIn("Forgetful.setUpClass has not run", message)

    def test_await_before_an_assertion(self) -> None:
        class Forgetful(Inner):
            async def test(self) -> None:
                self.assertDatabaseCount(User, 1000)

        message = inner.only_error(self, inner.run(Forgetful))
        self.assertIn("AssertionError", message)
        self.assertIn("assertDatabaseCount at ", message)
        self.assertIn("never awaited", message)
        self.assertIn("test_async_case.py:", message)
