"""Methods that are called by their names: what works is accepted, and what nobody calls is not."""

from __future__ import annotations

import functools
import unittest
from collections.abc import Iterator
from typing import Any, ClassVar
from unittest import IsolatedAsyncioTestCase, mock

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase, OptionError

from . import inner
from .models import Base, User


def through(function: Any) -> Any:
    """Decorate plainly, as most decorators do: the wrapper is a plain function."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class ClientOfBothColours:
    """What classes of either colour may derive from."""

    client = "closed"

    def setUp(self) -> None:
        super().setUp()
        self.client = "sync"

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.client = "async"


class Accepted(unittest.TestCase):
    def test_arguments_from_a_decorator(self) -> None:
        class Tests(DatabaseTestCase):
            metadata = Base.metadata

            @classmethod
            @mock.patch.dict("os.environ", {"DBTESTCASE_NAME": "alice"})
            @mock.patch("random.random", return_value=0.5)
            def setUpTestData(cls, session: Session, random: mock.Mock) -> None:
                session.add(User(name=f"alice {random()}"))

            def test(self) -> None:
                self.assertEqual(self.session.query(User).one().name, "alice 0.5")

        class AsyncTests(AsyncDatabaseTestCase):
            metadata = Base.metadata

            @classmethod
            @mock.patch("random.random", return_value=0.5)
            async def asyncSetUpTestData(cls, session: Any, random: Any) -> None:
                session.add(User(name=f"alice {random()}"))

            async def test(self) -> None:
                await self.assertDatabaseHas(User, name="alice 0.5")

        inner.passed(self, inner.run(Tests, AsyncTests), 2)

    def test_arguments_beyond_those_given(self) -> None:
        class Open(DatabaseTestCase):
            metadata = Base.metadata

            @classmethod
            def setUpDatabase(cls, *args: Any, **kwargs: Any) -> None:
                super().setUpDatabase(*args, **kwargs)

            @classmethod
            def setUpTestData(cls, *args: Any, **kwargs: Any) -> None:
                cls.given = args, kwargs

            def test(self) -> None:
                (session,), kwargs = self.given
                self.assertIsInstance(session, Session)
                self.assertEqual(kwargs, {})

        class Defaults(DatabaseTestCase):
            metadata = Base.metadata

            @classmethod
            def setUpTestData(cls, session: Session, count: int = 3) -> None:
                session.add_all(User(name=str(number)) for number in range(count))

            def test(self) -> None:
                self.assertEqual(self.session.query(User).count(), 3)

        inner.passed(self, inner.run(Open, Defaults), 2)

    def test_arguments_for_a_subclass_to_give(self) -> None:
        class Users:
            @classmethod
            def setUpTestData(cls, session: Session, count: int) -> None:
                session.add_all(User(name=str(number)) for number in range(count))

        class Tests(Users, DatabaseTestCase):
            metadata = Base.metadata

            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                super().setUpTestData(session, 2)

            def test(self) -> None:
                self.assertEqual(self.session.query(User).count(), 2)

        inner.passed(self, inner.run(Tests), 1)

    def test_functions_that_return_a_coroutine(self) -> None:
        class Tests(AsyncDatabaseTestCase):
            phases: ClassVar[list[str]] = []

            @classmethod
            def asyncSetUpClass(cls) -> Any:
                cls.phases.append("class")
                return super().asyncSetUpClass()

            @classmethod
            @through
            async def asyncTearDownClass(cls) -> None:
                cls.phases.append("end")

            @classmethod
            @through
            async def asyncSetUpTestData(cls, session: Any) -> None:
                cls.phases.append("data")

            async def test(self) -> None: ...

        inner.passed(self, inner.run(Tests), 1)
        self.assertEqual(Tests.phases, ["data", "class", "end"])

    def test_mixins_for_both_test_cases(self) -> None:
        class Tests(ClientOfBothColours, DatabaseTestCase):
            def test(self) -> None:
                self.assertEqual(self.client, "sync")

        class AsyncTests(ClientOfBothColours, AsyncDatabaseTestCase):
            async def test(self) -> None:
                self.assertEqual(self.client, "async")

        inner.passed(self, inner.run(Tests, AsyncTests), 2)

    def test_helpers_with_names_like_those_of_hooks(self) -> None:
        class Tests(DatabaseTestCase):
            metadata = Base.metadata

            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                cls._setUpTestData(session)

            @classmethod
            def _setUpTestData(cls, session: Session) -> None:
                session.add(User(name="alice"))

            def setup_database(self) -> None:
                self.session.add(User(name="bob"))
                self.session.flush()

            def _test_cases(self) -> Iterator[str]:
                yield "alice"
                yield "bob"

            def test(self) -> None:
                self.setup_database()
                for name in self._test_cases():
                    self.assertDatabaseHas(User, name=name)

        inner.passed(self, inner.run(Tests), 1)

    def test_async_tests_with_the_sync_session(self) -> None:
        class Tests(DatabaseTestCase, IsolatedAsyncioTestCase):
            metadata = Base.metadata
            session_class = Sessions
            session_options: ClassVar[Any] = {"autoflush": False}

            async def asyncSetUp(self) -> None:
                await super().asyncSetUp()
                self.session.add(User(name="alice"))
                self.session.commit()

            async def test(self) -> None:
                self.assertIsInstance(self.session, Sessions)
                self.assertFalse(self.session.autoflush)
                self.assertDatabaseHas(User, name="alice")

        inner.passed(self, inner.run(Tests), 1)

    def test_async_tests_with_sync_session_factories(self) -> None:
        make_session = sessionmaker()
        registry = scoped_session(sessionmaker())

        class Tests(DatabaseTestCase, IsolatedAsyncioTestCase):
            metadata = Base.metadata
            session_factories: ClassVar[Any] = [make_session, registry]

            async def test(self) -> None:
                self.assertIs(registry(), self.session)
                with make_session() as session:
                    self.assertEqual(session.query(User).all(), [])

        inner.passed(self, inner.run(Tests), 1)


class Sessions(Session): ...


class Refused(unittest.TestCase):
    def refused(self, message: str, *bases: type, **attributes: Any) -> None:
        with self.assertRaises(OptionError) as raised:
            type("UserTests", bases, attributes)
        self.assertIn(f"UserTests: {message}", str(raised.exception))

    def test_async_hooks_of_a_class_with_a_sync_session(self) -> None:
        async def hook(cls: Any, *args: Any) -> None: ...

        for name in ("asyncSetUpClass", "asyncTearDownClass", "asyncSetUpTestData"):
            message = f"{name} is never called; it is for AsyncDatabaseTestCase"
            of_class: Any = {name: classmethod(hook)}
            self.refused(message, DatabaseTestCase, **of_class)
            self.refused(message, DatabaseTestCase, IsolatedAsyncioTestCase, **of_class)
        message = "asyncSetUp is never called; it is for AsyncDatabaseTestCase"
        self.refused(message, DatabaseTestCase, asyncSetUp=hook)

    def test_the_way_out_for_a_class_with_async_tests_and_a_sync_session(self) -> None:
        async def phase(self: Any) -> None: ...

        bases = DatabaseTestCase, IsolatedAsyncioTestCase
        message = "setUp is a coroutine, which nobody awaits; write asyncSetUp"
        self.refused(message, *bases, setUp=phase)
        message = "setUpClass is a coroutine, which nobody awaits; make it a plain def, or derive"
        self.refused(message, *bases, setUpClass=classmethod(phase))
        message = f"session_class = {AsyncSession!r} is not a subclass of Session; derive the class"
        self.refused(message, *bases, session_class=AsyncSession)

    def test_what_unittest_itself_does_not_await(self) -> None:
        async def phase(self: Any) -> None: ...

        for name in ("asyncSetUp", "asyncTearDown"):
            message = f"{name} is not a coroutine; make it an async def"
            self.refused(message, AsyncDatabaseTestCase, **{name: through(phase)})
            plain = type(name, (IsolatedAsyncioTestCase,), {name: through(phase), "test": phase})
            self.assertIn("is not an async function", inner.only_error(self, inner.run(plain)))

    def test_generators_that_the_loader_takes_for_tests(self) -> None:
        def tests_enabled(self: Any) -> Iterator[None]:
            yield

        plain = type("Plain", (unittest.TestCase,), {"tests_enabled": tests_enabled})
        self.assertEqual(unittest.TestLoader().getTestCaseNames(plain), ["tests_enabled"])
        message = "tests_enabled is a generator, which nobody runs"
        self.refused(message, DatabaseTestCase, tests_enabled=tests_enabled)

    def test_arguments_that_cannot_be_given(self) -> None:
        def django(cls: Any) -> None: ...

        def keyword(cls: Any, *, session: Any) -> None: ...

        def more(cls: Any, session: Any, count: Any) -> None: ...

        message = "setUpTestData is called with other arguments; write def setUpTestData(cls, sess"
        for function in (django, keyword, more):
            self.refused(message, DatabaseTestCase, setUpTestData=classmethod(function))

    def test_static_methods_for_data(self) -> None:
        def data(session: Any) -> None: ...

        message = "setUpTestData is called on the class; put @classmethod on it"
        self.refused(message, DatabaseTestCase, setUpTestData=staticmethod(data))
