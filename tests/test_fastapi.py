"""FastAPI: endpoints in threads and in the loop, lifespans, overridden dependencies."""

from __future__ import annotations

import sys
import threading
import unittest
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from unittest import mock

import httpx
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase

from . import inner
from .models import Base, User, app_async_engine, app_engine, register_async


def get_db() -> Iterator[Session]:
    with Session(app_engine) as session:
        yield session


async def get_async_db() -> AsyncIterator[AsyncSession]:
    async with AsyncSession(app_async_engine) as session:
        yield session


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncSession(app_async_engine) as session:
        app.state.at_start = (await session.scalars(select(User.name))).all()
        session.add(User(name="made at start"))
        await session.commit()
    yield
    await register_async("made at the end")


app = FastAPI(lifespan=lifespan)
threads = []


@app.post("/users/{name}")
def add(name: str, session: Annotated[Session, Depends(get_db)]) -> None:
    threads.append(threading.current_thread())
    session.add(User(name=name))
    session.commit()


@app.post("/forgotten/{name}")
def forget(name: str, session: Annotated[Session, Depends(get_db)]) -> None:
    session.add(User(name=name))
    session.flush()


@app.post("/async/{name}")
async def add_async(name: str, session: Annotated[AsyncSession, Depends(get_async_db)]) -> None:
    session.add(User(name=name))
    await session.commit()


class Case(DatabaseTestCase):
    metadata = Base.metadata
    engines = [app_engine, app_async_engine]

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        session.add(User(name="alice"))


class AsyncCase(AsyncDatabaseTestCase):
    metadata = Base.metadata
    engines = [app_engine, app_async_engine]

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        transport = httpx.ASGITransport(app=app)
        client = httpx.AsyncClient(transport=transport, base_url="http://app")
        self.client = await self.enterAsyncContext(client)


class Endpoints(unittest.TestCase):
    def test_sync_client(self) -> None:
        class Inner(Case):
            def test(self) -> None:
                client = TestClient(app)
                client.post("/users/bob")
                client.post("/async/carl")
                client.post("/forgotten/dora")
                self.assertNotIn(threading.current_thread(), threads)
                self.assertDatabaseCount(User, 3)
                self.assertDatabaseMissing(User, name="dora")

            test_again = test

        inner.passed(self, inner.run(Inner), 2)

    def test_async_client(self) -> None:
        class Inner(AsyncCase):
            async def test(self) -> None:
                await self.client.post("/users/bob")
                await self.client.post("/async/carl")
                await self.client.post("/forgotten/dora")
                await self.assertDatabaseCount(User, 2)

            test_again = test

        inner.passed(self, inner.run(Inner), 2)

    def test_lifespan_of_each_test(self) -> None:
        class Inner(Case):
            def test(self) -> None:
                with TestClient(app):
                    self.assertEqual(app.state.at_start, ["alice"])
                    self.assertDatabaseHas(User, name="made at start")
                self.assertDatabaseHas(User, name="made at the end")

            test_again = test

        inner.passed(self, inner.run(Inner), 2)

    def test_lifespan_of_the_class(self) -> None:
        class Inner(Case):
            @classmethod
            def setUpClass(cls) -> None:
                super().setUpClass()
                cls.client = cls.enterClassContext(TestClient(app))

            def test(self) -> None:
                self.assertEqual(app.state.at_start, ["alice"])
                self.client.post("/users/bob")
                self.assertDatabaseCount(User, 3)

            test_again = test

        class AsyncInner(AsyncCase):
            @classmethod
            async def asyncSetUpClass(cls) -> None:
                await cls.enterAsyncClassContext(app.router.lifespan_context(app))

            async def test(self) -> None:
                self.assertEqual(app.state.at_start, [])
                await self.client.post("/users/bob")
                await self.assertDatabaseCount(User, 2)

            test_again = test

        inner.passed(self, inner.run(Inner, AsyncInner), 4)


def connect() -> AsyncEngine:
    return create_async_engine("sqlite+aiosqlite:////unreachable/application.db")


@asynccontextmanager
async def connecting_lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.engine = connect()
    async with AsyncSession(app.state.engine) as session:
        app.state.at_start = (await session.scalars(select(User.name))).all()
    yield
    await app.state.engine.dispose()


class EnginesOfLifespans(unittest.TestCase):
    def test_redirected_as_they_are_made(self) -> None:
        app = FastAPI(lifespan=connecting_lifespan)

        @app.post("/users/{name}")
        async def add(name: str) -> None:
            async with AsyncSession(app.state.engine) as session:
                session.add(User(name=name))
                await session.commit()

        class Inner(Case):
            engines = None

            @classmethod
            def setUpClass(cls) -> None:
                super().setUpClass()

                def connect_to_test() -> AsyncEngine:
                    engine = connect()
                    cls.redirect_engines(engine)
                    return engine

                cls.enterClassContext(mock.patch.object(here, "connect", connect_to_test))
                cls.client = cls.enterClassContext(TestClient(app))

            def test(self) -> None:
                self.assertEqual(app.state.at_start, ["alice"])
                self.client.post("/users/bob")
                self.assertDatabaseCount(User, 2)

            test_again = test

        here = sys.modules[__name__]
        connect = here.connect
        inner.passed(self, inner.run(Inner), 2)
        self.assertNotIn("dbtestcase", type(app.state.engine.pool).__module__)


class OverriddenDependencies(unittest.TestCase):
    def test_by_a_session(self) -> None:
        class Inner(Case):
            engines = None

            def test(self) -> None:
                self.override_dependency(app, get_db, self.session)
                TestClient(app).post("/forgotten/bob")
                self.assertEqual([user.name for user in self.session.new], [])
                self.assertEqual(self.session.query(User).count(), 2)

            test_again = test

        class AsyncInner(AsyncCase):
            engines = None

            async def test(self) -> None:
                self.override_dependency(app, get_async_db, self.session)
                await self.client.post("/async/bob")
                self.assertEqual((await self.session.scalars(select(User.name))).all(), ["bob"])

            test_again = test

        inner.passed(self, inner.run(Inner, AsyncInner), 4)
        self.assertEqual(app.dependency_overrides, {})

    def test_by_a_function(self) -> None:
        def override() -> Iterator[Any]:
            with Session(app_engine) as session:
                yield session
                session.commit()

        class Inner(Case):
            def test(self) -> None:
                self.override_dependency(app, get_db, override)
                TestClient(app).post("/forgotten/bob")
                self.assertDatabaseHas(User, name="bob")

        inner.passed(self, inner.run(Inner), 1)

    def test_undone_whatever_happens(self) -> None:
        def before() -> None: ...

        def override() -> None: ...

        app.dependency_overrides[get_db] = before
        self.addCleanup(app.dependency_overrides.clear)

        class Inner(Case):
            def test_1_fails(self) -> None:
                self.override_dependency(app, get_db, override)
                self.override_dependency(app, get_async_db, override)
                self.override_dependency(app, get_async_db, before)
                self.fail("on purpose")

            def test_2_clears(self) -> None:
                if app.dependency_overrides != {get_db: before}:
                    self.skipTest(f"{app.dependency_overrides} are left")
                self.override_dependency(app, get_db, override)
                app.dependency_overrides.clear()

        result = inner.run(Inner)
        self.assertIn("on purpose", inner.only_error(self, result))
        self.assertEqual(result.skipped, [])
        self.assertEqual(app.dependency_overrides, {get_db: before})
