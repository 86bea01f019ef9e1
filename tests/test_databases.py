"""Several databases in one test class: routed, isolated, and clean again, each for itself."""

from __future__ import annotations

import functools
import unittest
from contextlib import suppress
from typing import Any
from unittest import mock

from sqlalchemy import (
    MetaData,
    String,
    create_engine,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy import inspect as inspect_database
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, object_session
from sqlalchemy.util import await_only, greenlet_spawn

from dbtestcase import (
    AsyncDatabaseTestCase,
    DatabaseTestCase,
    InterleavedTransactionsError,
    NotReadyError,
    OptionError,
    TransactionEndedError,
    UsageError,
)
from dbtestcase.backends import Features
from dbtestcase.backends.sqlite import SQLiteBackend
from dbtestcase.class_database import ClassDatabase

from . import inner
from .models import Base, User, app_async_engine, app_engine, register
from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql

events_engine = create_engine("sqlite:////unreachable/events.db")
events_async_engine = create_async_engine("sqlite+aiosqlite:////unreachable/events.db")


class EventBase(DeclarativeBase):
    pass


class Event(EventBase):
    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True)
    what: Mapped[str] = mapped_column(String(100), unique=True)


class Namesake(EventBase):
    """Its table is called like one of the other database."""

    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)


def both(default: str = "sqlite://", analytics: str = "sqlite://") -> dict[str, Any]:
    """Return the ``databases`` of the application."""
    return {
        "analytics": {
            "database": analytics,
            "metadata": EventBase,
            "engines": [events_engine, f"{__name__}:events_async_engine"],
        },
        "default": {
            "database": default,
            "metadata": Base.metadata,
            "engines": [app_engine, app_async_engine],
        },
    }


class Sync(DatabaseTestCase):
    databases = both()
    events_engine = events_engine
    app_engine = app_engine

    def own_session_of(self, alias: str) -> Session:
        return self.session_of(alias)

    def own_engine_of(self, alias: str) -> Engine:
        return self.engine_of(alias)

    @property
    def own_session(self) -> Session:
        return self.session

    def check(self, assertion: None) -> None: ...


def in_greenlet(test: Any) -> Any:
    """Let a test that calls SQLAlchemy's synchronous API run on an async driver."""

    @functools.wraps(test)
    async def run(self: Any) -> None:
        await greenlet_spawn(test, self)

    return run


class Async(AsyncDatabaseTestCase):
    databases = both()
    events_engine = events_async_engine.sync_engine
    app_engine = app_async_engine.sync_engine

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in dir(cls):
            if name.startswith("test_"):
                setattr(cls, name, in_greenlet(getattr(cls, name)))

    def own_session_of(self, alias: str) -> Session:
        return self.session_of(alias).sync_session

    def own_engine_of(self, alias: str) -> Engine:
        return self.engine_of(alias).sync_engine

    @property
    def own_session(self) -> Session:
        return self.session.sync_session

    def check(self, assertion: Any) -> None:
        await_only(assertion)


