"""The phases of the sync test case, by running inner ones."""

from __future__ import annotations

import logging
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ClassVar

from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from dbtestcase import (
    DatabaseTestCase,
    NotReadyError,
    StaleConnectionError,
    TransactionEndedError,
    isolation,
)

from . import inner
from .models import Base, User, app_engine, register
from .waiting import PATIENCE


class Inner(DatabaseTestCase):
    metadata = Base.metadata
    engines = [app_engine]


class IsolationBetweenTests(unittest.TestCase):
    def test_whatever_fails_is_rolled_back(self) -> None:
        class InSetUp(Inner):
            def setUp(self) -> None:
                super().setUp()
                register("bob")
                self.fail("in setUp")

            def test(self) -> None: ...

        class InTest(Inner):
            def test(self) -> None:
                register("bob")
                self.fail("in the test")

        class InTearDown(Inner):
            def test(self) -> None: ...

            def tearDown(self) -> None:
                register("bob")
                self.fail("in tearDown")

        class InCleanUp(Inner):
            def test(self) -> None:
                self.addCleanup(self.fail, "in a clean-up")
                self.addCleanup(register, "bob")

        class Clean(Inner):
            def test(self) -> None:
                self.assertDatabaseEmpty()

        for case in (InSetUp, InTest, InTearDown, InCleanUp):
            with self.subTest(case.__name__):
                self.assertIn("AssertionError: in ", inner.only_error(self, inner.run(case)))
                inner.passed(self, inner.run(Clean), 1)

    def test_session_is_there_in_set_up_tear_down_and_clean_ups(self) -> None:
        class Everywhere(Inner):
            def setUp(self) -> None:
                super().setUp()
                self.session.add(User(name="bob"))
                self.addCleanup(self.use)

            def test(self) -> None:
                self.use()

            def tearDown(self) -> None:
                self.use()
                super().tearDown()

            def use(self) -> None:
                self.assertEqual(self.session.query(User).count(), 1)
                self.assertEqual(self.connection.scalar(text("SELECT 1")), 1)

        inner.passed(self, inner.run(Everywhere), 1)

    def test_unittest_features(self) -> None:
        class Features(Inner):
            def test_sub_tests(self) -> None:
                for number in range(3):
                    with self.subTest(number=number):
                        register(f"user{number}")
                self.assertDatabaseCount(User, 3)

            def test_skip(self) -> None:
                register("bob")
                self.skipTest("because")

            @unittest.skip("altogether")
            def test_skipped(self) -> None: ...

            @unittest.expectedFailure
            def test_expected_failure(self) -> None:
                register("bob")
                self.fail("as expected")

            def test_clean(self) -> None:
                self.assertDatabaseEmpty()

        result = inner.run(Features, shuffled=True)
        self.assertEqual(result.failures + result.errors, [])
        self.assertEqual(len(result.skipped), 2)
        self.assertEqual(len(result.expectedFailures), 1)

    def test_debug(self) -> None:
        class Debugged(Inner):
            def test(self) -> None:
                self.assertDatabaseEmpty()
                register("bob")

        for _ in range(2):
            unittest.defaultTestLoader.loadTestsFromTestCase(Debugged).debug()

    def test_class_hierarchy_with_mixins_and_abstract_bases(self) -> None:
        class Mixin:
            def test_from_mixin(self) -> None:
                self.assertDatabaseCount(User, 1)  # type: ignore[attr-defined]

        class ProjectTestCase(Inner):
            def setUp(self) -> None:
                super().setUp()
                register("from the base")

        class First(Mixin, ProjectTestCase):
            def test_first(self) -> None:
                register("first")

        class Second(First):
            engines: ClassVar[Any] = [app_engine]

            def test_second(self) -> None:
                self.assertDatabaseCount(User, 1)

        for _ in range(5):
            inner.passed(self, inner.run(First, Second, ProjectTestCase, shuffled=True), 5)

    def test_nested_classes_have_databases_of_their_own(self) -> None:
        class Nested(Inner):
            engines = ()

            def test(self) -> None:
                self.assertDatabaseEmpty()
                self.session.add(User(name="nested"))
                self.session.commit()

        class Outer(Inner):
            def test(self) -> None:
                register("outer")
                inner.passed(self, inner.run(Nested), 1)
                self.assertDatabaseCount(User, 1)

        inner.passed(self, inner.run(Outer), 1)


