"""That an application is as it was when a suite is over, wherever the suite has failed."""

from __future__ import annotations

import unittest
from itertools import product
from typing import Any

import factory.random
import faker.generator
from factory.alchemy import SQLAlchemyModelFactory
from fastapi import FastAPI
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase

from . import inner
from .models import Base, User

engine = create_engine("sqlite:////unreachable/application.db")
async_engine = create_async_engine("sqlite+aiosqlite:////unreachable/application.db")
other_engine = create_engine("postgresql+psycopg://localhost:1/application")
late_engine = create_engine("sqlite:////unreachable/application.db")
ENGINES = [engine, async_engine.sync_engine, other_engine, late_engine]

SessionLocal = sessionmaker(other_engine)
AsyncSessionLocal = async_sessionmaker(async_engine, expire_on_commit=False)
Unbound = sessionmaker(class_=Session)
AsyncUnbound = async_sessionmaker()
Registry = scoped_session(sessionmaker(engine))
AsyncRegistry = async_scoped_session(async_sessionmaker(async_engine), scopefunc=lambda: 1)
Unnamed = scoped_session(sessionmaker(engine))  # by no option
REGISTRIES: list[Any] = [Registry, AsyncRegistry, Unnamed]
MAKERS: list[Any] = [
    *(SessionLocal, AsyncSessionLocal, Unbound, AsyncUnbound),
    *(one.session_factory for one in REGISTRIES),
]

app = FastAPI()


def get_session() -> None: ...


def override() -> None: ...


app.dependency_overrides[override] = get_session


@event.listens_for(engine, "before_cursor_execute")
def listen(*arguments: object) -> None: ...


class BoyFactory(SQLAlchemyModelFactory):
    class Meta:
        model = User
        sqlalchemy_session_factory = Registry

    name = factory.Sequence(lambda number: f"user {number}")


class PolyFactory(SQLAlchemyFactory[User]):
    __model__ = User
    __session__ = SessionLocal
    __set_relationships__ = False


def state() -> dict[str, Any]:
    """Return all of the application that a suite changes while it runs."""
    classes = [Session, AsyncSession, *(one.class_ for one in MAKERS)]
    poly = ("__session__", "__async_session__", "__random__")
    number = BoyFactory._meta.next_sequence()
    BoyFactory.reset_sequence(number)
    boys = (SQLAlchemyModelFactory._meta, BoyFactory._meta)
    return {
        "pools": [(one.pool, one.pool.status()) for one in ENGINES],
        "dialects": [one.dialect for one in ENGINES],
        "listeners": [
            list(getattr(one.dispatch, name))
            for one in ENGINES
            for name in ("before_cursor_execute", "after_cursor_execute", "begin", "commit")
        ],
        "makers": [(one.class_, one.kw.copy()) for one in MAKERS],
        "get_bind": [vars(one).get("get_bind") for one in classes],
        "registries": [one.registry for one in REGISTRIES],
        "objects": [[*one, *one.new] for one in REGISTRIES],
        "dependencies": app.dependency_overrides.copy(),
        "factory_boy": [{**vars(one), "_counter": None} for one in boys],
        "polyfactory": [
            {name: vars(one)[name] for name in poly if name in vars(one)}
            for one in (SQLAlchemyFactory, PolyFactory)
        ],
        "sequence": number,
        "random": (factory.random.randgen.getstate(), faker.generator.random.getstate()),
        "faker": PolyFactory.__faker__.random,
    }


class Suite:
    """Everything that the application can be given to, and a phase in which the suite fails."""

    metadata = Base.metadata
    engines = [engine, async_engine, other_engine]
    factories = [SQLAlchemyModelFactory, PolyFactory]
    fails_in = "nothing"

    @classmethod
    def reach(cls, phase: str) -> None:
        if phase == cls.fails_in:
            raise RuntimeError("on purpose")

    @classmethod
    def setUpDatabase(cls, connection: Connection) -> None:
        super().setUpDatabase(connection)  # type: ignore[misc]
        cls.reach("setUpDatabase")

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        cls.alice = BoyFactory(name="alice")
        Unnamed.add(User(name="left behind"))
        cls.reach("setUpTestData")

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()  # type: ignore[misc]
        cls.redirect_engines(late_engine)  # type: ignore[attr-defined]
        cls.reach("setUpClass")

    @classmethod
    def tearDownClass(cls) -> None:
        cls.reach("tearDownClass")
        super().tearDownClass()  # type: ignore[misc]

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.override_dependency(app, get_session, override)  # type: ignore[attr-defined]
        self.addCleanup(self.reach, "clean-up")  # type: ignore[attr-defined]
        self.reach("setUp")

    def tearDown(self) -> None:
        self.reach("tearDown")
        super().tearDown()  # type: ignore[misc]