class EveryPair:
    """What holds whatever the databases, the colour and the isolation."""

    check: Any
    own_session: Session
    own_session_of: Any
    own_engine_of: Any
    app_engine: Engine
    events_engine: Engine

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        cls.alice = User(id=100, name="alice")
        cls.opened = Event(id=100, what="opened")
        cls.mixed = [cls.alice, {"event": cls.opened}]
        session.add_all([cls.alice, cls.opened])

    def names(self) -> list[str]:
        with self.own_engine_of("default").connect() as connection:
            return sorted(connection.scalars(select(User.name)))

    def events(self) -> list[str]:
        with self.own_engine_of("analytics").connect() as connection:
            return sorted(connection.scalars(select(Event.what)))

    def starts_clean(self) -> None:
        self.assertEqual((self.names(), self.events()), (["alice"], ["opened"]))

    def test_one_session_commits_in_all(self) -> None:
        self.starts_clean()
        self.own_session.add_all([User(name="bob"), Event(what="closed")])
        self.own_session.commit()
        self.assertEqual(self.names(), ["alice", "bob"])
        self.assertEqual(self.events(), ["closed", "opened"])

    def test_one_session_rolls_back_in_all(self) -> None:
        self.starts_clean()
        self.own_session.add_all([User(name="bob"), Event(what="closed")])
        self.own_session.flush()
        self.own_session.rollback()
        self.starts_clean()

    def test_every_engine_of_the_application_commits_and_rolls_back(self) -> None:
        self.starts_clean()
        with Session(self.app_engine) as users, Session(self.events_engine) as events:
            users.add(User(name="bob"))
            events.add(Event(what="lost"))
            users.flush()
            events.flush()
            users.commit()
            events.rollback()
            events.add(Event(what="closed"))
            events.commit()
            users.add(User(name="forgotten"))
            users.flush()
        self.assertEqual(self.names(), ["alice", "bob"])
        self.assertEqual(self.events(), ["closed", "opened"])

    def test_databases_do_not_interleave_with_each_other(self) -> None:
        self.starts_clean()
        self.own_session.add(Event(what="closed"))
        self.own_session.flush()
        with Session(self.app_engine) as users:
            users.add(User(name="bob"))
            users.commit()
        self.own_session.rollback()
        self.assertEqual((self.names(), self.events()), (["alice", "bob"], ["opened"]))

    def test_class_data(self) -> None:
        self.starts_clean()
        for name in ("alice", "opened"):
            self.assertIs(object_session(getattr(self, name)), self.own_session)
        self.assertIs(self.mixed[1]["event"], self.opened)
        self.assertEqual((self.alice.name, self.opened.what), ("alice", "opened"))
        self.alice.name, self.opened.what = "changed", "changed too"
        self.own_session.commit()
        self.assertEqual((self.names(), self.events()), (["changed"], ["changed too"]))

    test_class_data_again = test_class_data

    def test_statements_find_their_database(self) -> None:
        session, events = self.own_session, Event.__table__
        session.execute(insert(Event).values(what="by class"))
        session.execute(insert(events), [{"what": "by table"}])
        session.execute(update(events).where(events.c.what == "opened").values(what="ajar"))
        session.execute(delete(Event).where(Event.what == "by class"))
        found = session.scalars(select(events.c.what).order_by(events.c.what)).all()
        self.assertEqual(found, ["ajar", "by table"])
        newest = select(func.max(events.c.what)).scalar_subquery()
        self.assertEqual(session.scalar(select(newest)), "by table")
        self.assertEqual(session.scalars(select(User.name)).all(), ["alice"])
        self.assertEqual(session.scalar(text("SELECT name FROM users")), "alice")

    def test_session_of(self) -> None:
        session = self.own_session_of("analytics")
        self.assertIs(session, self.own_session_of("analytics"))
        self.assertIs(self.own_session_of("default"), self.own_session)
        self.assertEqual(session.scalar(text("SELECT what FROM events")), "opened")
        session.add_all([User(name="bob"), Event(what="closed")])
        session.execute(text("DELETE FROM events WHERE what = 'opened'"))
        session.commit()
        self.assertEqual((self.names(), self.events()), (["alice", "bob"], ["closed"]))

    def test_session_of_before_session(self) -> None:
        self.assertIs(object_session(self.alice), self.own_session_of("default"))

    def test_assertions(self) -> None:
        self.check(self.assertDatabaseHas(Event, what="opened"))
        self.check(self.assertDatabaseHas(Event.__table__, Event.what != "closed"))
        self.check(self.assertDatabaseCount("events", 1))
        self.check(self.assertDatabaseCount("events", 1, using="analytics", what="opened"))
        self.check(self.assertDatabaseMissing("users", name="opened"))
        self.check(self.assertDatabaseMissing("tags", using="analytics"))
        self.check(self.assertDatabaseEmpty("posts", Namesake))
        self.check(self.assertDatabaseEmpty(exclude=[User, "events"]))
        self.check(self.assertDatabaseEmpty(exclude=[Event], using="analytics"))

    def test_assertions_fail(self) -> None:
        failing = [
            (
                lambda: self.assertDatabaseHas(Event, what="closed"),
                "No row with what = 'closed' in events (analytics), which has 1 row; the nearest:\n"
                "    id=100, what='opened' (not 'closed')",
            ),
            (
                lambda: self.assertDatabaseMissing("events"),
                "1 row in events (analytics), expected none:\n    id=100, what='opened'",
            ),
            (
                lambda: self.assertDatabaseCount(User, 2),
                "1 row in users, expected 2:\n    id=100, name='alice', age=None",
            ),
            (
                lambda: self.assertDatabaseCount("tags", 3, using="analytics"),
                "0 rows in tags (analytics), expected 3",
            ),
            (
                self.assertDatabaseEmpty,
                "The database is not empty:\n  users: 1 row\n    id=100, name='alice', age=None\n"
                "  events (analytics): 1 row\n    id=100, what='opened'",
            ),
            (
                lambda: self.assertDatabaseEmpty(using="analytics"),
                "The database is not empty:\n  events (analytics): 1 row",
            ),
            (
                lambda: self.assertDatabaseEmpty(exclude=[Event]),
                "The database is not empty:\n  users: 1 row",
            ),
        ]
        for assertion, message in failing:
            with self.subTest(message), self.assertRaises(AssertionError) as raised:
                self.check(assertion())
            self.assertTrue(str(raised.exception).startswith(message), str(raised.exception))

    def test_assertions_that_make_no_sense(self) -> None:
        wrong = [
            (
                lambda: self.assertDatabaseHas(Event, using="analitics"),
                "there is no database 'analitics'; did you mean 'analytics'?",
            ),
            (
                lambda: self.assertDatabaseEmpty(using="x"),
                "there is no database 'x'; there is default, analytics",
            ),
            (
                lambda: self.assertDatabaseCount("tags", 0),
                "'tags' is in the databases 'default' and 'analytics'; write for example "
                "using='analytics'",
            ),
            (
                lambda: self.assertDatabaseCount("evnts", 0),
                "there is no table 'evnts'; did you mean 'events'?",
            ),
            (
                lambda: self.assertDatabaseHas(Event, waht="x"),
                "events (analytics) has no column 'waht'; did you mean 'what'?",
            ),
            (
                lambda: self.assertDatabaseCount(User, 0, using="analytics"),
                "there is no table 'users' in the database (analytics); it has: ",
            ),
        ]
        for assertion, message in wrong:
            with self.subTest(message), self.assertRaises(UsageError) as raised:
                self.check(assertion())
            self.assertIn(message, str(raised.exception))

    def test_queries_of_all_are_counted(self) -> None:
        with self.assertNumQueries(3) as statements:
            self.own_session.execute(text("SELECT 1"))
            self.own_session.scalars(select(Event)).all()
            with self.events_engine.connect() as connection:
                connection.execute(text("SELECT 3"))
        self.assertEqual([one.sql[:8] for one in statements], ["SELECT 1", "SELECT e", "SELECT 3"])

    def test_wrong_alias(self) -> None:
        for of in (self.own_engine_of, self.own_session_of):
            with self.assertRaisesRegex(UsageError, "'anal'; did you mean 'analytics'?"):
                of("anal")


