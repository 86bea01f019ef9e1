"""What is written after a test has ended and before the set-up of the next, or in setUpClass."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from sqlalchemy import insert, select, update
from sqlalchemy.util import greenlet_spawn

from .. import inner
from ..models import User
from .behaviour import ISOLATIONS, Async, Behaviour, Sync


def outside(case: Any, action: Any) -> None:
    """Call ``action`` while no test runs, in the event loop if the class has one."""
    if isinstance(case, Async):
        case._dbtestcase_loop.run(greenlet_spawn(action, case))
    else:
        action(case)


def commit(case: Any) -> None:
    with case.app_engine.begin() as connection:
        connection.execute(insert(User).values(name=case._testMethodName))


def spoil(case: Any) -> None:
    """Let the database be rebuilt, as after a transaction that was ended behind the test's back."""
    case._dbtestcase_databases().by_alias["default"].sandbox.intact = False


def roll_back(case: Any) -> None:
    with case.app_engine.connect() as connection:
        connection.execute(insert(User).values(name="bob"))


def change_nothing(case: Any) -> None:
    with case.app_engine.begin() as connection:
        connection.execute(update(User).values(name="carl").where(User.name == "nobody"))
        connection.scalars(select(User.name)).all()


def class_of(colour: Any, isolation: str, before: dict[str, Any]) -> Any:
    """Return a test class that does ``before`` outside of the tests of that name."""

    def run(self: Any, result: Any = None) -> Any:
        name = self._testMethodName
        if name in before:
            outside(self, before[name])
        return super(inner_class, self).run(result)

    def check(self: Any) -> None:
        self.assertEqual(self.names(), self.expected)
        self.register("dora")

    tests = dict.fromkeys(("test_1", "test_2", "test_3"), check)
    namespace = {"isolation": isolation, "expected": ["alice"], "run": run, **tests}
    inner_class = type("Inner", (Behaviour, colour), namespace)
    return inner_class


EACH = [
    *((Sync, isolation) for isolation in sorted(ISOLATIONS)),
    *((Async, isolation) for isolation in sorted({"transaction", "truncation"} & ISOLATIONS)),
]


class BetweenTests(TestCase):
    def test_what_is_committed_is_an_error_and_undone(self) -> None:
        for colour, isolation in EACH:
            with self.subTest(colour=colour.__name__, isolation=isolation):
                result = inner.run(class_of(colour, isolation, {"test_2": commit}))
                message = inner.only_error(self, result)
                self.assertEqual(result.testsRun, 3)
                self.assertIn("IsolationError", message)
                self.assertIn("Inner.test_2: ", message)
                self.assertIn("INSERT INTO users", message)
                self.assertRegex(message, r"at \S+test_between_tests\.py:\d+")
                self.assertIn("To fix this, write it in setUp", message)

    def test_before_each_test_it_is_one_in_each_but_the_first(self) -> None:
        for colour, isolation in EACH:
            if isolation not in ("transaction", "truncation"):
                continue  # which are as truncation is
            with self.subTest(colour=colour.__name__, isolation=isolation):
                names = ("test_1", "test_2", "test_3")
                case = class_of(colour, isolation, dict.fromkeys(names, commit))
                case.expected = ["alice", "test_1"]
                result = inner.run(case)
                messages = [text for _, text in result.errors]
                self.assertEqual(result.failures, [])
                self.assertEqual(len(messages), 2, messages)
                self.assertIn("Inner.test_2: ", messages[0])
                self.assertIn("Inner.test_3: ", messages[1])

    def test_nothing_is_said_of_what_changes_nothing_or_is_written_before_the_first(self) -> None:
        before = {"test_1": commit, "test_2": roll_back, "test_3": change_nothing}
        for colour, isolation in EACH:
            with self.subTest(colour=colour.__name__, isolation=isolation):
                case = class_of(colour, isolation, before)
                case.expected = ["alice", "test_1"]
                inner.passed(self, inner.run(case), 3)

    def test_sequences_stand_behind_what_is_written_before_the_first(self) -> None:
        for colour in (Sync, Async):
            with self.subTest(colour=colour.__name__):
                case = class_of(colour, "transaction", {"test_1": commit})
                case.reset_sequences = True
                case.expected = ["alice", "test_1"]
                inner.passed(self, inner.run(case), 3)


class LostWithTheDatabase(TestCase):
    def class_of(self, colour: Any, write: Any) -> Any:
        """Return a class whose set-up does ``write``, and after whose first test all is rebuilt."""

        def set_up_class(cls: Any) -> None:
            super(inner_class, cls).setUpClass()
            write(cls)

        async def async_set_up_class(cls: Any) -> None:
            await greenlet_spawn(write, cls)

        def fail(case: Any) -> None:
            case.assertEqual(case.names(), ["alice", "set-up"])

        is_sync = colour is Sync
        hook = set_up_class if is_sync else async_set_up_class
        namespace = {
            "setUpClass" if is_sync else "asyncSetUpClass": classmethod(hook),
            "test_1_spoils_it": spoil,
            "test_2_fails": fail,
            "test_3_passes": lambda case: case.assertEqual(case.names(), ["alice"]),
        }
        inner_class = type("Inner", (Behaviour, colour), namespace)
        return inner_class

    def test_failures_say_what_is_gone_with_the_line_that_wrote_it(self) -> None:
        def write(cls: Any) -> None:
            with cls.app_engine.begin() as connection:
                connection.execute(insert(User).values(name="set-up"))

        for colour in (Sync, Async):
            with self.subTest(colour=colour.__name__):
                result = inner.run(self.class_of(colour, write))
                self.assertEqual(result.testsRun, 3)
                [(_, failed)] = result.failures + result.errors
                self.assertIn("What setUpClass had written is gone", failed)
                self.assertRegex(failed, r"rebuilt after .*Inner\.test_1_spoils_it\.")
                self.assertRegex(failed, r"INSERT INTO users.*\n +at \S+test_between_tests\.py:\d+")
                self.assertIn("To fix this, write it in setUpTestData", failed)

    def test_nothing_is_said_where_nothing_was_committed(self) -> None:
        def read(cls: Any) -> None:
            with cls.app_engine.connect() as connection:
                connection.execute(insert(User).values(name="bob"))
                connection.rollback()
                connection.scalars(select(User.name)).all()

        for colour in (Sync, Async):
            with self.subTest(colour=colour.__name__):
                [(_, failed)] = inner.run(self.class_of(colour, read)).failures
                self.assertNotIn("setUpClass had written", failed)