class Suites:
    """Where no loader of tests finds them."""

    class Sync(Suite, DatabaseTestCase):
        session_factories = [SessionLocal, Unbound, Registry]

        def test_1(self) -> None:
            PolyFactory.create_sync(name="bob")
            for make in (SessionLocal, Unbound, Unnamed):
                make().add(User(name="carl"))
                make().close()
            BoyFactory()
            Unnamed.add(User(name="left behind"))
            self.override_dependency(app, override, self.session)
            self.reach("test")

        test_2 = test_1

    class Async(Suite, AsyncDatabaseTestCase):
        session_factories = [SessionLocal, AsyncSessionLocal, AsyncUnbound, AsyncRegistry]

        @classmethod
        async def asyncSetUpTestData(cls, session: AsyncSession) -> None:
            await PolyFactory.create_async(name="bob")
            cls.reach("asyncSetUpTestData")

        @classmethod
        async def asyncSetUpClass(cls) -> None:
            await super().asyncSetUpClass()
            AsyncRegistry.add(User(name="left behind"))
            cls.reach("asyncSetUpClass")

        async def asyncSetUp(self) -> None:
            await super().asyncSetUp()
            self.reach("asyncSetUp")

        async def asyncTearDown(self) -> None:
            self.reach("asyncTearDown")
            await super().asyncTearDown()

        async def test_1(self) -> None:
            for make in (AsyncSessionLocal, AsyncUnbound):
                async with make() as session:
                    session.add(User(name="carl"))
                    await session.flush()
            await AsyncRegistry.commit()
            self.override_dependency(app, override, self.session)
            self.reach("test")

        test_2 = test_1

        @classmethod
        async def asyncTearDownClass(cls) -> None:
            cls.reach("asyncTearDownClass")
            await super().asyncTearDownClass()


PHASES = [
    *("setUpDatabase", "setUpTestData", "setUpClass", "setUp", "test", "tearDown"),
    *("clean-up", "tearDownClass"),
]
ASYNC_PHASES = [
    *PHASES,
    *("asyncSetUpTestData", "asyncSetUpClass", "asyncSetUp", "asyncTearDown"),
    "asyncTearDownClass",
]


class Restored(unittest.TestCase):
    def setUp(self) -> None:
        self.before = state()
        self.assertEqual(self.before, state())

    def run_suite(self, suite: type[unittest.TestCase], **options: Any) -> unittest.TestResult:
        """Run a suite of such a class with ``options``, and return the result."""
        result = inner.run(type("Inner", (suite,), options))
        for what, after in state().items():
            self.assertEqual(after, self.before[what], what)
        return result

    def test_after_a_suite_that_passes(self) -> None:
        for suite in (Suites.Sync, Suites.Async):
            for isolation in ("transaction", "truncation", "template"):
                with self.subTest(suite=suite, isolation=isolation):
                    inner.passed(self, self.run_suite(suite, isolation=isolation), 2)

    def test_after_a_suite_that_fails(self) -> None:
        sync, async_ = product([Suites.Sync], PHASES), product([Suites.Async], ASYNC_PHASES)
        for suite, phase in (*sync, *async_):
            with self.subTest(suite=suite, phase=phase):
                result = self.run_suite(suite, fails_in=phase)
                for _, said in result.errors:
                    self.assertIn("RuntimeError: on purpose", said)
                self.assertTrue(result.errors)

    def test_after_a_suite_whose_options_are_wrong(self) -> None:
        for suite in (Suites.Sync, Suites.Async):
            for option in ("engines", "session_factories", "factories"):
                given = [*getattr(suite, option), "tests.models:nowhere"]
                with self.subTest(suite=suite, option=option):
                    result = self.run_suite(suite, **{option: given})
                    self.assertIn("nowhere", inner.only_error(self, result))