class SyncTransaction(EveryPair, Sync): ...


class AsyncTransaction(EveryPair, Async): ...


class SyncTruncation(EveryPair, Sync):
    isolation = "truncation"


class AsyncTruncation(EveryPair, Async):
    isolation = "truncation"


class SyncTemplate(EveryPair, Sync):
    isolation = "template"


class AsyncTemplate(EveryPair, Async):
    isolation = "template"


@needs_postgresql
class SyncSQLiteAndPostgreSQL(EveryPair, Sync):
    databases = both(analytics=POSTGRESQL or "sqlite://")


@needs_postgresql
class AsyncSQLiteAndPostgreSQL(EveryPair, Async):
    databases = both(analytics=POSTGRESQL or "sqlite://")


@needs_postgresql
class SyncPostgreSQLAndSQLite(EveryPair, Sync):
    databases = both(default=POSTGRESQL or "sqlite://")


@needs_postgresql
class SyncTwoOnPostgreSQL(EveryPair, Sync):
    databases = both(POSTGRESQL or "sqlite://", POSTGRESQL or "sqlite://")


@needs_postgresql
class AsyncTwoOnPostgreSQL(EveryPair, Async):
    databases = both(POSTGRESQL or "sqlite://", POSTGRESQL or "sqlite://")


@needs_postgresql
class SyncTruncationOnPostgreSQL(EveryPair, Sync):
    databases = both(analytics=POSTGRESQL or "sqlite://")
    isolation = "truncation"


