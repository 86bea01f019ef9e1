"""factory_boy's and polyfactory's factories: in the test's session, reproducible, and restored."""

from __future__ import annotations

import unittest
from typing import Any

import factory.random
import faker.generator
from factory.alchemy import SQLAlchemyModelFactory
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory
from sqlalchemy import create_engine, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase, OptionError

from . import inner
from .models import Base, Post, User

Registry = scoped_session(sessionmaker(create_engine("sqlite:////unreachable/application.db")))
AsyncSessionLocal = async_sessionmaker(
    create_async_engine("sqlite+aiosqlite:////unreachable/application.db")
)


class BaseFactory(SQLAlchemyModelFactory):
    class Meta:
        abstract = True
        sqlalchemy_session = Registry
        sqlalchemy_session_persistence = "commit"


class UserFactory(BaseFactory):
    class Meta:
        model = User

    name = factory.Sequence(lambda number: f"user {number}")
    age = factory.Faker("random_int")


class PostFactory(BaseFactory):
    class Meta:
        model = Post
        sqlalchemy_session = None
        sqlalchemy_session_factory = Registry

    title = factory.Faker("sentence")
    author = factory.SubFactory(UserFactory)


class AsyncUserFactory(SQLAlchemyModelFactory):
    """As people write it for async sessions."""

    class Meta:
        model = User

    name = factory.Faker("name")

    @classmethod
    async def _create(cls, model_class: Any, *args: Any, **kwargs: Any) -> Any:
        session = cls._meta.sqlalchemy_session
        user = model_class(*args, **kwargs)
        session.add(user)
        await session.commit()
        return user


class PolyFactory(SQLAlchemyFactory[Any]):
    __is_base_factory__ = True
    __session__ = Registry
    __async_session__ = AsyncSessionLocal


class PolyUserFactory(PolyFactory):
    __model__ = User
    __set_relationships__ = False


class PolyPostFactory(PolyFactory):
    __model__ = Post
    __session__ = sessionmaker(create_engine("sqlite:////unreachable/application.db"))
    __set_association_proxy__ = False


def state() -> list[Any]:
    """Return all that a test changes."""
    boys = [vars(one._meta).copy() for one in (BaseFactory, UserFactory, PostFactory)]
    for boy in boys:
        del boy["_counter"]
    return [
        boys,
        [
            {name: value for name, value in vars(one).items() if name in REPLACED}
            for one in (SQLAlchemyFactory, PolyFactory, PolyUserFactory, PolyPostFactory)
        ],
        factory.random.randgen.getstate(),
        faker.generator.random.getstate(),
        PolyFactory.__faker__.random,
        UserFactory._meta.next_sequence(),
    ]


REPLACED = ("__session__", "__async_session__", "__random__")


class Case(DatabaseTestCase):
    metadata = Base.metadata


