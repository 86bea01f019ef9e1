"""A run of tests in which things go wrong.

``python -m tests.wrong_run together TABLE [FAULT PHASE]...``, or ``each``, for a process each.

Each fault happens in a class of its own, which does it to itself when it comes to the phase, so
that nothing depends on time. After each come two classes that are healthy. A run that comes to its
end prints a line of JSON: what failed, by class.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import socket
import sys
import tempfile
import unittest
from collections.abc import Sequence
from typing import Any, ClassVar

from sqlalchemy import Column, Integer, MetaData, Table, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase
from dbtestcase.backends import backend_for
from dbtestcase.backends.losses import socket_of

from .waiting import until

Faults = Sequence[tuple[str, str]]

URL = os.environ["DBTESTCASE_DATABASE"]
table = Table(sys.argv[2], MetaData(), Column("id", Integer, primary_key=True))
server: Any = getattr(backend_for(URL), "server", None)


def say(*what: object) -> None:
    print(*what, flush=True)


def process() -> int:
    """Return the process of the private server."""
    return int((server.socket_directory / "process").read_text().split()[0])


def end_connection(session: Any) -> None:
    """Let the server end the connection of the test."""
    mysql = "mysql" in URL or "mariadb" in URL
    ask = "SELECT CONNECTION_ID()" if mysql else "SELECT pg_backend_pid()"
    end = "KILL {}" if mysql else "SELECT pg_terminate_backend({}, 60000)"
    number = session.scalar(text(ask))
    backend: Any = backend_for(URL)
    other = backend.open(is_async=False)
    other.cursor().execute(end.format(number))
    other.close()
    session.execute(text("SELECT 1"))


def drop_connection(session: Any) -> None:
    """Let the connection of the test break off."""
    adapted = session.connection().connection.dbapi_connection.sandbox.link.connection
    driver = getattr(adapted, "driver_connection", adapted)
    transport = getattr(driver, "_transport", None) or getattr(driver, "_writer", None)
    is_async = transport is not None
    used = transport.get_extra_info("socket") if is_async else socket_of(driver)
    with socket.socket(fileno=os.dup(used.fileno())) as client:
        client.shutdown(socket.SHUT_RDWR)
    session.execute(text("SELECT 1"))


def fork(session: Any) -> None:
    """Let a forked process use the connection of the test, in vain."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            session.execute(text("SELECT 1"))
        except Exception as error:
            status = int("was forked while a test ran" not in str(error))
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    session.execute(text("SELECT 1"))


def kill_server(session: Any) -> None:
    """Kill it, and use the session until its connection has heard of that."""
    os.kill(process(), signal.SIGKILL)
    until(lambda: session.execute(text("SELECT 1")) is None)


def kill_server_unnoticed(session: Any) -> None:
    """Kill the server while its supervisor is too slow to tell, until we ask it to stop."""
    supervisor, stop = server._process.pid, server.stop

    def go_on() -> None:
        os.kill(supervisor, signal.SIGCONT)
        server.stop = stop
        stop()

    os.kill(supervisor, signal.SIGSTOP)
    server.stop = go_on
    kill_server(session)


def remove_socket(session: Any) -> None:
    (server.socket_directory / ".s.PGSQL.5432").unlink()
    session.execute(text("SELECT 1"))


def fail(session: Any) -> None:
    raise ZeroDivisionError("the first cause")


FAULTS = {
    "raises": fail,
    "server": kill_server,
    "unnoticed": kill_server_unnoticed,
    "socket": remove_socket,
    "connection": end_connection,
    "dropped": drop_connection,
    "fork": fork,
    "_exit": lambda session: os._exit(3),
}
IN_SESSIONS = {"server", "unnoticed", "socket", "connection", "dropped", "fork"}


class Faulty:
    """What its sync and async kinds have in common."""

    fault: ClassVar[str]
    phase: ClassVar[str]

    @classmethod
    def tell(cls) -> None:
        if server is not None:
            say("server", process(), server.socket_directory)
        say("reached", cls.fault, cls.phase)

    @classmethod
    def reach(cls, phase: str, session: Any = None) -> None:
        if phase == cls.phase:
            cls.tell()
            if cls.fault in FAULTS:
                FAULTS[cls.fault](session)
            else:
                signal.raise_signal(signal.Signals[cls.fault])