@needs_postgresql
class AsyncTemplateOnPostgreSQL(EveryPair, Async):
    databases = both(analytics=POSTGRESQL or "sqlite://")
    isolation = "template"


@needs_mysql
class SyncSQLiteAndMariaDB(EveryPair, Sync):
    databases = both(analytics=MYSQL or "sqlite://")


@needs_mysql
class AsyncMariaDBAndSQLite(EveryPair, Async):
    databases = both(default=MYSQL or "sqlite://")


@needs_mysql
class SyncTruncationTwoOnMariaDB(EveryPair, Sync):
    databases = both(MYSQL or "sqlite://", MYSQL or "sqlite://")
    isolation = "truncation"


@needs_mysql
class AsyncTemplateOnMariaDB(EveryPair, Async):
    databases = both(analytics=MYSQL or "sqlite://")
    isolation = "template"


@needs_mysql
@needs_postgresql
class AsyncPostgreSQLAndMariaDB(EveryPair, Async):
    databases = both(POSTGRESQL or "sqlite://", MYSQL or "sqlite://")


class SyncTwoOnPGServer(EveryPair, Sync):
    databases = both("pgserver://", "pgserver://")


class AsyncTruncationOnPGServer(EveryPair, Async):
    databases = both(analytics="pgserver://")
    isolation = "truncation"


class AsyncPGServerAndPGlite(EveryPair, Async):
    databases = both("pgserver://", "pglite://")


def log_event(what: str) -> None:
    """What the application does: a session of its own, and a commit."""
    with Session(events_engine) as session:
        session.add(Event(what=what))
        session.commit()


def interleave(session: Session, row: Any, commit: Any) -> None:
    """Swallow the error that one transaction cannot represent what two connections do."""
    session.add(row)
    session.flush()
    commit("inner")
    with suppress(InterleavedTransactionsError):
        session.rollback()