class ClassPhase(unittest.TestCase):
    def test_work_in_set_up_class_is_shared_and_undone_with_the_class(self) -> None:
        class Shared(Inner):
            @classmethod
            def setUpClass(cls) -> None:
                super().setUpClass()
                register("of the class")
                with cls.engine.begin() as connection:
                    connection.execute(text("UPDATE users SET age = 1"))

            def test_one(self) -> None:
                self.assertDatabaseHas(User, name="of the class", age=1)
                register("of the test")

            test_two = test_one

        class After(Inner):
            def test(self) -> None:
                self.assertDatabaseEmpty()

        inner.passed(self, inner.run(Shared, After), 3)

    def test_failing_set_up_class(self) -> None:
        class Failing(Inner):
            @classmethod
            def setUpClass(cls) -> None:
                super().setUpClass()
                register("bob")
                raise ZeroDivisionError

            def test(self) -> None: ...

        class After(Inner):
            def test(self) -> None:
                self.assertDatabaseEmpty()

        pool = app_engine.pool
        self.assertIn("ZeroDivisionError", inner.only_error(self, inner.run(Failing, After)))
        self.assertIs(app_engine.pool, pool)
        inner.passed(self, inner.run(After), 1)

    def test_failing_set_up_test_data(self) -> None:
        class Failing(Inner):
            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                session.add(User())

            def test(self) -> None: ...

        pool = app_engine.pool
        self.assertIn(IntegrityError.__name__, inner.only_error(self, inner.run(Failing)))
        self.assertIs(app_engine.pool, pool)

    def test_set_up_database_runs_once_for_all_classes(self) -> None:
        calls = []

        class WithTrigger(Inner):
            @classmethod
            def setUpDatabase(cls, connection: Any) -> None:
                calls.append(cls.__name__)
                super().setUpDatabase(connection)
                connection.execute(
                    text(
                        "CREATE TRIGGER shout AFTER INSERT ON users BEGIN"
                        " UPDATE users SET name = upper(name); END"
                    )
                )

            def test(self) -> None:
                register("bob")
                self.assertDatabaseHas(User, name="BOB")

        class Again(WithTrigger):
            pass

        class Without(Inner):
            def test(self) -> None:
                register("bob")
                self.assertDatabaseHas(User, name="bob")

        inner.passed(self, inner.run(WithTrigger, Again, Without), 3)
        self.assertEqual(calls, ["WithTrigger"])

    def test_set_up_database_without_super_still_has_the_tables(self) -> None:
        class Forgetful(Inner):
            @classmethod
            def setUpDatabase(cls, connection: Any) -> None:
                connection.execute(text("CREATE TABLE extra (id INTEGER)"))

            def test(self) -> None:
                self.assertDatabaseEmpty()
                self.assertDatabaseCount("extra", 0)
                self.assertDatabaseCount(User, 0)

        inner.passed(self, inner.run(Forgetful), 1)


class SetUpForgotten(unittest.TestCase):
    def test_super_set_up(self) -> None:
        class Forgetful(Inner):
            def setUp(self) -> None:
                pass

            def test(self) -> None:
                _ = self.session

        message = inner.only_error(self, inner.run(Forgetful))
        self.assertIn("NotReadyError", message)
        self.assertIn("Forgetful: self.session", message)
        self.assertIn("call super().setUp() first in your setUp", message)

    def test_super_set_up_where_only_the_application_uses_the_database(self) -> None:
        class Forgetful(Inner):
            def setUp(self) -> None:
                pass

            def test(self) -> None:
                register("bob")

        class Early(Inner):
            def setUp(self) -> None:
                register("bob")
                super().setUp()

            def test(self) -> None: ...

        class Late(Inner):
            def setUp(self) -> None:
                self.addCleanup(register, "bob")
                super().setUp()

            def test(self) -> None: ...

        for case in (Forgetful, Early, Late):
            with self.subTest(case.__name__):
                message = inner.only_error(self, inner.run(case))
                self.assertIn("NotReadyError", message)
                self.assertIn("call super().setUp() first in your setUp", message)

    def test_super_set_up_class(self) -> None:
        class Forgetful(Inner):
            @classmethod
            def setUpClass(cls) -> None:
                pass

            def test(self) -> None: ...

        message = inner.only_error(self, inner.run(Forgetful))
        self.assertIn("Forgetful.setUpClass has not run", message)
        self.assertIn("call super().setUpClass() first in your setUpClass", message)

    def test_before_and_after(self) -> None:
        class Plain(Inner):
            def test(self) -> None: ...

        test = Plain("test")
        with self.assertRaisesRegex(NotReadyError, "self.session is there from setUp"):
            _ = test.session
        with self.assertRaisesRegex(NotReadyError, "setUpClass has not run"):
            _ = test.engine
        unittest.TestSuite([test]).run(unittest.TestResult())
        with self.assertRaisesRegex(NotReadyError, "self.connection is there from setUp"):
            _ = test.connection

    def test_looking_at_the_class_is_no_error(self) -> None:
        for name in dir(Inner):
            getattr(Inner, name)


