"""The sandbox on PostgreSQL: errors that abort, what is sent, and many tasks at one connection."""

from __future__ import annotations

import asyncio
import re
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dbtestcase import (
    AsyncDatabaseTestCase,
    DatabaseTestCase,
    InterleavedTransactionsError,
    TransactionEndedError,
)
from dbtestcase.backends import backend_for
from dbtestcase.backends.postgresql_link import PostgreSQLLink
from dbtestcase.sandbox import Sandbox

from . import inner
from .servers import POSTGRESQL, needs_postgresql

SCHEMA = """
CREATE TABLE words (word text UNIQUE);
CREATE TABLE parents (id integer PRIMARY KEY);
CREATE TABLE children (parent integer REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE log (word text);
CREATE TABLE logged (word text);
CREATE FUNCTION divert() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO log VALUES (new.word); RETURN NULL; END $$;
"""

SLEEP = text("SELECT pg_sleep(10)")


def build(connection: Connection) -> None:
    connection.exec_driver_sql(SCHEMA)


@needs_postgresql
class StandIns(unittest.TestCase):
    """Stand-ins, used as a DBAPI connection is used by those who know no SQLAlchemy."""

    @classmethod
    def setUpClass(cls) -> None:
        backend = backend_for(POSTGRESQL)
        cls.database = backend.create(backend.template(SCHEMA, build))
        cls.addClassCleanup(cls.database.drop)

    def setUp(self) -> None:
        link = self.database.link(None)
        self.sandbox = Sandbox()
        self.sandbox.attach(link)
        self.sandbox.start_test("the test")
        self.addCleanup(self.sandbox.finish_class)
        self.first = link.stand_in(self.sandbox)
        self.second = link.stand_in(self.sandbox)

    def run_in(self, connection: Any, sql: str, *parameters: Any) -> Any:
        cursor = connection.cursor()
        cursor.execute(sql, *parameters)
        return cursor

    def add(self, connection: Any, word: str) -> None:
        self.run_in(connection, "INSERT INTO words VALUES (%s)", [word])

    def fail_in(self, connection: Any, sql: str = "SELECT 1 / 0", message: str = "") -> None:
        with self.assertRaisesRegex(Exception, message):
            self.run_in(connection, sql)

    def words(self) -> list[str]:
        reader = self.sandbox.link.stand_in(self.sandbox)
        rows = self.run_in(reader, "SELECT word FROM words ORDER BY word").fetchall()
        return [word for (word,) in rows]

    def test_what_was_written_before_an_error_is_gone_whatever_others_do_until_rollback(
        self,
    ) -> None:
        self.add(self.first, "a")
        self.words()  # a read of another, so that a guard is above
        self.fail_in(self.first)
        self.assertEqual(self.words(), [])
        self.add(self.second, "b")
        self.second.commit()
        self.first.rollback()
        self.assertEqual(self.words(), ["b"])

    def test_an_error_spares_what_others_wrote_since(self) -> None:
        self.add(self.first, "a")
        self.add(self.second, "b")
        self.second.commit()
        self.fail_in(self.first)
        self.assertEqual(self.words(), ["a", "b"])
        with self.assertRaises(InterleavedTransactionsError):
            self.first.commit()

    def test_after_an_error_only_a_rollback_goes_on(self) -> None:
        self.add(self.first, "a")
        self.fail_in(self.first)
        for statement in ("SELECT 1", "SAVEPOINT x", "BEGIN", "INSERT INTO words VALUES ('b')"):
            self.fail_in(self.first, statement, "current transaction is aborted")
        self.first.commit()
        self.add(self.first, "c")
        self.first.commit()
        self.assertEqual(self.words(), ["c"])

    def test_savepoints_recover_from_errors(self) -> None:
        self.add(self.first, "a")
        for statement in ("SELECT 1 / 0", "INSERT INTO words VALUES ('a')"):
            self.run_in(self.first, "SAVEPOINT x")
            self.fail_in(self.first, statement)
            self.fail_in(self.first, "RELEASE x", "current transaction is aborted")
            self.run_in(self.first, "ROLLBACK TO x")
        self.first.commit()
        self.assertEqual(self.words(), ["a"])

    def test_savepoints_need_a_transaction(self) -> None:
        self.first.autocommit = True
        for statement in ("SAVEPOINT x", "RELEASE x", "ROLLBACK TO x"):
            self.fail_in(self.first, statement, "can only be used in transaction blocks")
        self.add(self.first, "a")
        self.first.rollback()
        self.assertEqual(self.words(), ["a"])

    def test_a_savepoint_that_is_not_there_is_an_error_too(self) -> None:
        for statement in ("RELEASE x", "ROLLBACK TO x"):
            self.fail_in(self.first, statement, "no such savepoint: x")
            self.fail_in(self.first, "SELECT 1", "current transaction is aborted")
            self.first.rollback()

    def test_an_error_of_the_driver_aborts_nothing(self) -> None:
        self.add(self.first, "a")
        with self.assertRaises((TypeError, self.sandbox.link._dbapi.Error)):  # type: ignore[attr-defined]
            self.run_in(self.first, "INSERT INTO words VALUES (%s)", ["b", "c"])
        self.add(self.first, "d")
        self.first.commit()
        self.assertEqual(self.words(), ["a", "d"])

    def test_deferred_constraint_with_the_work_of_another_in_danger(self) -> None:
        self.run_in(self.first, "INSERT INTO children VALUES (1)")
        self.add(self.second, "b")
        with self.assertRaises(InterleavedTransactionsError) as raised:
            self.first.commit()
        self.assertIn("children", str(raised.exception.__context__))
        self.assertEqual(self.words(), ["b"])

    def test_deferred_constraint_at_the_commit_of_the_last_who_wrote(self) -> None:
        self.add(self.second, "b")
        self.run_in(self.first, "INSERT INTO children VALUES (1)")
        with self.assertRaises(self.sandbox.link._dbapi.IntegrityError):  # type: ignore[attr-defined]
            self.first.commit()
        self.second.commit()
        self.assertEqual(self.words(), ["b"])
        self.assertEqual(self.run_in(self.first, "SELECT * FROM children").fetchall(), [])

    def test_what_a_row_count_conceals_is_work_to_undo(self) -> None:
        for statement in (
            "WITH added AS (INSERT INTO words VALUES ('a')) UPDATE log SET word = '' WHERE false",
            "INSERT INTO words VALUES ('a'); DELETE FROM log",
        ):
            with self.subTest(statement):
                self.run_in(self.first, statement)
                self.add(self.second, "b")
                self.second.commit()
                with self.assertRaises(InterleavedTransactionsError):
                    self.first.rollback()
                self.sandbox.finish_test()
                self.sandbox.start_test("the next")

    def test_trigger_that_diverts_rows(self) -> None:
        self.run_in(
            self.first,
            "CREATE TRIGGER t BEFORE INSERT ON logged FOR EACH ROW EXECUTE FUNCTION divert()",
        )
        self.first.commit()
        self.run_in(self.first, "INSERT INTO logged VALUES ('a')")
        self.add(self.second, "b")
        self.second.commit()
        with self.assertRaises(InterleavedTransactionsError):
            self.first.rollback()

    def test_update_of_no_row_holds_nothing_open(self) -> None:
        self.run_in(self.first, "UPDATE words SET word = 'a' WHERE word = 'none'")
        self.add(self.second, "b")
        self.second.commit()
        self.first.rollback()
        self.assertEqual(self.words(), ["b"])

    def test_nor_does_it_after_tables_were_changed(self) -> None:
        """What they are now is looked up when somebody has to know, and not in each migration."""
        self.run_in(self.first, "CREATE TABLE more (word text)")
        with mock.patch.object(self.sandbox.link, "_query") as query:
            self.add(self.first, "a")
            query.assert_not_called()
        self.run_in(self.first, "CREATE INDEX ON more (word)")
        self.run_in(self.second, "UPDATE words SET word = 'b' WHERE word = 'none'")
        self.first.commit()
        self.second.rollback()
        self.assertEqual(self.words(), ["a"])

    def test_transaction_control_in_other_words_is_refused(self) -> None:
        self.add(self.first, "a")
        for statement in ("COMMIT AND CHAIN", "ABORT", "PREPARE TRANSACTION 'x'"):
            with self.assertRaisesRegex(TransactionEndedError, statement.split(" '")[0]):
                self.run_in(self.first, statement)
        self.first.rollback()
        self.assertEqual(self.words(), [])
        with suppress(TransactionEndedError):
            self.sandbox.finish_test()


