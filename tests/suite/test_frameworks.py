"""Factories, and Flask-SQLAlchemy-Lite with its two kinds of engines, on every backend."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase

from .. import inner
from ..models import Base, Post, User
from ..test_factories import (
    AsyncUserFactory,
    BaseFactory,
    PolyFactory,
    PolyUserFactory,
    PostFactory,
    UserFactory,
)
from ..test_flask import Base as FlaskBase
from ..test_flask import User as FlaskUser
from ..test_flask import create_lite_app, engines_of, lite
from .behaviour import ISOLATIONS


class BothWays(unittest.TestCase):
    def passes(self, case: type[unittest.TestCase], tests: int) -> None:
        """Check that ``case`` passes inside of a transaction, and with real ones."""
        for isolation in sorted(ISOLATIONS & {"transaction", "truncation"}):
            with self.subTest(isolation):
                result = inner.run(type("Inner", (case,), {"isolation": isolation}))
                inner.passed(self, result, tests)


class Factories(BothWays):
    def setUp(self) -> None:
        UserFactory.reset_sequence(5)

    def test_sync(self) -> None:
        class Sync(DatabaseTestCase):
            metadata = Base.metadata
            factories = [BaseFactory, PolyFactory]

            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                cls.first = UserFactory()
                PolyUserFactory.create_sync(name="poly")

            def test(self) -> None:
                self.assertEqual(self.first.name, "user 5")
                self.assertIn(self.first, self.session)
                self.assertEqual(PostFactory().author.name, "user 6")
                PolyUserFactory.create_sync(name="another")
                with self.engine.connect() as connection:  # they have been committed
                    self.assertEqual(connection.scalar(select(func.count(User.id))), 4)
                self.assertDatabaseCount(Post, 1)

            test_again = test

        self.passes(Sync, 2)

    def test_async(self) -> None:
        class Async(AsyncDatabaseTestCase):
            metadata = Base.metadata
            factories = [BaseFactory, AsyncUserFactory, PolyFactory]

            @classmethod
            async def asyncSetUpTestData(cls, session: AsyncSession) -> None:
                cls.first = await AsyncUserFactory(name="first")
                await PolyUserFactory.create_async(name="poly")

            async def test(self) -> None:
                self.assertIn(self.first, self.session)
                await AsyncUserFactory(name="second")
                await PolyUserFactory.create_async(name="another")
                post = await self.session.run_sync(lambda session: PostFactory())
                self.assertEqual(post.author.name, "user 5")
                await self.assertDatabaseCount(User, 5)

            test_again = test

        self.passes(Async, 2)


class FlaskSQLAlchemyLite(BothWays):
    def setUp(self) -> None:
        self.app = create_lite_app()

    def test_sync(self) -> None:
        app = self.app

        class Sync(DatabaseTestCase):
            metadata = FlaskBase.metadata
            engines = [lambda: engines_of(app)]

            def test(self) -> None:
                app.test_client().post("/users/bob")
                with app.app_context():
                    lite.session.add(FlaskUser(name="lost"))
                    lite.session.flush()
                self.assertDatabaseHas(FlaskUser, name="bob")
                self.assertDatabaseCount(FlaskUser, 1)

            test_again = test

        self.passes(Sync, 2)

    def test_async(self) -> None:
        app = self.app
        with app.app_context():
            make: Any = lite.async_sessionmaker

        class Async(AsyncDatabaseTestCase):
            metadata = FlaskBase.metadata
            engines = [lambda: engines_of(app)]

            async def test(self) -> None:
                async with make.begin() as session:
                    session.add(FlaskUser(name="bob"))
                await self.assertDatabaseCount(FlaskUser, 1)

            test_again = test

        class WithRequests(Async):
            async def test_request(self) -> None:
                await asyncio.to_thread(app.test_client().post, "/users/carl")
                async with make() as session:
                    self.assertEqual(await session.scalar(select(FlaskUser.name)), "carl")

        self.passes(Async, 2)
        inner.passed(self, inner.run(WithRequests), 3)