class BrokenIsolation(unittest.TestCase):
    def test_transaction_ended_by_the_database(self) -> None:
        class Broken(Inner):
            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                cls.alice = User(name="alice")
                session.add(cls.alice)

            def test_1_breaks(self) -> None:
                self.connection.execute(text("INSERT INTO users (name) VALUES ('bob')"))
                self.connection.execute(
                    text("INSERT OR ROLLBACK INTO users (name) VALUES ('alice')")
                )

            def test_2_is_clean(self) -> None:
                self.assertDatabaseCount(User, 1)
                self.assertEqual(self.alice.name, "alice")

        result = inner.run(Broken)
        self.assertEqual(result.testsRun, 2)
        message = inner.only_error(self, result)
        self.assertIn(TransactionEndedError.__name__, message)
        self.assertIn("Broken.test_1_breaks", message)
        self.assertIn('@dbtestcase.isolation("truncation")', message)

    def test_transaction_ended_inside_a_transaction_of_the_application(self) -> None:
        class Broken(Inner):
            def test(self) -> None:
                with self.engine.begin() as connection:
                    for _ in range(2):
                        connection.execute(
                            text("INSERT OR ROLLBACK INTO users (id, name) VALUES (1, 'bob')")
                        )

        message = inner.only_error(self, inner.run(Broken))
        self.assertIn("\ndbtestcase.exceptions.TransactionEndedError: ", message)

    def test_violation_in_a_thread_is_reported_once(self) -> None:
        class Threaded(Inner):
            def test(self) -> None:
                self.session.add(User(name="outer"))
                self.session.flush()
                register("inner")
                with ThreadPoolExecutor(3) as pool:
                    list(pool.map(lambda _: self.session.rollback(), range(1)))

        message = inner.only_error(self, inner.run(Threaded))
        self.assertIn("InterleavedTransactionsError", message)

    def test_thread_that_outlives_its_test(self) -> None:
        stop = threading.Event()
        started = threading.Event()
        errors = []

        def write() -> None:
            try:
                while not stop.is_set():
                    with Session(app_engine) as session:
                        session.execute(text("UPDATE users SET age = 1"))
                        session.commit()
                    started.set()
            except Exception as error:
                errors.append(error)

        logging.disable()  # of the connections that are closed under the thread
        self.addCleanup(logging.disable, logging.NOTSET)
        thread = threading.Thread(target=write)
        self.addCleanup(thread.join)
        self.addCleanup(stop.set)

        class Threads(Inner):
            isolation = "truncation"

            def test_1_starts_it(self) -> None:
                thread.start()
                started.wait(PATIENCE)

            def test_2(self) -> None: ...

        inner.passed(self, inner.run(Threads), 2)

    def test_violation_that_the_application_swallows(self) -> None:
        def application(session: Session) -> None:
            session.add(User(name="outer"))
            session.flush()
            register("inner")
            with suppress(Exception):
                session.rollback()

        class Swallowed(Inner):
            def test(self) -> None:
                application(self.session)

        message = inner.only_error(self, inner.run(Swallowed))
        self.assertIn("InterleavedTransactionsError", message)

    def test_connection_that_outlives_its_test(self) -> None:
        kept: list[Connection] = []

        class Leaking(Inner):
            def test_1_leaves_it_open(self) -> None:
                kept.append(app_engine.connect())
                kept[0].execute(insert(User).values(name="left"))

            def test_2_uses_it(self) -> None:
                with self.assertRaises(StaleConnectionError) as raised:
                    kept[0].execute(select(User))
                self.assertIn("Leaking.test_1_leaves_it_open", str(raised.exception))
                kept[0].rollback()
                self.assertEqual(kept[0].execute(select(User)).all(), [])
                kept[0].close()

        result = inner.run(Leaking)
        self.assertIn("Leaking.test_1_leaves_it_open", inner.only_error(self, result))
        self.assertEqual(result.testsRun, 2)

    def test_connection_from_the_pool_starts_anew(self) -> None:
        class Pooled(Inner):
            def test_1_autocommits(self) -> None:
                engine = self.engine.execution_options(isolation_level="AUTOCOMMIT")
                with engine.connect() as connection:
                    connection.execute(text("INSERT INTO users (name) VALUES ('bob')"))

            def test_2_takes_the_same_connection(self) -> None:
                self.assertDatabaseEmpty()
                with self.engine.connect() as connection:
                    connection.execute(text("INSERT INTO users (name) VALUES ('bob')"))
                self.assertDatabaseEmpty()

        inner.passed(self, inner.run(Pooled), 2)

    def test_engine_of_a_class_that_is_done(self) -> None:
        kept = []

        class Keeping(Inner):
            def test(self) -> None:
                kept.append(self.session_factory)

        class After(Inner):
            def test(self) -> None:
                self.assertDatabaseEmpty()

        inner.passed(self, inner.run(Keeping), 1)
        with kept[0]() as session, self.assertRaisesRegex(NotReadyError, "is done"):
            session.execute(text("INSERT INTO users (name) VALUES ('late')"))
        inner.passed(self, inner.run(After), 1)

    def test_session_of_the_class_may_be_used_in_every_test(self) -> None:
        class Shared(Inner):
            @classmethod
            def setUpClass(cls) -> None:
                super().setUpClass()
                cls.shared = Session(cls.engine)
                cls.addClassCleanup(cls.shared.close)

            def test_one(self) -> None:
                self.assertEqual(self.shared.query(User).count(), 0)
                self.shared.add(User(name="bob"))
                self.shared.commit()
                self.assertDatabaseCount(User, 1)

            test_two = test_one

        inner.passed(self, inner.run(Shared), 2)