class Base(DeclarativeBase):
    pass


class Word(Base):
    __tablename__ = "link_words"

    word: Mapped[str] = mapped_column(primary_key=True)


@contextmanager
def control_messages() -> Iterator[list[str]]:
    """Collect what is sent beside the statements of the tests, savepoints called a, b, c."""
    messages: list[str] = []
    names: dict[str, str] = {}

    def short(match: re.Match[str]) -> str:
        return names.setdefault(match[1], chr(ord("a") + len(names)))

    def control(self: PostgreSQLLink, statements: list[str]) -> None:
        original(self, statements)
        pattern = r"(?:(?<=TO |SE )SAVEPOINT )?(dbtestcase_\d+)"
        messages.append(re.sub(pattern, short, "; ".join(statements)))

    def query(self: PostgreSQLLink, sql: str) -> Any:
        messages.append("a query")
        return original_query(self, sql)

    original, original_query = PostgreSQLLink.control, PostgreSQLLink._query
    with (
        mock.patch.object(PostgreSQLLink, "control", control),
        mock.patch.object(PostgreSQLLink, "_query", query),
    ):
        yield messages


def add(session: Session, word: str) -> None:
    session.add(Word(word=word))
    session.commit()


def read(session: Session) -> None:
    session.scalars(select(Word)).all()