class FactoryBoy(unittest.TestCase):
    def setUp(self) -> None:
        UserFactory.reset_sequence(5)

    def check(self, *cases: type[unittest.TestCase], tests: int) -> None:
        before = state()
        UserFactory.reset_sequence(before[-1])
        inner.passed(self, inner.run(*cases), tests)
        self.assertEqual(state(), before)

    def test_one_factory(self) -> None:
        class Inner(Case):
            factories = [UserFactory]

            def test(self) -> None:
                user = UserFactory()
                self.assertIn(user, self.session)
                self.assertDatabaseHas(User, name="user 5")

            test_again = test

        self.check(Inner, tests=2)

    def test_base_of_all(self) -> None:
        class Inner(Case):
            factories = ["tests.test_factories:BaseFactory"]

            def test(self) -> None:
                post = PostFactory(author__name="bob")
                self.assertIn(post, self.session)
                self.assertDatabaseHas(User, name="bob")
                self.assertDatabaseCount(Post, 1)

        self.check(Inner, tests=1)

    def test_class_data_and_sequences(self) -> None:
        class Inner(Case):
            factories = BaseFactory

            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                cls.first = UserFactory()

            def test(self) -> None:
                self.assertIn(self.first, self.session)
                self.assertEqual(self.first.name, "user 5")
                self.assertEqual(UserFactory().name, "user 6")

            test_again = test

        self.check(Inner, tests=2)

    def test_data_is_the_same_in_any_order(self) -> None:
        seen: list[list[Any]] = []

        class Inner(Case):
            factories = [BaseFactory]

            def test_1(self) -> None:
                seen.append([1, PostFactory().title, UserFactory().age])

            def test_2(self) -> None:
                seen.append([2, PostFactory().title, UserFactory().age])

        self.check(Inner, tests=2)
        suite = unittest.TestSuite([Inner("test_2"), Inner("test_1")])
        suite.run(unittest.TestResult())
        self.assertEqual(sorted(seen[:2]), sorted(seen[2:]))
        self.assertNotEqual(seen[0][1:], seen[1][1:])

    def test_restored_after_a_failing_test(self) -> None:
        class Inner(Case):
            factories = [BaseFactory]

            def test(self) -> None:
                PostFactory()
                self.fail("on purpose")

        before = state()
        UserFactory.reset_sequence(before[-1])
        self.assertIn("on purpose", inner.only_error(self, inner.run(Inner)))
        self.assertEqual(state(), before)

    def test_factory_defined_while_a_test_runs(self) -> None:
        defined = []

        class Inner(Case):
            factories = [BaseFactory]

            def test(self) -> None:
                class LateFactory(UserFactory):
                    pass

                defined.append(LateFactory)
                self.assertIn(LateFactory(), self.session)

        self.check(Inner, tests=1)
        self.assertIs(defined[0]._meta.sqlalchemy_session, Registry)

    def test_in_an_async_class(self) -> None:
        class Inner(AsyncDatabaseTestCase):
            metadata = Base.metadata
            factories = [AsyncUserFactory, BaseFactory]

            @classmethod
            async def asyncSetUpTestData(cls, session: AsyncSession) -> None:
                cls.alice = await AsyncUserFactory(name="alice")

            async def test(self) -> None:
                bob = await AsyncUserFactory(name="bob")
                self.assertIn(bob, self.session)
                await self.session.run_sync(lambda session: UserFactory(name="carl"))
                await self.assertDatabaseCount(User, 3)
                self.assertEqual(self.alice.name, "alice")

            test_again = test

        self.check(Inner, tests=2)
        self.assertIsNone(AsyncUserFactory._meta.sqlalchemy_session)

    def test_both_colours_of_one_base(self) -> None:
        class Inner(AsyncDatabaseTestCase):
            metadata = Base.metadata
            factories = [SQLAlchemyModelFactory]

            async def test(self) -> None:
                await AsyncUserFactory(name="bob")
                await self.session.run_sync(lambda session: UserFactory(name="carl"))
                await self.assertDatabaseCount(User, 2)

        self.check(Inner, tests=1)
        self.assertIsNone(AsyncUserFactory._meta.sqlalchemy_session)

    def test_shared_with_a_registry(self) -> None:
        class Inner(Case):
            session_factories = [Registry]
            factories = [BaseFactory]

            def test(self) -> None:
                self.assertIn(UserFactory(), Registry)

        self.check(Inner, tests=1)

    def test_no_factory(self) -> None:
        for value in (factory.Factory, User, "tests.models:User", 42):
            with self.subTest(value):

                class Wrong(Case):
                    factories = [value]

                    def test(self) -> None: ...

                error = inner.only_error(self, inner.run(Wrong))
                self.assertIn(OptionError.__name__, error)
                self.assertIn("Wrong: factories contains", error)
                self.assertIn("which is no factory of SQLAlchemy objects", error)


class Polyfactory(FactoryBoy):
    def test_one_factory(self) -> None:
        class Inner(Case):
            factories = [PolyUserFactory]

            def test(self) -> None:
                user = PolyUserFactory.create_sync(name="bob")
                self.assertIn(user, self.session)
                self.assertDatabaseHas(User, name="bob")

        self.check(Inner, tests=1)

    def test_base_of_all(self) -> None:
        class Inner(Case):
            factories = [SQLAlchemyFactory]

            def test(self) -> None:
                post = PolyPostFactory.create_sync(author=User(name="bob"))
                self.assertIn(post, self.session)
                self.assertEqual(len(PolyUserFactory.create_batch_sync(3)), 3)
                self.assertDatabaseCount(User, 4)

        self.check(Inner, tests=1)

    def test_class_data_and_sequences(self) -> None:
        class Inner(Case):
            factories = [PolyFactory]

            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                cls.first = PolyUserFactory.create_sync(name="alice")

            def test(self) -> None:
                self.assertIn(self.first, self.session)

            test_again = test

        self.check(Inner, tests=2)

    def test_data_is_the_same_in_any_order(self) -> None:
        seen: list[list[Any]] = []

        class Inner(Case):
            factories = [PolyFactory]

            def make(self) -> list[Any]:
                user = PolyUserFactory.create_sync()
                name = PolyFactory.__faker__.name()
                return [user.name, user.age, name]

            def test_1(self) -> None:
                seen.append([1, *self.make()])

            def test_2(self) -> None:
                seen.append([2, *self.make()])

        self.check(Inner, tests=2)
        suite = unittest.TestSuite([Inner("test_2"), Inner("test_1")])
        suite.run(unittest.TestResult())
        self.assertEqual(sorted(seen[:2]), sorted(seen[2:]))
        self.assertNotEqual(seen[0][1:], seen[1][1:])

    def test_in_an_async_class(self) -> None:
        class Inner(AsyncDatabaseTestCase):
            metadata = Base.metadata
            factories = [PolyFactory]

            async def test(self) -> None:
                bob = await PolyUserFactory.create_async(name="bob")
                self.assertIn(bob, self.session)
                await self.session.run_sync(lambda session: PolyUserFactory.create_sync())
                await self.assertDatabaseCount(User, 2)
                self.assertEqual(len((await self.session.scalars(select(User))).all()), 2)

        self.check(Inner, tests=1)

    def test_factory_defined_while_a_test_runs(self) -> None:
        defined = []

        class Inner(Case):
            factories = [PolyFactory]

            def test(self) -> None:
                defined.append(PolyUserFactory.create_factory(User))
                self.assertIn(defined[0].create_sync(), self.session)

        self.check(Inner, tests=1)
        self.assertIs(defined[0].__session__, Registry)
