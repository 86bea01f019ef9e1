"""Attributes that ORM objects load in a coroutine, where SQLAlchemy cannot wait for them."""

from __future__ import annotations

import gc
import unittest
import warnings
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import MissingGreenlet, StatementError
from sqlalchemy.ext.asyncio import AsyncSession

from dbtestcase import AsyncDatabaseTestCase

from .. import inner
from ..models import Base, Post, User, app_async_engine
from .behaviour import ISOLATIONS


class LazyLoads(unittest.TestCase):
    isolation = "transaction"

    def failure(self, load: Any) -> str:
        """Return how a test fails in which ``load(session)`` loads something by itself."""

        class Case(AsyncDatabaseTestCase):
            metadata = Base.metadata
            engines = app_async_engine
            isolation = self.isolation  # type: ignore[assignment]

            async def asyncSetUp(self) -> None:
                await super().asyncSetUp()
                async with AsyncSession(app_async_engine) as session:
                    session.add(User(name="alice", posts=[Post(title="one")]))
                    await session.commit()

            async def test(self) -> None:
                async with AsyncSession(app_async_engine) as session:
                    await load(session)

        with warnings.catch_warnings():
            # SQLAlchemy leaves what it cannot await.
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            result = inner.run(Case)
            gc.collect()
        return inner.only_error(self, result)

    def reads(self, text: str, attribute: str, *fixes: str) -> None:
        self.assertIn("MissingGreenlet", text)
        self.assertIn(f"\n{attribute} had to be loaded, in a coroutine that did not await it", text)
        self.assertIn("expire_on_commit=False", text)
        for fix in fixes:
            self.assertIn(fix, text)

    def test_relationship(self) -> None:
        async def load(session: AsyncSession) -> None:
            user = (await session.scalars(select(User))).one()
            _ = user.posts

        for self.isolation in sorted({"transaction", "truncation"} & ISOLATIONS):
            with self.subTest(self.isolation):
                text = self.failure(load)
                self.reads(text, "User.posts", "selectinload(User.posts)", "awaitable_attrs")

    def test_column_that_has_expired(self) -> None:
        async def load(session: AsyncSession) -> None:
            user = (await session.scalars(select(User))).one()
            await session.commit()
            _ = user.name

        self.reads(self.failure(load), "User.name", 'refresh(…, ["name"])')

    def test_session_without_a_connection(self) -> None:
        async def load(session: AsyncSession) -> None:
            user = (await session.scalars(select(User))).one()
            await session.rollback()
            await app_async_engine.dispose()
            _ = user.name

        self.reads(self.failure(load), "User.name")

    def test_type_of_the_error(self) -> None:
        errors: list[BaseException] = []

        async def load(session: AsyncSession) -> None:
            user = (await session.scalars(select(User))).one()
            with self.assertRaises((MissingGreenlet, StatementError)) as raised:
                _ = user.posts
            errors.append(getattr(raised.exception, "orig", raised.exception))
            self.fail("for its text")

        self.assertNotIn("had to be loaded", self.failure(load))
        self.assertIsInstance(errors[0], MissingGreenlet)

    def test_queries_that_are_not_awaited(self) -> None:
        async def load(session: AsyncSession) -> None:
            session.sync_session.scalars(select(User)).one()

        self.assertNotIn("had to be loaded", self.failure(load))