@needs_postgresql
class RoundTrips(unittest.TestCase):
    """Each message is a round trip: nobody adds one unnoticed."""

    def sent(self, flow: Callable[[Any], None], **attributes: Any) -> list[str]:
        """Return the messages of a test, which is not the first of its class."""
        sent: dict[str, list[str]] = {}

        class Case(DatabaseTestCase):
            database = POSTGRESQL
            metadata = Base.metadata

            def run(self, result: Any = None) -> Any:
                with control_messages() as sent[self._testMethodName]:
                    return super().run(result)

        tests = {f"test_{number}": flow for number in range(3)}
        inner.passed(self, inner.run(type("Tests", (Case,), {**attributes, **tests})), 3)
        self.assertEqual(sent["test_1"], sent["test_2"])
        return sent["test_2"]

    def test_add_commit_select(self) -> None:
        def flow(test: Any) -> None:
            add(test.session, "a")
            read(test.session)

        self.assertEqual(
            self.sent(flow), ["BEGIN; SAVEPOINT a", "RELEASE a; SAVEPOINT b", "ROLLBACK"]
        )

    def test_select_add_commit(self) -> None:
        def flow(test: Any) -> None:
            read(test.session)
            add(test.session, "a")

        self.assertEqual(self.sent(flow), ["BEGIN; SAVEPOINT a", "ROLLBACK"])

    def test_nothing(self) -> None:
        self.assertEqual(self.sent(lambda test: test.session.commit()), [])

    def test_transactions_of_several_sessions(self) -> None:
        def flow(test: Any) -> None:
            read(test.session)
            for word in "abc":
                with test.session_factory() as session:
                    read(session)
                    add(session, word)
            read(test.session)

        further = ["RELEASE a; SAVEPOINT b", "RELEASE b; SAVEPOINT c", "RELEASE c; SAVEPOINT d"]
        self.assertEqual(self.sent(flow), ["BEGIN; SAVEPOINT a", *further, "ROLLBACK"])

    def test_many_statements_of_one_transaction(self) -> None:
        def flow(test: Any) -> None:
            for word in "abc":
                read(test.session)
                test.session.add(Word(word=word))
                test.session.flush()
            test.session.commit()

        self.assertEqual(self.sent(flow), ["BEGIN; SAVEPOINT a", "ROLLBACK"])

    def test_nested_transactions(self) -> None:
        def flow(test: Any) -> None:
            for word in "ab":
                with test.session.begin_nested():
                    test.session.add(Word(word=word))
            test.session.commit()

        self.assertEqual(
            self.sent(flow),
            ["BEGIN; SAVEPOINT a; SAVEPOINT b", "RELEASE b; SAVEPOINT c", "ROLLBACK"],
        )

    def test_error(self) -> None:
        def flow(test: Any) -> None:
            for word in "aab":
                try:
                    add(test.session, word)
                except IntegrityError:
                    test.session.rollback()

        self.assertEqual(
            self.sent(flow),
            ["BEGIN; SAVEPOINT a", "RELEASE a; SAVEPOINT b", "ROLLBACK TO b", "ROLLBACK"],
        )

    def test_rollback(self) -> None:
        def flow(test: Any) -> None:
            test.session.add(Word(word="a"))
            test.session.flush()
            test.session.rollback()
            add(test.session, "b")

        self.assertEqual(self.sent(flow), ["BEGIN; SAVEPOINT a", "ROLLBACK TO a", "ROLLBACK"])

    def test_autocommit(self) -> None:
        def flow(test: Any) -> None:
            engine = test.engine.execution_options(isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                for word in "ab":
                    connection.execute(insert(Word).values(word=word))

        self.assertEqual(
            self.sent(flow), ["BEGIN; SAVEPOINT a", "RELEASE a; SAVEPOINT b", "ROLLBACK"]
        )

    def test_class_data(self) -> None:
        def data(cls: Any, session: Session) -> None:
            session.add(Word(word="of the class"))

        def flow(test: Any) -> None:
            add(test.session, "a")
            read(test.session)

        self.assertEqual(
            self.sent(flow, setUpTestData=classmethod(data)),
            ["SAVEPOINT a", "RELEASE a; SAVEPOINT b", "ROLLBACK TO c"],
        )


def url_with(driver: str) -> str | None:
    """Return the URL of the server for one driver, or of nothing if there is none."""
    if not POSTGRESQL:
        return None
    return make_url(POSTGRESQL).set(drivername=driver).render_as_string(hide_password=False)


sync_engine = create_engine("postgresql+psycopg://nobody@nowhere/")
async_engine = create_async_engine("postgresql+asyncpg://nobody@nowhere/")


class ManyTasks(AsyncDatabaseTestCase):
    metadata = Base.metadata
    engines = [sync_engine, async_engine]

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        session.add(Word(word="of the class"))

    async def words(self) -> list[str]:
        """Return what was added, having added something to show that this still goes."""
        self.session.add(Word(word="last"))
        await self.session.commit()
        async with self.session_factory() as session:
            words = await session.scalars(select(Word.word).order_by(Word.word))
            return [word for word in words if word not in ("last", "of the class")]

    async def add(self, word: str) -> None:
        async with self.session_factory() as session:
            session.add(Word(word=word))
            await session.commit()

    async def add_twice(self, word: str) -> None:
        """Fail to add what is there, and go on."""
        async with self.session_factory() as session:
            session.add(Word(word="of the class"))
            with self.assertRaises(IntegrityError):
                await session.flush()
            await session.rollback()
            session.add(Word(word=word))
            await session.commit()

    async def give_up(self, after: float, *, adds: bool = False) -> None:
        """Wait for what does not come in time."""
        with self.assertRaises(TimeoutError):
            async with asyncio.timeout(after), self.session_factory() as session:
                if adds:
                    session.add(Word(word="abandoned"))
                    await session.flush()
                await session.execute(SLEEP)

    async def test_gather(self) -> None:
        await asyncio.gather(*map(self.add, "abc"), *map(self.add_twice, "def"))
        self.assertEqual(await self.words(), list("abcdef"))

    async def test_statements_of_one_session_at_a_time(self) -> None:
        async def count(number: int) -> None:
            async with self.engine.connect() as connection:
                for _ in range(5):
                    found = await connection.scalar(text("SELECT :n + count(*)"), {"n": number})
                    self.assertEqual(found, number + 1)
                    with self.assertRaises(DBAPIError):
                        await connection.execute(text("SELECT 1 / 0"))
                    await connection.rollback()

        await asyncio.gather(*map(count, range(5)))

    async def test_timeout_of_a_statement(self) -> None:
        await self.add("a")
        await self.give_up(0.05, adds=True)
        self.assertEqual(await self.words(), ["a"])

    async def test_timeout_of_statements_while_others_wait(self) -> None:
        await asyncio.gather(self.give_up(0.1), self.add("a"), self.give_up(0.01), self.add("b"))
        self.assertEqual(await self.words(), ["a", "b"])

    async def test_cancelled_at_any_moment(self) -> None:
        for patience in [*range(30), *range(30, 300, 9)]:
            task = asyncio.create_task(self.add_twice(f"{patience:03}"))
            for _ in range(patience):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await self.add(f"{patience:03} after")
            async with self.engine.connect() as connection:
                words = (await connection.scalars(select(Word.word))).all()
            self.assertIn(f"{patience:03} after", words)
            if not task.cancelled():
                self.assertIn(f"{patience:03}", words)

    async def test_sync_engine_in_threads(self) -> None:
        def add(word: str) -> None:
            with Session(sync_engine) as session:
                session.add(Word(word="of the class"))
                with self.assertRaises(IntegrityError):
                    session.flush()
                session.rollback()
                session.add(Word(word=word))
                session.commit()

        threads = [asyncio.to_thread(add, word) for word in "abc"]
        await asyncio.gather(*threads, *map(self.add_twice, "def"))
        self.assertEqual(await self.words(), list("abcdef"))

    async def test_event_loops_in_threads(self) -> None:
        async def add(word: str) -> None:
            async with AsyncSession(async_engine) as session:
                session.add(Word(word="of the class"))
                with self.assertRaises(IntegrityError):
                    await session.flush()
                await session.rollback()
                session.add(Word(word=word))
                await session.commit()
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await session.execute(SLEEP)

        threads = [asyncio.to_thread(lambda word: asyncio.run(add(word)), word) for word in "abc"]
        await asyncio.gather(*threads, *map(self.add_twice, "def"))
        self.assertEqual(await self.words(), list("abcdef"))


@needs_postgresql
class ManyTasksOfAsyncpg(ManyTasks):
    database = url_with("postgresql+asyncpg")


@needs_postgresql
class ManyTasksOfPsycopg(ManyTasks):
    database = url_with("postgresql+psycopg")


del ManyTasks


@needs_postgresql
class AsyncCodeInSyncTests(DatabaseTestCase):
    database = POSTGRESQL or None
    metadata = Base.metadata
    engines = [async_engine]

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        session.add(Word(word="of the class"))

    async def add(self, word: str) -> None:
        async with AsyncSession(async_engine) as session:
            session.add(Word(word="of the class"))
            with self.assertRaises(IntegrityError):
                await session.flush()
            await session.rollback()
            session.add(Word(word=word))
            await session.commit()

    async def gather(self, *words: str) -> None:
        await asyncio.gather(*map(self.add, words))

    def words(self) -> list[str]:
        words = self.session.scalars(select(Word.word).order_by(Word.word))
        return [word for word in words if word != "of the class"]

    def test_event_loops(self) -> None:
        for word in "ab":
            asyncio.run(self.add(word))
        self.session.add(Word(word="c"))
        self.session.commit()
        self.assertEqual(self.words(), ["a", "b", "c"])

    def test_gather(self) -> None:
        asyncio.run(self.gather("a", "b", "c"))
        self.assertEqual(self.words(), ["a", "b", "c"])

    def test_timeout_between_statements(self) -> None:
        async def give_up() -> None:
            async with asyncio.timeout(0.01), AsyncSession(async_engine) as session:
                session.add(Word(word="abandoned"))
                await session.flush()
                while True:
                    await session.execute(select(Word))

        with self.assertRaises(TimeoutError):
            asyncio.run(give_up())
        asyncio.run(self.gather("a"))
        self.assertEqual(self.words(), ["a"])


@needs_postgresql
class LostConnection(unittest.TestCase):
    def test_the_next_test_has_another(self) -> None:
        def test_1(test: Any) -> None:
            test.session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

        def test_2(test: Any) -> None:
            add(test.session, "a")

        options = {"database": POSTGRESQL, "metadata": Base.metadata}
        tests = {"test_1": test_1, "test_2": test_2}
        result = inner.run(type("Case", (DatabaseTestCase,), {**options, **tests}))
        self.assertEqual(result.testsRun, 2)
        self.assertEqual({test.id()[-1] for test, _ in result.errors}, {"1"})


@needs_postgresql
class LeftTasks(unittest.TestCase):
    """Tasks that a test leaves are cancelled wherever they are, and the next test is clean."""

    def test_the_next_test_is_clean(self) -> None:
        def leaving(patience: int) -> Any:
            async def test(self: Any) -> None:
                async with self.session_factory() as session:
                    self.assertEqual((await session.scalars(select(Word.word))).all(), ["a"])
                self.left = asyncio.create_task(self.go_on())
                for _ in range(patience):
                    await asyncio.sleep(0)

            return test

        async def go_on(self: Any) -> None:
            while True:
                async with self.session_factory() as session:
                    session.add(Word(word="a"))
                    with self.assertRaises(IntegrityError):
                        await session.commit()

        def data(cls: Any, session: Session) -> None:
            session.add(Word(word="a"))

        tests = {f"test_{patience}": leaving(patience) for patience in range(60)}
        attributes = {"metadata": Base.metadata, "setUpTestData": classmethod(data), **tests}
        for driver in ("asyncpg", "psycopg"):
            options = {"database": url_with(f"postgresql+{driver}"), "go_on": go_on, **attributes}
            with self.subTest(driver):
                case = type("Case", (AsyncDatabaseTestCase,), options)
                inner.passed(self, inner.run(case), len(tests))
