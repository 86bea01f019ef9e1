"""Applications that open connections in threads, tasks, and SQLAlchemy's events."""

from __future__ import annotations

import asyncio
import threading
import unittest
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from celery import Celery
from sqlalchemy import create_engine, event, func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase, isolation

from . import inner
from .models import Base, Tag, User
from .servers import MYSQL, needs_mysql
from .waiting import PATIENCE

engine = create_engine("sqlite:////unreachable/application.db")
async_engine = create_async_engine("sqlite+aiosqlite:////unreachable/application.db")
SessionLocal = sessionmaker(engine)

celery = Celery("application", broker="memory://", set_as_current=False)
celery.conf.update(task_always_eager=True, task_eager_propagates=True)


@celery.task
def tag(word: str) -> int:
    with Session(engine) as session:
        session.add(Tag(word=word))
        session.commit()
        return session.query(User).count()


@celery.task
def tag_and_fail(word: str) -> None:
    with SessionLocal() as session:
        session.add(Tag(word=word))
        session.flush()
        raise ZeroDivisionError


def names() -> list[str]:
    with SessionLocal() as session:
        return sorted(session.scalars(select(User.name)))


def add(name: str) -> None:
    with SessionLocal() as session:
        session.add(User(name=name))
        session.commit()


async def add_async(name: str) -> None:
    async with AsyncSession(async_engine) as session:
        session.add(User(name=name))
        await session.commit()


def interleave(in_thread: Callable[[Session], None]) -> None:
    """Flush in a session, commit in that of another thread meanwhile, then go on in the first."""
    flushed, committed = threading.Event(), threading.Event()

    def work() -> None:
        with SessionLocal() as session:
            session.add(User(name="first"))
            session.flush()
            flushed.set()
            committed.wait(PATIENCE)
            in_thread(session)

    with ThreadPoolExecutor(1) as pool:
        future: Future[None] = pool.submit(work)
        try:
            flushed.wait(PATIENCE)
            add("second")
        finally:
            committed.set()
        future.result()


@contextmanager
def listening(name: str, listener: Callable[..., Any]) -> Iterator[None]:
    event.listen(SessionLocal, name, listener)
    try:
        yield
    finally:
        event.remove(SessionLocal, name, listener)


