"""A process that is forked in the middle of a test leaves the test's connections alone."""

from __future__ import annotations

import gc
import os
import sys
import unittest
from importlib.util import find_spec
from typing import Any

from sqlalchemy import insert, make_url, select
from sqlalchemy.orm import Session

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase
from dbtestcase.backends import backend_for
from dbtestcase.provision import provisioner

from . import inner
from .models import Base, User, app_engine
from .processes import in_a_child
from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql


def names(engine: Any) -> list[str]:
    with engine.connect() as connection:
        return sorted(connection.scalars(select(User.name)))


def register(name: str) -> None:
    with Session(app_engine) as session:
        session.add(User(name=name))
        session.commit()


def check_child(case: Any, user: Any) -> None:
    """Let children use a connection or session, in vain, and give it back."""
    for use in (lambda: user.scalar(select(User.name)), user.commit):
        case.assertIn("a connection that was open before", in_a_child(use))
    for end in (user.rollback, user.close):
        case.assertEqual(in_a_child(end), "None")


def check_sandbox(case: Any, session: Session) -> None:
    """Let children use the session of a test in a sandbox, in vain, and close it."""
    said = in_a_child(lambda: session.scalar(select(User.name)))
    case.assertIn("was forked while a test ran", said)
    case.assertEqual(in_a_child(session.close), "None")


def collect(connections: list[Any]) -> None:
    """Forget ``connections`` without giving them back."""
    connections.clear()
    gc.collect()


@unittest.skipUnless(hasattr(os, "fork"), "needs fork")
class OnSQLite(unittest.TestCase):
    url = "sqlite://"

    def test_in_the_sandbox(self) -> None:
        class Forking(DatabaseTestCase):
            database = self.url
            metadata = Base.metadata
            engines = [app_engine]

            def test(self) -> None:
                self.session.add(User(name="alice"))
                self.session.flush()
                for use in (
                    lambda: self.session.scalar(select(User.name)),
                    self.session.commit,
                    lambda: names(app_engine),
                    lambda: register("carl"),
                ):
                    self.assertIn("was forked while a test ran", in_a_child(use))
                self.assertEqual(in_a_child(self.session.close), "None")  # which does nothing
                self.session.commit()
                register("bob")
                self.assertEqual(names(self.engine), ["alice", "bob"])

            def test_2(self) -> None:
                self.assertDatabaseEmpty()

        inner.passed(self, inner.run(Forking), 2)

    def test_with_connections_that_really_commit(self) -> None:
        """The child opens others, even where one of the parent's is idle in the pool."""

        class Forking(DatabaseTestCase):
            database = self.url
            metadata = Base.metadata
            engines = [app_engine]
            isolation = "truncation"

            def test(self) -> None:
                for name in ("alice", "bob"):
                    register(name)
                    self.assertEqual(in_a_child(lambda: register("child" + name)), "None")  # noqa: B023
                self.assertEqual(names(app_engine), ["alice", "bob", "childalice", "childbob"])

            def test_2(self) -> None:
                self.assertDatabaseEmpty()

        inner.passed(self, inner.run(Forking), 2)

    def test_real_transactions_that_are_open(self) -> None:
        """The child neither takes part in them nor ends them, even if it forgets them."""

        class Forking(DatabaseTestCase):
            metadata = Base.metadata
            engines = [app_engine]

            def test(self) -> None:
                app_engine.connect().close()  # one is idle, which the other will not be
                connections = [app_engine.connect()]
                with app_engine.connect() as connection:
                    connection.execute(insert(User).values(name="alice"))
                    check_child(self, connection)
                    connections[0].execute(select(User.name))
                    self.assertEqual(in_a_child(lambda: collect(connections)), "None")
                    self.assertEqual(in_a_child(app_engine.dispose), "None")
                    self.assertEqual(in_a_child(lambda: names(app_engine)), "[]")
                    connection.commit()
                connections.pop().close()
                self.session.add(User(name="bob"))
                self.session.flush()
                check_child(self, self.session)
                self.session.commit()
                self.assertEqual(names(app_engine), ["alice", "bob"])

            def test_2(self) -> None:
                self.assertDatabaseEmpty()

        for url in self.urls():
            for name in ("truncation", "template"):
                attributes = {"database": url, "isolation": name}
                with self.subTest(url, isolation=name):
                    inner.passed(self, inner.run(type("Forking", (Forking,), attributes)), 2)

    def test_async_ones(self) -> None:
        class Forking(AsyncDatabaseTestCase):
            database = self.url
            metadata = Base.metadata
            isolation = "truncation"

            async def test(self) -> None:
                async with self.engine.connect() as connection:
                    await connection.execute(insert(User).values(name="alice"))
                    await connection.run_sync(lambda sync: check_child(self, sync))
                    await connection.commit()
                await self.assertDatabaseCount(User, 1)

        inner.passed(self, inner.run(Forking), 1)

    def test_an_async_one_in_the_sandbox(self) -> None:
        class Forking(AsyncDatabaseTestCase):
            database = self.url
            metadata = Base.metadata

            async def test(self) -> None:
                self.session.add(User(name="alice"))
                await self.session.flush()
                await self.session.run_sync(lambda sync: check_sandbox(self, sync))
                await self.session.commit()
                await self.assertDatabaseCount(User, 1)

        inner.passed(self, inner.run(Forking), 1)

    def urls(self) -> list[str]:
        """Return one for each driver."""
        url = make_url(self.url)
        return [
            url.set(drivername=f"{url.get_backend_name()}+{package.name}").render_as_string(
                hide_password=False
            )
            for package in backend_for(self.url).sync_drivers
            if find_spec(package.module) is not None
        ]

    def test_a_class_that_runs_in_the_child(self) -> None:
        """What it uses is its own; its parent can go on to make databases."""

        class Child(DatabaseTestCase):
            metadata = Base.metadata
            isolation = "truncation"

            def test(self) -> None:
                self.session.add(User(name="bob"))
                self.session.commit()
                self.assertDatabaseCount(User, 1)

        def run(case: type[DatabaseTestCase]) -> None:
            with self.assertNoLogs():  # such as the pool's, of what cannot be closed
                inner.passed(self, inner.run(case), 1)
                provisioner.close()

        for url in self.urls():
            attributes = {"database": url}
            child = type("Child", (Child,), attributes)

            def fork(case: Any, child: Any = child) -> None:
                case.assertEqual(in_a_child(lambda: run(child)), "None")

            parent = type("Parent", (Child,), {**attributes, "test_fork": fork})
            with self.subTest(url):
                inner.passed(self, inner.run(parent, child), 3)

    def test_a_child_that_goes_on_with_the_run(self) -> None:
        """Its ``sys.exit()`` ends no more than a test for unittest."""

        class Forking(DatabaseTestCase):
            metadata = Base.metadata
            isolation = "template"

            def test_1(self) -> None:
                self.child = os.fork()
                if not self.child:
                    sys.exit()
                os.waitpid(self.child, 0)
                register("bob")
                self.assertDatabaseCount(User, 1)

            def test_2(self) -> None:
                self.assertDatabaseCount(User, 0)

        for url in self.urls():
            with self.subTest(url):
                process = os.getpid()
                try:
                    result = inner.run(
                        type("Case", (Forking,), {"database": url, "engines": app_engine})
                    )
                finally:
                    if os.getpid() != process:
                        os._exit(0)
                inner.passed(self, result, 2)


@needs_postgresql
class OnPostgreSQL(OnSQLite):
    url = POSTGRESQL


@needs_mysql
class OnMySQL(OnSQLite):
    url = MYSQL