class Healthy(DatabaseTestCase):
    metadata = table.metadata

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        session.execute(table.insert().values(id=1))

    def write(self) -> None:
        self.assertDatabaseCount(table, 1)
        self.session.execute(table.insert().values(id=2))
        self.session.commit()

    def test_1(self) -> None:
        self.write()

    def test_2(self) -> None:
        self.write()


class HealthyAsync(AsyncDatabaseTestCase):
    metadata = table.metadata

    @classmethod
    async def asyncSetUpTestData(cls, session: AsyncSession) -> None:
        await session.execute(table.insert().values(id=1))

    async def write(self) -> None:
        await self.assertDatabaseCount(table, 1)
        await self.session.execute(table.insert().values(id=2))
        await self.session.commit()

    async def test_1(self) -> None:
        await self.write()


class Sync(Healthy, Faulty):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.reach("setUpClass")

    def setUp(self) -> None:
        super().setUp()
        self.write()
        self.reach("setUp", self.session)

    def test_1(self) -> None:
        self.reach("a test", self.session)

    def test_2(self) -> None:
        pass

    def tearDown(self) -> None:
        self.reach("tearDown", self.session)
        super().tearDown()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.reach("tearDownClass")
        super().tearDownClass()


class Async(HealthyAsync, Faulty):
    @classmethod
    async def reach_async(cls, phase: str) -> None:
        cls.reach(phase)
        if phase == cls.phase:
            await asyncio.Event().wait()  # where Ctrl-C is heard of

    @classmethod
    async def asyncSetUpClass(cls) -> None:
        await super().asyncSetUpClass()
        await cls.reach_async("asyncSetUpClass")

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        await self.write()
        await self.reach_async("asyncSetUp")

    async def test_1(self) -> None:
        if self.fault in IN_SESSIONS:
            self.tell()
            await self.session.run_sync(FAULTS[self.fault])
        else:
            await self.reach_async("an async test")

    async def asyncTearDown(self) -> None:
        await self.reach_async("asyncTearDown")
        await super().asyncTearDown()

    @classmethod
    async def asyncTearDownClass(cls) -> None:
        await cls.reach_async("asyncTearDownClass")
        await super().asyncTearDownClass()


def classes(faults: Faults) -> list[type[Any]]:
    found: list[type[Any]] = []
    for fault, phase in faults:
        base = Async if "async" in phase else Sync
        name = f"{fault} {phase}"
        found.append(type(name, (base,), {"fault": fault, "phase": phase}))
        found.append(type(f"{name} next", (HealthyAsync,), {}))
        found.append(type(f"{name} last", (Healthy,), {}))
    return found or [Healthy]


def run(faults: Faults) -> None:
    """Run the classes of all ``faults``, and say what failed."""
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    suite = unittest.TestSuite(map(load, classes(faults)))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    failed: dict[str, list[str]] = {}
    for test, message in result.errors + result.failures:
        of_class = str(test).partition("(__main__.")[2].rstrip(")")  # what its set-up raised
        name = type(test).__qualname__ if isinstance(test, unittest.TestCase) else of_class
        failed.setdefault(name, []).append(message)
    say(json.dumps(failed))


def run_each(faults: Faults) -> None:
    """Do it for each fault in a forked process, and say how that ended and what it said."""
    for is_async in (False, True):  # once for all of them
        importlib.import_module(backend_for(URL).driver(is_async=is_async).module)
    for fault, phase in faults:
        with tempfile.TemporaryFile() as output:
            child = os.fork()
            if child == 0:
                for stream in (1, 2):
                    os.dup2(output.fileno(), stream)
                run([(fault, phase)])
                return
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            output.seek(0)
            said = output.read().decode()
        say(json.dumps({"fault": fault, "phase": phase, "status": status, "said": said}))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    how, _, *given = sys.argv[1:]
    pairs = list(zip(given[::2], given[1::2], strict=True))
    (run if how == "together" else run_each)(pairs)
