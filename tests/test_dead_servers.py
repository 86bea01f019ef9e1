"""What is left of private servers whose supervisors were killed too, and what must be let alone."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import unittest
from contextlib import suppress
from pathlib import Path
from unittest import mock

from dbtestcase.backends import dead_servers as dead_servers_module
from dbtestcase.backends import private_server
from dbtestcase.backends.dead_servers import (
    PROCESS,
    SOCKET,
    dead_servers,
    hold,
    remove_server,
    stop_server,
)
from dbtestcase.backends.private_server import PrivateServer

from . import inner, test_pglite_server, test_postgres_server
from .waiting import until

LAUNCH = """
import sys
from pathlib import Path
from dbtestcase.backends import dead_servers, private_server
from {module} import {name} as Server
dead_servers.PREFIX = private_server.PREFIX = {prefix!r}
server = Server(Path({cache!r}))
server.wait()
print(server._process.pid, server.socket_directory, flush=True)
sys.stdin.read()
"""


def has_ended(process: int) -> bool:
    """Tell whether a process has ended, if nobody asked for its result either."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@unittest.skipUnless(hasattr(socket, "SO_PEERCRED"), "only Linux tells who listens at a socket")
class Orphans(unittest.TestCase):
    """In directories with names of their own: any other process would sweep them at any moment."""

    def setUp(self) -> None:
        self.prefix = f"orphans-{secrets.token_hex(4)}-"
        for module in (dead_servers_module, private_server):
            self.enterContext(mock.patch.object(module, "PREFIX", self.prefix))

    def orphan(self, server: PrivateServer) -> tuple[int, Path]:
        """Return the process and directory of a server that has nobody any more."""
        code = LAUNCH.format(
            module=type(server).__module__,
            name=type(server).__name__,
            prefix=self.prefix,
            cache=str(server.cache),
        )
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as owner:
            try:
                supervisor, _, name = owner.stdout.readline().strip().partition(" ")
                directory = Path(name)
                process = int((directory / PROCESS).read_text().split()[0])
                self.addCleanup(self.kill, process)
                children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text()
                for number in {*map(int, children.split()), int(supervisor)} - {process}:
                    os.kill(number, signal.SIGKILL)
            finally:
                owner.kill()
        return process, directory

    def kill(self, process: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)

    def check(self, first: PrivateServer, second: PrivateServer) -> None:
        self.addCleanup(second.stop)
        process, directory = self.orphan(first)
        self.assertFalse(has_ended(process))
        self.assertTrue(until(lambda: directory in second.left()))  # when all that held it are dead
        second.launch()
        self.assertFalse(directory.exists())
        self.assertTrue(until(lambda: has_ended(process)))
        second.wait()

    @unittest.skipIf(test_postgres_server.MISSING, test_postgres_server.MISSING)
    def test_postgresql(self) -> None:
        from dbtestcase.backends.postgres_server import PostgresServer

        cache = test_postgres_server.CACHE
        self.check(PostgresServer(cache), PostgresServer(cache))

    @unittest.skipIf(test_pglite_server.MISSING, test_pglite_server.MISSING)
    def test_pglite(self) -> None:
        from dbtestcase.backends.pglite_server import PGliteServer

        cache = test_pglite_server.CACHE
        self.check(PGliteServer(cache), PGliteServer(cache))

    @unittest.skipIf(test_postgres_server.MISSING, test_postgres_server.MISSING)
    def test_one_that_its_owner_stops(self) -> None:
        from dbtestcase.backends.postgres_server import PostgresServer

        server = PostgresServer(test_postgres_server.CACHE)
        self.addCleanup(server.stop)
        server.wait()
        directory = server.socket_directory
        process = int((directory / PROCESS).read_text().split()[0])
        supervisor = server._process.pid  # type: ignore[union-attr]
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text()
        for number in {*map(int, children.split()), supervisor} - {process}:
            os.kill(number, signal.SIGKILL)
        server.stop()
        self.assertTrue(until(lambda: has_ended(process)))
        self.assertFalse(directory.exists())


class Directories(unittest.TestCase):
    def setUp(self) -> None:
        self.parent = self.enterContext(inner.directory())
        self.directory = self.parent / "dbtestcase-one"
        self.directory.mkdir(0o700)

    def left(self) -> list[Path]:
        return dead_servers(self.parent, {os.geteuid()})

    def listen(self) -> None:
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(str(self.directory / SOCKET))
        listener.listen()

    def test_one_that_was_held(self) -> None:
        descriptor = hold(self.directory)
        self.assertEqual(self.left(), [])
        with self.assertRaises(OSError):
            remove_server(self.directory)
        os.close(descriptor)
        self.assertEqual(self.left(), [self.directory])
        remove_server(self.directory)
        self.assertFalse(self.directory.exists())

    def test_one_that_was_never_held(self) -> None:
        self.assertEqual(self.left(), [])
        now = time.time()
        for moment, left in {0.0: True, now + 2 * 86_400: True, now + 100: False}.items():
            os.utime(self.directory, (moment, moment))  # the clock may have been set back
            self.assertEqual(self.left(), [self.directory] if left else [])
        (self.directory / "data").touch()
        os.utime(self.directory, (0, 0))
        self.assertEqual(self.left(), [])
        with self.assertRaises(OSError):
            remove_server(self.directory)
        (self.directory / "data").unlink()
        remove_server(self.directory)
        self.assertFalse(self.directory.exists())

    def test_one_of_another_user(self) -> None:
        os.close(hold(self.directory))
        self.assertEqual(dead_servers(self.parent, {os.geteuid() + 1}), [])

    def test_one_that_others_may_enter(self) -> None:
        os.close(hold(self.directory))
        self.directory.chmod(0o755)
        self.assertEqual(self.left(), [])

    def test_a_link(self) -> None:
        os.close(hold(self.directory))
        self.directory.rename(self.parent / "other")
        self.directory.symlink_to(self.parent / "other")
        self.assertEqual(self.left(), [])

    def test_somebody_else_listens(self) -> None:
        """This process, which no supervisor has started."""
        os.close(hold(self.directory))
        self.listen()
        for said in (f"{os.getppid()} KILL", f"{os.getpid()} NONSENSE", "", None):
            with self.subTest(said):
                if said is None:
                    (self.directory / PROCESS).unlink()
                else:
                    (self.directory / PROCESS).write_text(said)
                self.assertEqual(self.left(), [])
                stop_server(self.directory)  # which would be the end of this
