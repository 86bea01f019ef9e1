"""The application's session factories: led into the test's database, and restored."""

from __future__ import annotations

import asyncio
import threading
import unittest
from typing import Any

from sqlalchemy import (
    Column,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    func,
    insert,
    select,
)
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlmodel import Session as SQLModelSession

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase, OptionError, open_sessions

from . import inner
from .models import Base, Post, Tag, User

UNREACHABLE = "sqlite:////unreachable/application.db"
ASYNC_UNREACHABLE = "sqlite+aiosqlite:////unreachable/application.db"

SessionLocal = sessionmaker(create_engine(UNREACHABLE))


def add(make: Any, *, commit: bool = True) -> None:
    with make() as session:
        session.add(User(name="bob"))
        if commit:
            session.commit()


async def add_async(make: Any) -> None:
    async with make() as session:
        session.add(User(name="bob"))
        await session.commit()


class Case(DatabaseTestCase):
    metadata = Base.metadata


class AsyncCase(AsyncDatabaseTestCase):
    metadata = Base.metadata


class Makers(unittest.TestCase):
    def leads_to_test(self, make: Any, *, used: Any = None) -> None:
        """Check that sessions of ``make`` lead to the test's database, and to none after it."""

        class Inner(Case):
            session_factories = [make]

            def test(self) -> None:
                add(used or make)
                self.assertDatabaseCount(User, 1)

            def test_forgotten_commit(self) -> None:
                add(used or make, commit=False)
                self.assertDatabaseEmpty()

            def test_failing(self) -> None:
                add(used or make)
                self.fail("on purpose")

        self.assertIn("on purpose", inner.only_error(self, inner.run(Inner)))

    def test_bound(self) -> None:
        engine = create_engine(UNREACHABLE)
        make = sessionmaker(engine)
        before = (engine.pool, engine.dialect, dict(vars(make.class_)), dict(make.kw))
        self.leads_to_test(make)
        after = (engine.pool, engine.dialect, dict(vars(make.class_)), dict(make.kw))
        self.assertEqual(before, after)

    def test_its_engine_is_redirected_too(self) -> None:
        make = sessionmaker(create_engine(UNREACHABLE))
        self.leads_to_test(make, used=lambda: Session(make.kw["bind"]))

    def test_by_name_and_by_function(self) -> None:
        self.leads_to_test("tests.test_session_factories:SessionLocal", used=SessionLocal)
        self.leads_to_test(lambda: [SessionLocal], used=SessionLocal)

    def test_bound_to_nothing(self) -> None:
        self.leads_to_test(sessionmaker())

    def test_bound_while_the_test_runs(self) -> None:
        make = sessionmaker()

        def configure() -> Session:
            make.configure(bind=create_engine(UNREACHABLE))
            return make()

        self.leads_to_test(make, used=configure)

    def test_binds(self) -> None:
        engines = {model: create_engine(UNREACHABLE) for model in (User, Post)}
        make = sessionmaker(binds=engines)

        class Inner(Case):
            session_factories = [make]

            def test(self) -> None:
                with make() as session:
                    session.add(Post(title="first", author=User(name="bob")))
                    session.commit()
                    with self.assertRaises(UnboundExecutionError):
                        session.scalars(select(Tag))
                self.assertDatabaseCount(User, 1)
                self.assertDatabaseCount(Post, 1)

        inner.passed(self, inner.run(Inner), 1)

    def test_get_bind_override(self) -> None:
        leader = create_engine(UNREACHABLE)
        follower = create_engine(UNREACHABLE).execution_options(mine="follower")
        before = (leader.pool, follower.pool, follower.dialect)

        class Routing(Session):
            def get_bind(self, *args: Any, **kwargs: Any) -> Engine:
                return leader if self._flushing else follower

        make = sessionmaker(class_=Routing)

        class Inner(Case):
            session_factories = [make]

            def test(self) -> None:
                add(make)
                with make() as session:
                    self.assertEqual(session.scalars(select(User.name)).all(), ["bob"])
                    self.assertIs(session.connection().engine, follower)
                with follower.connect() as connection:
                    self.assertEqual(connection.scalar(select(func.count(User.id))), 1)

            test_again = test

        inner.passed(self, inner.run(Inner), 2)
        self.assertEqual(before, (leader.pool, follower.pool, follower.dialect))

    def test_class_of_the_application(self) -> None:
        self.leads_to_test(sessionmaker(create_engine(UNREACHABLE), class_=SQLModelSession))

    def test_engine_made_late_is_restored_after_the_test(self) -> None:
        engines: list[Engine] = []
        pools = []

        class Routing(Session):
            def get_bind(self, *args: Any, **kwargs: Any) -> Engine:
                return engines[-1]

        make = sessionmaker(class_=Routing)

        class Inner(Case):
            session_factories = [make]

            def test_1(self) -> None:
                engines.append(create_engine(UNREACHABLE))
                pools.append(engines[-1].pool)
                add(make)
                self.fail("on purpose")

            def test_2(self) -> None:
                self.assertIs(engines[0].pool, pools[0])

        self.assertIn("on purpose", inner.only_error(self, inner.run(Inner)))

    def test_listeners_that_come_during_a_test_stay(self) -> None:
        make = sessionmaker(create_engine(UNREACHABLE))
        heard = []

        class Inner(Case):
            session_factories = [make]

            def test_1(self) -> None:
                event.listen(make, "before_flush", lambda *args: heard.append("a flush"))
                add(make)

            def test_2(self) -> None:
                add(make)

        inner.passed(self, inner.run(Inner), 2)
        self.assertEqual(heard, ["a flush"] * 2)

    def test_in_an_async_class(self) -> None:
        make = sessionmaker(create_engine(UNREACHABLE))
        make_async = async_sessionmaker(create_async_engine(ASYNC_UNREACHABLE))
        unbound = async_sessionmaker()
        synced = async_sessionmaker(sync_session_class=sessionmaker())
        before = [dict(one.kw) for one in (make, make_async, unbound, synced)]

        class Inner(AsyncCase):
            session_factories = [make, make_async, unbound, synced]

            async def test(self) -> None:
                await asyncio.to_thread(add, make)
                for other in (make_async, unbound, synced):
                    async with other() as session:
                        found = await session.scalars(select(User))
                        await session.delete(found.one())
                        await session.commit()
                    await self.assertDatabaseEmpty()
                    await add_async(other)
                await self.assertDatabaseCount(User, 1)

            test_again = test

        inner.passed(self, inner.run(Inner), 2)
        self.assertEqual(before, [dict(one.kw) for one in (make, make_async, unbound, synced)])
        self.assertNotIn("get_bind", vars(synced.kw["sync_session_class"].class_))

    def test_async_ones_in_a_sync_class(self) -> None:
        make = async_sessionmaker(create_async_engine(ASYNC_UNREACHABLE))

        class Inner(Case):
            session_factories = [make]

            def test(self) -> None:
                asyncio.run(add_async(make))
                self.assertDatabaseCount(User, 1)

        inner.passed(self, inner.run(Inner), 1)

    def test_several_databases(self) -> None:
        make = sessionmaker()
        lost = sessionmaker(create_engine(UNREACHABLE))
        other = create_engine(UNREACHABLE)
        by_name = sessionmaker(binds={Tag: other})

        class Inner(DatabaseTestCase):
            databases = {
                "default": {"metadata": Base.metadata},
                "other": {"engines": [other]},
            }
            session_factories = [make]

            def test(self) -> None:
                add(make)
                self.assertDatabaseCount(User, 1)

        class Named(Inner):
            session_factories = [by_name]

            def test(self) -> None:
                with by_name() as session:
                    session.connection(bind_arguments={"mapper": Tag})

        class Lost(Inner):
            session_factories = [lost]

        inner.passed(self, inner.run(Inner, Named), 2)
        error = inner.only_error(self, inner.run(Lost))
        self.assertIn("nothing says which of the databases it stands for", error)

    def test_engine_of_another_database(self) -> None:
        engine = create_engine(UNREACHABLE)

        class Inner(DatabaseTestCase):
            databases = {"default": {"metadata": Base.metadata}, "other": {}}

            def test(self) -> None:
                self.redirect_engines(engine, alias="default")
                self.redirect_engines(engine)
                with self.assertRaisesRegex(TypeError, "leads to 'default' already"):
                    self.redirect_engines(engine, alias="other")
                add(sessionmaker(engine))
                self.assertDatabaseHas(User, name="bob")

            def test_which(self) -> None:
                with self.assertRaisesRegex(TypeError, 'alias="default"'):
                    self.redirect_engines(engine)

        inner.passed(self, inner.run(Inner), 2)

    def test_refused(self) -> None:
        with create_engine("sqlite://").connect() as connection:
            self.addCleanup(connection.engine.dispose)
            wrong = {
                "which makes no sessions": 42,
                "name the engine in engines": create_engine(UNREACHABLE),
                "tests.models has no 'SessionLocl'": "tests.models:SessionLocl",
                "is bound to a connection": sessionmaker(connection),
                "describe a database for each shard": sessionmaker(class_=ShardedSession),
                "the same tables with other": scoped_session(sessionmaker(class_=ShardedSession)),
                "that takes a scoped_session": async_scoped_session(
                    async_sessionmaker(), asyncio.current_task
                ),
            }
            for message, value in wrong.items():
                with self.subTest(message):

                    class Wrong(Case):
                        session_factories = [value]

                        def test(self) -> None: ...

                    error = inner.only_error(self, inner.run(Wrong))
                    self.assertIn(OptionError.__name__, error)
                    self.assertIn("Wrong: session_factories contains", error)
                    self.assertIn(message, error)

    def test_refused_in_an_async_class(self) -> None:
        registry = scoped_session(sessionmaker())

        class Wrong(AsyncCase):
            session_factories = [registry]

            async def test(self) -> None: ...

        error = inner.only_error(self, inner.run(Wrong))
        self.assertIn("that takes an async_scoped_session", error)

    def test_unbound_of_the_other_colour(self) -> None:
        make = sessionmaker()

        class Inner(AsyncCase):
            session_factories = [make]

            async def test(self) -> None:
                with self.assertRaisesRegex(TypeError, "bind it to an engine before"):
                    await asyncio.to_thread(add, make)

        inner.passed(self, inner.run(Inner), 1)

    def test_shards_by_databases(self) -> None:
        shards = {name: create_engine(UNREACHABLE) for name in ("one", "two")}
        make = sessionmaker(
            class_=ShardedSession,
            shards=shards,
            shard_chooser=lambda mapper, instance, clause=None: instance.color,
            identity_chooser=lambda *args, **kwargs: list(shards),
            execute_chooser=lambda context: list(shards),
        )

        class Inner(DatabaseTestCase):
            databases = {
                "default": {"metadata": Base.metadata, "engines": [shards["one"]]},
                "two": {"engines": [shards["two"]]},
            }

            @classmethod
            def setUpDatabase(cls, connection: Any) -> None:
                if connection.info["dbtestcase_alias"] == "two":
                    Base.metadata.create_all(connection)
                super().setUpDatabase(connection)

            def test(self) -> None:
                with make() as session:
                    session.add_all([Tag(word="a", color="one"), Tag(word="b", color="two")])
                    session.commit()
                    words = session.scalars(select(Tag.word)).all()
                    self.assertEqual(sorted(words), ["a", "b"])
                self.assertDatabaseCount(Tag, 1, using="default", color="one")
                self.assertDatabaseCount(Tag, 1, using="two", color="two")

        inner.passed(self, inner.run(Inner), 1)