class Isolations(unittest.TestCase):
    def test_decorator_changes_one_test(self) -> None:
        class Mixed(Inner):
            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                cls.alice = User(name="alice")
                session.add(cls.alice)

            def test_transaction(self) -> None:
                self.session.add(User(name="bob"))
                self.session.flush()
                self.assertDatabaseCount(User, 2)

            @isolation("truncation")
            def test_truncation(self) -> None:
                self.session.add(User(name="bob"))
                self.session.flush()
                self.assertDatabaseCount(User, 1)

            @isolation("template")
            def test_template(self) -> None:
                self.session.add(User(name="bob"))
                self.session.flush()
                self.assertDatabaseCount(User, 1)
                self.alice.name = "changed"
                self.session.commit()

        for _ in range(5):
            inner.passed(self, inner.run(Mixed, shuffled=True), 3)

    def test_real_transactions_may_interleave(self) -> None:
        class Real(Inner):
            isolation = "truncation"

            def test(self) -> None:
                self.session.add(User(name="mine"))
                self.session.flush()
                self.session.rollback()
                self.session.query(User).all()
                register("bob")
                self.session.rollback()
                self.assertDatabaseCount(User, 1)

        inner.passed(self, inner.run(Real), 1)

    def test_primary_keys_start_at_1_in_every_test(self) -> None:
        for value in ("transaction", "truncation", "template"):
            with self.subTest(value):

                class Keys(Inner):
                    isolation = value
                    reset_sequences = True

                    def test_one(self) -> None:
                        register("bob")
                        self.assertDatabaseHas(User, id=1)

                    test_two = test_one

                inner.passed(self, inner.run(Keys), 2)


class SessionOptions(unittest.TestCase):
    def test_options_and_class(self) -> None:
        class Special(Session):
            pass

        class WithOptions(Inner):
            session_class = Special
            session_options: ClassVar[dict[str, Any]] = {"expire_on_commit": False}

            def test(self) -> None:
                self.assertIsInstance(self.session, Special)
                user = User(name="bob")
                self.session.add(user)
                self.session.commit()
                with self.assertNumQueries(0):
                    self.assertEqual(user.name, "bob")
                with self.session_factory() as other:
                    self.assertIsInstance(other, Special)

        inner.passed(self, inner.run(WithOptions), 1)
