"""Servers that are started again between two test classes, by others or by ourselves."""

from __future__ import annotations

import gc
import io
import os
import signal
import unittest
import warnings
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from dbtestcase.backends import backend_for
from dbtestcase.provision import provisioner

from . import inner, test_losses, test_pglite_server, test_postgres_server
from .faults import reporting, tried
from .own_servers import NO_MARIADB, OwnMariaDB, OwnPostgreSQL, OwnServer
from .servers import needs
from .test_dead_servers import has_ended
from .test_losses import EACH, case, cases
from .waiting import until

COLOURS = (test_losses.Sync, test_losses.Async)


class Restarts:
    """What all servers have in common."""

    title: str
    url: str
    isolations = EACH

    def start_again(self) -> None:
        """End the server; let another one be there, or be started when it is needed."""
        raise NotImplementedError

    def check_restarts(self: Any) -> None:
        for isolation in self.isolations:
            for base in COLOURS:
                with self.subTest(isolation, base=base.__name__):
                    inner.passed(self, inner.run(case(base, self.url, isolation)), 1)
                    self.start_again()
                    after = [case(one, self.url, isolation) for one in (base, *COLOURS)]
                    inner.passed(self, inner.run(*after), 3)

    @tried("the server is started again", "between two classes", "passes")
    def test_all_isolations(self: Any) -> None:
        self.check_restarts()


class OfOthers(Restarts):
    """A server that others run."""

    kind: type[Any]
    server: OwnServer

    def setUp(self: Any) -> None:
        """PyMySQL does not close a socket at which nobody listens."""
        self.enterContext(warnings.catch_warnings())
        warnings.simplefilter("ignore", ResourceWarning)
        self.addCleanup(gc.collect)
        self.server = self.kind(self.enterContext(inner.directory()))
        self.addCleanup(self.server.stop)
        self.addCleanup(provisioner.close)
        self.server.start()
        self.url = self.server.url

    def start_again(self) -> None:
        self.server.stop()
        self.server.start()

    def test_that_takes_longer_than_the_next_class_can_wait(self: Any) -> None:
        before, meanwhile, after = cases(3, test_losses.Sync, self.url, "truncation")
        inner.passed(self, inner.run(before), 1)
        self.server.stop()
        said = inner.only_error(self, inner.run(meanwhile))
        self.assertIn("start the server", said)
        self.server.start()
        inner.passed(self, inner.run(after), 1)


@test_postgres_server.needs_it
@reporting
class OfPostgreSQL(OfOthers, unittest.TestCase):
    title = "PostgreSQL"
    kind = OwnPostgreSQL

    def check_restarts(self) -> None:
        super().check_restarts()
        provisioner.close()
        left = self.server.query("SELECT datname FROM pg_database WHERE datname LIKE 'dbtestcase%'")
        self.assertRegex(" ".join(name for (name,) in left), "^(dbtestcase_template_[^ ]+ ?)+$")


@needs("mariadbd", NO_MARIADB, required=())
@reporting
class OfMariaDB(OfOthers, unittest.TestCase):
    title = "MariaDB"
    kind = OwnMariaDB


class Ours(Restarts):
    """A server that this process has started, and starts again."""

    def setUp(self: Any) -> None:
        self.server: Any = backend_for(self.url).server  # type: ignore[attr-defined]
        self.said = self.enterContext(redirect_stderr(io.StringIO()))
        self.addCleanup(provisioner.close)

    def kill(self) -> list[int]:
        """Kill the server, and return its processes, which end."""
        number = int((self.server.socket_directory / "process").read_text().split()[0])
        children = Path(f"/proc/{number}/task/{number}/children").read_text()
        os.kill(number, signal.SIGKILL)
        return [number, *map(int, children.split())]

    def start_again(self) -> None:
        self.kill()
        assert until(lambda: not self.server.is_alive())

    def check_restarts(self: Any) -> None:
        super().check_restarts()
        told = self.said.getvalue().count("dbtestcase: a new server is started, as ")
        self.assertEqual(told, len(self.isolations) * len(COLOURS))


@test_pglite_server.needs_it
@reporting
class OfPGlite(Ours, unittest.TestCase):
    title = "PGlite"
    url = "pglite://"
    isolations = ("transaction",)


@test_postgres_server.needs_it
@reporting
class OfPGServer(Ours, unittest.TestCase):
    title = "pgserver"
    url = "pgserver://"

    def test_that_nobody_notices_before(self: Any) -> None:
        """Its supervisor is too slow to tell, until it is asked to stop."""
        stop = self.server.stop
        for base in COLOURS:
            with self.subTest(base.__name__):
                before, after = cases(2, base, self.url, "transaction")
                inner.passed(self, inner.run(before), 1)
                supervisor = self.server._process.pid

                def go_on(supervisor: int = supervisor) -> None:
                    os.kill(supervisor, signal.SIGCONT)
                    self.server.stop = stop
                    stop()

                os.kill(supervisor, signal.SIGSTOP)
                self.server.stop = go_on
                ended = self.kill()
                self.assertTrue(until(lambda ended=ended: all(map(has_ended, ended))))
                inner.passed(self, inner.run(after), 1)