class CleanAfterwards(unittest.TestCase):
    """Whatever goes wrong in one database, all are clean in the next test."""

    def check(self, *tests: Any, isolation: str = "transaction", errors: int) -> list[str]:
        """Run each test, and a look at the databases after each, and return what went wrong."""

        class Case(Sync):
            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                session.add_all([User(name="alice"), Event(what="opened")])

            def look(self) -> None:
                self.assertDatabaseCount(User, 1, name="alice")
                self.assertDatabaseCount(User, 1)
                self.assertDatabaseCount(Event, 1, what="opened")
                self.assertDatabaseCount(Event, 1)

        Case.isolation = isolation
        for number, test in enumerate(tests):
            setattr(Case, f"test_{number}", test)
            setattr(Case, f"test_{number}_after", Case.look)
        result = inner.run(Case)
        texts = [text for _, text in result.failures + result.errors]
        self.assertEqual(len(texts), errors, texts)
        return texts

    def test_error_in_the_clean_up_of_one(self) -> None:
        def default(case: Any) -> None:
            log_event("closed")
            with Session(app_engine) as session:
                interleave(session, User(name="outer"), register)

        def analytics(case: Any) -> None:
            register("bob")
            with Session(events_engine) as session:
                interleave(session, Event(what="outer"), log_event)

        for one in self.check(default, analytics, errors=2):
            self.assertIn(InterleavedTransactionsError.__name__, one)
            self.assertNotIn("Another database", one)

    def test_errors_in_the_clean_ups_of_all(self) -> None:
        def test(case: Any) -> None:
            with Session(app_engine) as users, Session(events_engine) as events:
                interleave(users, User(name="outer user"), register)
                interleave(events, Event(what="outer event"), log_event)

        [message] = self.check(test, errors=1)
        first, _, other = message.partition("Another database failed too: Interleaved")
        self.assertIn("INSERT INTO users", first)
        self.assertNotIn("INSERT INTO events", first)
        self.assertIn("INSERT INTO events", other)

    def test_error_of_the_test_comes_before_those_of_clean_ups(self) -> None:
        def test(case: Any) -> None:
            with Session(app_engine) as session:
                interleave(session, User(name="outer"), register)
            log_event("closed")
            case.fail("of the test")

        self.assertIn("of the test", self.check(test, errors=2)[0])

    def test_error_where_real_commits_are_undone(self) -> None:
        finish, failed = ClassDatabase.finish_test, []

        def fail_once(database: ClassDatabase, isolation: str) -> None:
            finish(database, isolation)
            if not failed:
                failed.append(database)
                raise ZeroDivisionError

        def test(case: Any) -> None:
            register("bob")
            log_event("closed")

        with mock.patch.object(ClassDatabase, "finish_test", fail_once):
            [message] = self.check(test, isolation="truncation", errors=1)
        self.assertIn("ZeroDivisionError", message)

    def test_error_as_the_second_is_made_ready(self) -> None:
        start, calls = ClassDatabase.start_test, []

        def fail_at_second(database: ClassDatabase, test: str, isolation: str) -> None:
            calls.append(database)
            if len(calls) == 2:
                raise ZeroDivisionError
            start(database, test, isolation)

        def test(case: Any) -> None: ...

        for isolation in ("transaction", "truncation"):
            calls.clear()
            abandon = ClassDatabase.abandon_test
            with (
                self.subTest(isolation),
                mock.patch.object(ClassDatabase, "start_test", fail_at_second),
                mock.patch.object(
                    ClassDatabase, "abandon_test", autospec=True, side_effect=abandon
                ) as abandoned,
            ):
                self.assertIn("ZeroDivision", self.check(test, isolation=isolation, errors=1)[0])
                # The first database by the failed test, and both by the next.
                self.assertEqual(abandoned.call_count, 3)

    def test_broken_isolation_of_one(self) -> None:
        def broken(case: Any) -> None:
            register("bob")
            with case.engine_of("analytics").begin() as connection:
                for _ in range(2):
                    connection.execute(
                        text("INSERT OR ROLLBACK INTO events (id, what) VALUES (7, 'closed')")
                    )

        [message] = self.check(broken, errors=1)
        self.assertIn(TransactionEndedError.__name__, message)

    def test_broken_isolation_of_one_in_the_async_class(self) -> None:
        class Case(Async):
            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                cls.alice, cls.opened = User(name="alice"), Event(what="opened")
                session.add_all([cls.alice, cls.opened])

            def look(self) -> None:
                self.assertEqual((self.alice.name, self.opened.what), ("alice", "opened"))
                self.assertEqual(await_only(self.connection.scalar(text("SELECT 1"))), 1)
                self.check(self.assertDatabaseCount(User, 1))
                self.check(self.assertDatabaseCount(Event, 1))

            def test_1_breaks(self) -> None:
                self.look()
                with self.own_engine_of("analytics").begin() as connection:
                    for _ in range(2):
                        connection.execute(
                            text("INSERT OR ROLLBACK INTO events (id, what) VALUES (7, 'x')")
                        )

            def test_2(self) -> None:
                self.look()

            test_3 = test_2

        self.assertIn(TransactionEndedError.__name__, inner.only_error(self, inner.run(Case)))

    def test_classes_and_engines(self) -> None:
        pools = [engine.pool for engine in (app_engine, events_engine)]

        class Failing(Sync):
            @classmethod
            def setUpClass(cls) -> None:
                super().setUpClass()
                register("bob")
                log_event("closed")
                raise ZeroDivisionError

            def test(self) -> None: ...

        class After(Sync):
            def test(self) -> None:
                self.assertDatabaseEmpty()

        self.assertIn("ZeroDivisionError", inner.only_error(self, inner.run(Failing, After)))
        inner.passed(self, inner.run(After), 1)
        self.assertEqual([engine.pool for engine in (app_engine, events_engine)], pools)


