"""Servers named by URLs that are killed, or started again, in the middle of a test."""

from __future__ import annotations

import gc
import unittest
import warnings
from collections.abc import Callable
from typing import Any

from sqlalchemy import make_url, text

from dbtestcase.backends import backend_for
from dbtestcase.provision import provisioner

from . import inner, test_losses
from .faults import reporting, tried
from .own_servers import NO_MARIADB, OwnMariaDB, OwnPostgreSQL, OwnServer
from .servers import needs
from .test_losses import case, cases, users
from .test_postgres_server import needs_it

COLOURS = {"a test": test_losses.Sync, "an async test": test_losses.Async}


def losing(lose: Callable[[], None]) -> tuple[Any, Any]:
    """Return a test, in both colours, in the middle of which its server is lost."""

    def use(session: Any) -> None:
        session.execute(users.insert().values(name="carl"))
        lose()
        session.scalar(text("SELECT 1"))

    def test(self: Any) -> None:
        use(self.session)

    async def async_test(self: Any) -> None:
        await self.session.run_sync(use)

    return test, async_test


class Losses:
    """What both servers have in common."""

    title: str
    kind: type[Any]
    server: OwnServer
    isolations = test_losses.EACH

    @classmethod
    def setUpClass(cls: Any) -> None:
        super().setUpClass()  # type: ignore[misc]
        cls.server = cls.kind(cls.enterClassContext(inner.directory()))
        cls.addClassCleanup(cls.server.stop)
        cls.addClassCleanup(provisioner.close)
        cls.server.start()

    def setUp(self: Any) -> None:
        """PyMySQL does not close a socket at which nobody listens."""
        self.enterContext(warnings.catch_warnings())
        warnings.simplefilter("ignore", ResourceWarning)
        self.addCleanup(gc.collect)

    def lost(self, base: Any, isolation: str, lose: Callable[[], None]) -> Any:
        """Return a class that loses the server in the second of three tests."""
        test = losing(lose)[base is test_losses.Async]
        tests = {"test_0": base.test, "test_1": test, "test_2": base.test}
        return case(base, self.server.url, isolation, test=None, **tests)

    def check_loss(self: Any, message: str) -> None:
        """Check that the error of a test names it, the server, and the remedy."""
        place = f"{backend_for(self.server.url).title} at {make_url(self.server.url)}"
        self.assertIn(f".Case.test_1: the connection to {place} was lost", message)
        self.assertIn("  To fix this, start the server", message)

    def check_dead(self: Any, message: str) -> None:
        self.assertIn(f" cannot be reached at {make_url(self.server.url)}: ", message)
        self.assertIn("  To fix this, start the server", message)

    def check_killed(self: Any, phase: str) -> None:
        base = COLOURS[phase]
        for isolation in self.isolations:
            with self.subTest(isolation):
                lost = self.lost(base, isolation, self.server.kill)
                others = cases(2, base, "sqlite://", "transaction")
                dead = [case(one, self.server.url, isolation) for one in COLOURS.values()]
                result = inner.run(lost, others[0], *dead, others[1])
                messages = [message for _, message in result.errors + result.failures]
                self.assertEqual((result.testsRun, len(messages)), (3 + 2, 1 + 1 + 2), messages)
                self.check_loss(messages[0])
                for message in messages[1:]:
                    self.check_dead(message)
                provisioner.close()
                self.server.start()
                self.check_next_run(dead)

    def check_next_run(self: Any, classes: list[Any]) -> None:
        """Check that there is nothing of ours once another run has begun."""
        url = make_url(self.server.url)
        backend = type(backend_for(self.server.url))(url)
        _ = backend.door
        backend.close()
        self.assert_nothing_remains()
        inner.passed(self, inner.run(*classes), len(classes))
        provisioner.close()
        self.assert_nothing_remains()

    def check_started_again(self: Any, phase: str) -> None:
        def start_again() -> None:
            self.server.kill()
            self.server.start()

        base = COLOURS[phase]
        for isolation in self.isolations:
            with self.subTest(isolation):
                lost = self.lost(base, isolation, start_again)
                after = [case(one, self.server.url, isolation) for one in COLOURS.values()]
                result = inner.run(lost, *after)
                self.check_loss(inner.only_error(self, result))
                self.assertEqual(result.testsRun, 3 + 2)
                provisioner.close()
                self.assert_nothing_remains()

    @tried("the server is killed", "a test", "goes on")
    def test_killed(self) -> None:
        self.check_killed("a test")

    @tried("the server is killed", "an async test", "goes on")
    def test_killed_in_an_async_test(self) -> None:
        self.check_killed("an async test")

    @tried("the server is started again", "a test", "goes on")
    def test_started_again(self) -> None:
        self.check_started_again("a test")

    @tried("the server is started again", "an async test", "goes on")
    def test_started_again_in_an_async_test(self) -> None:
        self.check_started_again("an async test")


@needs_it
@reporting
class OfPostgreSQL(Losses, unittest.TestCase):
    title = "PostgreSQL"
    kind = OwnPostgreSQL
    isolations = (*test_losses.EACH, "schema")

    def assert_nothing_remains(self) -> None:
        """But a template."""
        left = self.server.query("SELECT datname FROM pg_database WHERE datname ~ '^dbtestcase'")
        self.assertRegex(" ".join(name for (name,) in left), "^dbtestcase_template_[^ ]+$")


@needs("mariadbd", NO_MARIADB, required=())
@reporting
class OfMariaDB(Losses, unittest.TestCase):
    title = "MariaDB"
    kind = OwnMariaDB

    def assert_nothing_remains(self) -> None:
        """But what is kept for the next run, none of it in use."""
        schemas = "SELECT schema_name FROM information_schema.schemata"
        found = {name for (name,) in self.server.query(schemas) if name.startswith("dbtestcase_")}
        rows = self.server.query(
            "SELECT name, IS_FREE_LOCK(name) FROM dbtestcase_registry.databases"
        )
        self.assertEqual(found - {"dbtestcase_registry"}, {name for name, _ in rows})
        self.assertEqual({free for _, free in rows}, {1})