class PinnedRegistries(unittest.TestCase):
    def test_shares_the_session_of_the_test(self) -> None:
        class Own(Session):
            pass

        registry = scoped_session(
            sessionmaker(create_engine(UNREACHABLE), class_=Own, expire_on_commit=False)
        )
        before = registry.registry

        class Inner(Case):
            session_factories = [registry]

            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                cls.alice = User(name="alice")
                registry.add(cls.alice)
                registry.remove()

            def test(self) -> None:
                self.assertIs(registry(), self.session)
                self.assertIsInstance(self.session, Own)
                self.assertFalse(self.session.expire_on_commit)
                bob = User(name="bob")
                registry.add(bob)
                registry.commit()
                registry.remove()
                self.assertIn(bob, self.session)
                self.assertIn(self.alice, registry)
                self.assertDatabaseCount(User, 2)

            test_again = test

            def test_remove_in_a_thread(self) -> None:
                registry.add(User(name="bob"))
                thread = threading.Thread(target=registry.remove)
                thread.start()
                thread.join()
                registry.commit()
                self.assertDatabaseHas(User, name="bob")

            def test_failing(self) -> None:
                registry.add(User(name="bob"))
                self.fail("on purpose")

        self.assertIn("on purpose", inner.only_error(self, inner.run(Inner)))
        self.assertIs(registry.registry, before)
        self.assertFalse(registry.registry.has())

    def test_made_by_a_function(self) -> None:
        engine = create_engine(UNREACHABLE)
        registry = scoped_session(lambda: Session(engine, autoflush=False))

        class Inner(Case):
            session_factories = [registry]

            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                registry.add(User(name="alice"))

            def test(self) -> None:
                self.assertFalse(self.session.autoflush)
                registry.add(User(name="bob"))
                registry.commit()
                self.assertDatabaseCount(User, 2)

        inner.passed(self, inner.run(Inner), 1)

    def test_under_truncation(self) -> None:
        registry = scoped_session(sessionmaker(create_engine(UNREACHABLE)))
        unbound = sessionmaker()

        class Inner(Case):
            session_factories = [registry, unbound]
            isolation = "truncation"

            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                registry.add(User(name="alice"))

            def test(self) -> None:
                self.assertEqual(registry.query(User).count(), 1)
                registry.add(User(name="carl"))
                registry.commit()
                add(unbound)
                self.assertDatabaseCount(User, 3)

            test_again = test

        inner.passed(self, inner.run(Inner), 2)

    def test_session_class_contradicts(self) -> None:
        registry = scoped_session(sessionmaker())

        class Wrong(Case):
            session_factories = [registry]
            session_class = SQLModelSession

            def test(self) -> None: ...

        error = inner.only_error(self, inner.run(Wrong))
        self.assertIn("session_class and session_factories contradict each other", error)

    def test_session_options_and_several_databases(self) -> None:
        registry = scoped_session(sessionmaker())

        class Inner(DatabaseTestCase):
            databases = {"default": {"metadata": Base.metadata}, "other": {}}
            session_factories = [registry]
            session_options = {"info": {"of": "the test"}}

            def test(self) -> None:
                self.assertEqual(registry.info, {"of": "the test"})
                registry.add(User(name="bob"))
                registry.commit()
                self.assertDatabaseHas(User, using="default", name="bob")
                bind = self.session_of("other").get_bind()
                self.assertIs(bind, self.engine_of("other"))

        inner.passed(self, inner.run(Inner), 1)

    def test_async(self) -> None:
        registry = async_scoped_session(
            async_sessionmaker(create_async_engine(ASYNC_UNREACHABLE)), asyncio.current_task
        )

        class Inner(AsyncCase):
            session_factories = [registry]

            @classmethod
            async def asyncSetUpTestData(cls, session: AsyncSession) -> None:
                cls.alice = User(name="alice")
                registry.add(cls.alice)

            async def test(self) -> None:
                self.assertIs(registry(), self.session)
                registry.add(User(name="bob"))
                await registry.commit()
                await registry.remove()
                await asyncio.create_task(registry.remove())
                self.assertIn(self.alice, registry)
                await self.assertDatabaseCount(User, 2)

            test_again = test

        inner.passed(self, inner.run(Inner), 2)
        self.assertEqual(registry.registry.registry, {})