class SetUp(unittest.TestCase):
    def test_the_hook_knows_the_database(self) -> None:
        calls = []

        class Hooked(Sync):
            @classmethod
            def setUpDatabase(cls, connection: Any) -> None:
                alias = connection.info["dbtestcase_alias"]
                calls.append(alias)
                super().setUpDatabase(connection)
                connection.execute(text(f"CREATE TABLE only_{alias} (id INTEGER)"))

            def test(self) -> None:
                for alias in ("default", "analytics"):
                    self.assertDatabaseCount(f"only_{alias}", 0, using=alias)
                    with self.engine_of(alias).connect() as connection:
                        names = inspect_database(connection).get_table_names()
                    extra = {"default": {"users", "posts", "tags"}, "analytics": {"events", "tags"}}
                    self.assertEqual(set(names), {f"only_{alias}", *extra[alias]})

        class Again(Hooked): ...

        inner.passed(self, inner.run(Hooked, Again), 2)
        self.assertEqual(calls, ["default", "analytics"])

    def test_the_hook_tells_apart_databases_that_have_the_same_tables(self) -> None:
        class Empty(DatabaseTestCase):
            databases = {"default": {}, "other": {}}

            @classmethod
            def setUpDatabase(cls, connection: Any) -> None:
                alias = connection.info["dbtestcase_alias"]
                connection.execute(text(f"CREATE TABLE only_{alias} (id INTEGER)"))

            def test(self) -> None:
                self.assertDatabaseCount("only_other", 0, using="other")
                with self.assertRaises(UsageError):
                    self.assertDatabaseCount("only_other", 0)

        inner.passed(self, inner.run(Empty), 1)

    def test_databases_at_one_url_are_two(self) -> None:
        class Alike(DatabaseTestCase):
            databases = {"default": {"database": "sqlite://"}, "other": {"database": "sqlite://"}}

            def test(self) -> None:
                with self.engine_of("other").begin() as connection:
                    connection.execute(text("CREATE TABLE things (id INTEGER)"))
                    connection.execute(text("INSERT INTO things VALUES (1)"))
                self.assertDatabaseCount("things", 1, using="other")
                with self.assertRaises(UsageError):
                    self.assertDatabaseCount("things", 1)

            test_again = test

        inner.passed(self, inner.run(Alike), 2)

    def test_one_database_is_the_default_one(self) -> None:
        class One(DatabaseTestCase):
            metadata = Base.metadata
            engines = [app_engine]

            def test(self) -> None:
                self.assertIs(self.engine_of("default"), self.engine)
                self.assertIs(self.session_of("default"), self.session)
                register("bob")
                self.assertDatabaseCount("users", 1, using="default")
                with self.assertRaisesRegex(UsageError, "'other'; there is default"):
                    self.engine_of("other")

        inner.passed(self, inner.run(One), 1)

    def test_before_set_up(self) -> None:
        class Case(Sync):
            def test(self) -> None: ...

            def setUp(self) -> None:
                with unittest.TestCase().assertRaisesRegex(NotReadyError, "self.session_of is"):
                    self.session_of("analytics")
                super().setUp()

        with self.assertRaisesRegex(NotReadyError, "Case.engine_of is not there yet"):
            Case.engine_of("analytics")
        with self.assertRaisesRegex(NotReadyError, "Case.session_of is not there yet"):
            Case("test").session_of("analytics")
        inner.passed(self, inner.run(Case), 1)

    def test_no_database_is_there_before_set_up(self) -> None:
        class Early(Sync):
            def setUp(self) -> None:
                log_event("early")
                super().setUp()

            def test(self) -> None: ...

        class Late(Sync):
            def setUp(self) -> None:
                self.addCleanup(log_event, "late")
                super().setUp()

            def test(self) -> None: ...

        for case in (Early, Late):
            message = inner.only_error(self, inner.run(case))
            self.assertIn("call super().setUp() first in your setUp", message)

    def test_sessions_are_closed(self) -> None:
        sessions: list[Session] = []

        class Leaving(Sync):
            def test(self) -> None:
                for alias in ("default", "analytics"):
                    session = self.session_of(alias)
                    session.add_all([User(name=alias), Event(what=alias)])
                    session.flush()
                    session.commit()
                    session.scalars(select(Event)).all()
                    sessions.append(session)

        inner.passed(self, inner.run(Leaving), 1)
        self.assertEqual([session.in_transaction() for session in sessions], [False, False])

    def test_primary_keys_start_at_1(self) -> None:
        class Keys(Sync):
            reset_sequences = True

            def test(self) -> None:
                self.session.add_all([User(name="bob"), Event(what="closed")])
                self.session.commit()
                self.assertDatabaseHas(User, id=1)
                self.assertDatabaseHas(Event, id=1)

            test_again = test

        inner.passed(self, inner.run(Keys), 2)
        if POSTGRESQL:
            Keys.databases = both(POSTGRESQL, POSTGRESQL)
            inner.passed(self, inner.run(Keys), 2)