class OnSQLite(unittest.TestCase):
    url = "sqlite://"

    def case(self) -> type[DatabaseTestCase]:
        class Case(DatabaseTestCase):
            database = self.url
            metadata = Base.metadata
            engines = [engine, async_engine]

        return Case

    def async_case(self) -> type[AsyncDatabaseTestCase]:
        class Case(AsyncDatabaseTestCase):
            database = self.url
            metadata = Base.metadata
            engines = [engine, async_engine]

        return Case

    def test_thread_pool(self) -> None:
        class Inner(self.case()):  # type: ignore[misc]
            def test(self) -> None:
                with ThreadPoolExecutor(4) as pool:
                    list(pool.map(add, (f"user {number}" for number in range(20))))
                    counts = list(pool.map(lambda _: len(names()), range(4)))
                self.assertEqual(counts, [20] * 4)
                self.assertDatabaseCount(User, 20)

            test_again = test

        inner.passed(self, inner.run(Inner), 2)

    def test_thread_that_works_through_a_queue(self) -> None:
        class Inner(self.case()):  # type: ignore[misc]
            def test(self) -> None:
                queued, done = threading.Event(), threading.Event()

                def work() -> None:
                    queued.wait(PATIENCE)
                    with SessionLocal.begin() as session:
                        for user in session.scalars(select(User)):
                            user.age = 1
                    done.set()

                worker = threading.Thread(target=work)
                worker.start()
                add("bob")
                queued.set()
                worker.join()
                self.assertTrue(done.is_set())
                self.assertDatabaseHas(User, name="bob", age=1)

        inner.passed(self, inner.run(Inner), 1)

    def test_transactions_of_threads_that_overlap_and_commit(self) -> None:
        class Inner(self.case()):  # type: ignore[misc]
            def test(self) -> None:
                interleave(Session.commit)
                self.assertEqual(names(), ["first", "second"])

        inner.passed(self, inner.run(Inner), 1)

    def test_one_that_rolls_back_is_told_to_use_another_isolation(self) -> None:
        class Inner(self.case()):  # type: ignore[misc]
            def test(self) -> None:
                interleave(Session.rollback)

        error = inner.only_error(self, inner.run(Inner))
        self.assertIn("InterleavedTransactionsError", error)
        self.assertIn("Inner.test: two connections interleave", error)
        self.assertIn('@dbtestcase.isolation("truncation")', error)

    def test_to_thread_and_gather(self) -> None:
        class Inner(self.async_case()):  # type: ignore[misc]
            async def test(self) -> None:
                await asyncio.gather(
                    *(asyncio.to_thread(add, f"thread {number}") for number in range(5)),
                    *(add_async(f"task {number}") for number in range(5)),
                )
                await self.assertDatabaseCount(User, 10)

            test_again = test

        inner.passed(self, inner.run(Inner), 2)

    def test_tasks_that_overlap(self) -> None:
        async def overlap(*, commits: bool) -> None:
            flushed, committed = asyncio.Event(), asyncio.Event()

            async def first() -> None:
                async with AsyncSession(async_engine) as session:
                    session.add(User(name="first"))
                    await session.flush()
                    flushed.set()
                    await committed.wait()
                    await (session.commit() if commits else session.rollback())

            async def second() -> None:
                await flushed.wait()
                await add_async("second")
                committed.set()

            await asyncio.gather(first(), second())

        class Inner(self.async_case()):  # type: ignore[misc]
            async def test_committing(self) -> None:
                await overlap(commits=True)
                await self.assertDatabaseCount(User, 2)

            async def test_rolling_back(self) -> None:
                await overlap(commits=False)

        error = inner.only_error(self, inner.run(Inner))
        self.assertIn("Inner.test_rolling_back: two connections interleave", error)
        self.assertIn('@dbtestcase.isolation("truncation")', error)

    def test_celery_tasks_run_eagerly(self) -> None:
        class Inner(self.case()):  # type: ignore[misc]
            def test(self) -> None:
                add("bob")
                self.assertEqual(tag.delay("first").get(), 1)
                with self.assertRaises(ZeroDivisionError):
                    tag_and_fail.delay("lost")
                self.assertDatabaseHas(Tag, word="first")
                self.assertDatabaseCount(Tag, 1)

            def test_after_commit(self) -> None:
                def delay(session: Session) -> None:
                    self.assertEqual(tag.delay("committed").get(), 1)

                with listening("after_commit", delay):
                    add("bob")
                self.assertDatabaseHas(Tag, word="committed")

        inner.passed(self, inner.run(Inner), 2)

    def test_events(self) -> None:
        def write_audit(session: Session) -> None:
            with Session(engine) as other:
                other.add(Tag(word=f"{other.scalar(select(func.count(User.id)))} committed"))
                other.commit()

        def add_tags(session: Session, context: object, instances: object) -> None:
            session.add_all([Tag(word=f"new {user.name}") for user in session.new])

        class Inner(self.case()):  # type: ignore[misc]
            def test_after_commit(self) -> None:
                with listening("after_commit", write_audit):
                    add("bob")
                    add("carl")
                self.assertDatabaseHas(Tag, word="1 committed")
                self.assertDatabaseHas(Tag, word="2 committed")

            def test_after_commit_is_not_called_for_what_is_undone(self) -> None:
                with listening("after_commit", write_audit), SessionLocal() as session:
                    session.add(User(name="bob"))
                    session.flush()
                self.assertDatabaseEmpty()

            def test_before_flush(self) -> None:
                with listening("before_flush", add_tags):
                    add("bob")
                self.assertDatabaseHas(Tag, word="new bob")

            def test_after_rollback(self) -> None:
                def listener(session: Session, transaction: object) -> None:
                    write_audit(session)

                with listening("after_soft_rollback", listener), SessionLocal() as session:
                    session.add(User(name="bob"))
                    session.flush()
                    session.rollback()
                self.assertDatabaseHas(Tag, word="0 committed")

            def test_of_the_engine(self) -> None:
                committed: list[Any] = []

                def note(connection: object) -> None:
                    committed.append(connection)

                event.listen(engine, "commit", note)
                self.addCleanup(event.remove, engine, "commit", note)
                add("bob")
                self.assertEqual(len(committed), 1)

        inner.passed(self, inner.run(Inner), 5)

    def test_transactions_of_their_own(self) -> None:
        class Inner(self.case()):  # type: ignore[misc]
            @isolation("truncation")
            def test_by_truncation(self) -> None:
                with SessionLocal() as first, SessionLocal() as second:
                    first.add(User(name="first"))
                    first.flush()
                    second.execute(text("PRAGMA busy_timeout = 0"))
                    second.add(User(name="second"))
                    with self.assertRaisesRegex(OperationalError, "database is locked"):
                        second.flush()
                    first.rollback()
                    second.rollback()
                    second.add(User(name="second"))
                    second.commit()
                self.assertEqual(names(), ["second"])

            @isolation("template")
            def test_by_template(self) -> None:
                self.test_by_truncation()

        inner.passed(self, inner.run(Inner), 2)


class OnPGlite(OnSQLite):
    url = "pglite://"

    def test_transactions_of_their_own(self) -> None:
        class Inner(self.case()):  # type: ignore[misc]
            @isolation("truncation")
            def test(self) -> None:
                interleave(Session.rollback)

        error = inner.only_error(self, inner.run(Inner))
        self.assertIn("Inner.test: PGlite has no isolation = 'truncation'", error)
        self.assertIn("or the database pgserver://", error)


class OnPostgreSQL(OnSQLite):
    url = "pgserver://"

    def test_transactions_of_their_own(self) -> None:
        class Inner(self.case()):  # type: ignore[misc]
            @isolation("truncation")
            def test_by_truncation(self) -> None:
                interleave(Session.rollback)
                self.assertEqual(names(), ["second"])

            @isolation("template")
            def test_by_template(self) -> None:
                interleave(Session.rollback)
                self.assertEqual(names(), ["second"])

        inner.passed(self, inner.run(Inner), 2)


@needs_mysql
class OnMySQL(OnPostgreSQL):
    url = MYSQL