class OwnRegistries(unittest.TestCase):
    """Registries that no option names: the application's own affair, but not between tests."""

    def test_empty_in_each_test(self) -> None:
        engine = create_engine(UNREACHABLE)
        registry = scoped_session(sessionmaker(engine, expire_on_commit=False))
        kept = []

        class Inner(Case):
            engines = [engine]

            def test_1_commits(self) -> None:
                bob = User(id=1, name="bob")
                registry.add(bob)
                registry.commit()
                kept.append(bob)
                self.assertIsNot(registry(), self.session)

            def test_2_leaves_a_transaction(self) -> None:
                self.assertEqual(list(registry), [])
                bob = User(id=1, name="another bob")
                registry.add(bob)
                registry.flush()
                kept.append(bob)

            def test_3_leaves_what_is_not_flushed(self) -> None:
                self.assertEqual(list(registry), [])
                registry.add(User(name="bob"))

            def test_4_forgets_to_commit(self) -> None:
                self.assertEqual(list(registry.new), [])
                registry.add(User(name="bob"))
                registry.remove()
                self.assertDatabaseEmpty()

            def test_5_in_another_thread(self) -> None:
                registry.execute(insert(User).values(name="bob"))

        inner.passed(self, inner.run(Inner), 5)
        self.assertFalse(registry().in_transaction())

    def test_session_of_the_class_keeps_its_objects(self) -> None:
        engine = create_engine(UNREACHABLE)
        registry = scoped_session(sessionmaker(engine))

        class Inner(Case):
            engines = [engine]

            @classmethod
            def setUpClass(cls) -> None:
                super().setUpClass()
                cls.alice = User(name="alice")
                registry.add(cls.alice)
                registry.commit()

            def test(self) -> None:
                self.assertEqual(self.alice.name, "alice")
                self.assertIn(self.alice, registry)
                self.alice.name = "changed"
                registry.add(User(name="bob"))

            test_again = test

        inner.passed(self, inner.run(Inner), 2)
        self.assertEqual(list(registry), [])
        self.assertFalse(registry().in_transaction())

    def test_class_that_is_done_takes_no_notes(self) -> None:
        class Inner(Case):
            def test(self) -> None:
                self.fail("on purpose")

        before = list(open_sessions._notified)
        inner.only_error(self, inner.run(Inner))
        self.assertEqual(open_sessions._notified, before)

    def test_session_that_never_connected(self) -> None:
        elsewhere = scoped_session(sessionmaker(create_engine("sqlite://")))
        nowhere = scoped_session(sessionmaker())
        ours = scoped_session(sessionmaker())

        class Inner(Case):
            session_factories = [ours.session_factory]

            def test(self) -> None:
                for registry in (elsewhere, nowhere, ours):
                    registry.add(User(name="bob"))

        inner.passed(self, inner.run(Inner), 1)
        self.assertEqual(len(elsewhere.new), 1)
        self.assertEqual([*nowhere.new, *ours.new], [])

    def used_by_the_set_ups_of_two_classes(self, make: async_sessionmaker[Any]) -> None:
        registry = async_scoped_session(make, lambda: "one for all")

        class First(AsyncCase):
            session_factories = [registry]

            @classmethod
            async def asyncSetUpClass(cls) -> None:
                registry.add(User(name="bob"))
                await registry.commit()

            async def test(self) -> None:
                await self.assertDatabaseCount(User, 1)

        class OfAnotherDatabase(First):
            metadata = [Base.metadata, MetaData()]

        Table("more", OfAnotherDatabase.metadata[1], Column("id", Integer, primary_key=True))
        inner.passed(self, inner.run(First, OfAnotherDatabase), 2)

    def test_set_ups_of_classes_share_an_async_one(self) -> None:
        self.used_by_the_set_ups_of_two_classes(
            async_sessionmaker(create_async_engine(ASYNC_UNREACHABLE))
        )

    def test_set_ups_of_classes_share_an_async_one_bound_to_nothing(self) -> None:
        self.used_by_the_set_ups_of_two_classes(async_sessionmaker())

    def test_under_truncation_and_async(self) -> None:
        engine = create_async_engine(ASYNC_UNREACHABLE)
        make = async_sessionmaker(engine, expire_on_commit=False)
        registry = async_scoped_session(make, lambda: "one for all")

        async def add_two() -> None:
            registry.add(User(name="committed"))
            await registry.commit()
            registry.add(User(name="flushed"))
            await registry.flush()

        class InTransaction(AsyncCase):
            engines = [engine]

            async def test(self) -> None:
                self.assertEqual(list(registry), [])
                await add_two()
                await self.assertDatabaseHas(User, name="committed")

            test_again = test

        class InCopy(InTransaction):
            isolation = "truncation"

        class InSyncClass(Case):
            engines = [engine]

            def test(self) -> None:
                self.assertEqual(list(registry), [])
                asyncio.run(add_two())
                self.assertDatabaseHas(User, name="committed")

            test_again = test

        class InSyncCopy(InSyncClass):
            isolation = "truncation"

        inner.passed(self, inner.run(InTransaction, InCopy, InSyncClass, InSyncCopy), 8)