class Options(unittest.TestCase):
    def test_refused_at_definition(self) -> None:
        shared = MetaData()
        wrong: list[tuple[Any, str]] = [
            ([], "databases = [] is not a dictionary; write databases = {"),
            ({}, "databases has no 'default', which self.session needs; write databases = {"),
            ({"defualt": {}}, "databases has no 'default', which self.session needs; did you mean"),
            ({"default": {}, 2: {}}, "databases has 2, which is no string"),
            ({"default": Base.metadata}, 'databases["default"]: MetaData() is not a dictionary'),
            (
                {"default": {}, "other": {"metdata": Base}},
                "databases[\"other\"]: there is no option 'metdata' of one database; did you mean "
                "'metadata'?",
            ),
            (
                {"default": {"isolation": "template"}},
                "no option 'isolation' of one database; there is database, metadata, migrat",
            ),
            ({"default": {"metadata": 1}}, 'databases["default"]: metadata = 1 is neither a Meta'),
            ({"default": {"database": 1}}, 'databases["default"]: database = 1 is not a string'),
            (
                {"default": {}, "other": {"database": "sqllite://"}},
                "databases[\"other\"]: database = 'sqllite://': no backend is called",
            ),
            (
                {"default": {"metadata": [Base, shared]}, "other": {"metadata": shared}},
                "databases 'default' and 'other' have the same metadata",
            ),
        ]
        for databases, message in wrong:
            for base in (DatabaseTestCase, AsyncDatabaseTestCase):
                with self.subTest(databases, base=base), self.assertRaises(OptionError) as raised:
                    type("UserTests", (base,), {"databases": databases})
                self.assertIn(f"{__name__}.UserTests: databases", str(raised.exception))
                self.assertIn(message, str(raised.exception))

    def test_contradictions(self) -> None:
        class Project(DatabaseTestCase):
            metadata = Base.metadata

        with self.assertRaises(OptionError) as raised:
            type("UserTests", (Project,), {"databases": both()})
        self.assertIn("databases and metadata, which Project has, contrad", str(raised.exception))
        fix = 'write metadata into databases["default"], and metadata = None on the class'
        self.assertIn(fix, str(raised.exception))
        for name, value in (("database", "sqlite://"), ("engines", [app_engine])):
            with self.assertRaisesRegex(OptionError, f"databases and {name}, which Other has"):
                type("Other", (Sync,), {name: value})

        class Overrides(Project):
            metadata = None
            databases = both()

            def test(self) -> None:
                self.assertDatabaseEmpty()

        class OverridesThat(Overrides):
            metadata = Base.metadata
            databases = None

        inner.passed(self, inner.run(Overrides, OverridesThat), 2)

    def test_refused_at_set_up(self) -> None:
        class Twice(DatabaseTestCase):
            databases = {"default": {"engines": app_engine}, "other": {"engines": [app_engine]}}

            def test(self) -> None: ...

        class Missing(DatabaseTestCase):
            databases = {"default": {}, "other": {"engines": "app.db:no"}}

            def test(self) -> None: ...

        class Together(DatabaseTestCase):
            databases = {
                alias: {"database": "sqlite://?foreign_keys=off"} for alias in ("default", "other")
            }

            def test(self) -> None: ...

        message = inner.only_error(self, inner.run(Twice))
        self.assertIn('Twice: databases["other"]: engines: Engine(', message)
        self.assertIn("leads to 'default' already", message)
        message = inner.only_error(self, inner.run(Missing))
        self.assertIn("Missing: databases[\"other\"]: engines contains 'app.db:no'", message)
        alone = Features(SQLiteBackend.features.isolations, one_database=True)
        with mock.patch.object(SQLiteBackend, "features", alone):
            message = inner.only_error(self, inner.run(Together))
        self.assertIn('databases["other"]: SQLite has room for one database only', message)

    def test_isolation_is_that_of_all(self) -> None:
        with self.assertRaises(OptionError) as raised:
            type("Case", (Sync,), {"isolation": "schema"})
        self.assertIn(
            "Case: databases[\"default\"]: SQLite has no isolation = 'schema'",
            str(raised.exception),
        )
