"""Databases whose disk is full, as a class is set up and in the middle of a test."""

from __future__ import annotations

import unittest
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table

from dbtestcase.backends import backend_for
from dbtestcase.provision import provisioner

from . import inner, test_losses
from .faults import reporting, tried
from .own_servers import (
    NO_MARIADB,
    OwnMariaDBOnASmallDisk,
    OwnPostgreSQLOnASmallDisk,
)
from .servers import needs
from .small_disks import fill, needs_small_disks, run_on_a_small_disk
from .test_losses import EACH, case, users
from .test_postgres_server import needs_it, new_cache

blobs = Table(
    "blobs",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("blob", LargeBinary(1_000_000)),
)
COLOURS = {"a test": test_losses.Sync, "an async test": test_losses.Async}


class Checks:
    """What there is to see on every database, by what lets its disk be full."""

    url: str

    def fill(self) -> None:
        """Let there be no room."""
        raise NotImplementedError

    def make_room(self) -> None:
        raise NotImplementedError

    def case(self, base: Any, isolation: str, **attributes: Any) -> Any:
        metadata = [users.metadata, blobs.metadata]
        return case(base, self.url, isolation, metadata=metadata, **attributes)

    def check_at_set_up(self: Any) -> None:
        for base in COLOURS.values():
            provisioner.close()  # what failed once is not tried again by the same process
            self.fill()
            for isolation in EACH:
                with self.subTest(isolation, base=base.__name__):
                    message = inner.only_error(self, inner.run(self.case(base, isolation)))
                    self.assertRegex(message, self.full)
                    self.assertRegex(message, self.remedy)
            self.make_room()
            provisioner.close()
            inner.passed(self, inner.run(*[self.case(base, one) for one in EACH]), len(EACH))

    def check_in_a_test(self: Any, phase: str) -> None:
        def write(session: Any) -> None:
            self.fill()
            try:
                session.execute(blobs.insert(), [{"blob": bytes(100_000)}] * 50)
                session.commit()
            finally:
                session.rollback()
                self.make_room()

        def test(this: Any) -> None:
            write(this.session)

        async def async_test(this: Any) -> None:
            await this.session.run_sync(write)

        base = COLOURS[phase]
        full = test if base is test_losses.Sync else async_test
        tests = {"test": None, "test_0": base.test, "test_1": full, "test_2": base.test}
        for isolation in EACH:
            with self.subTest(isolation):
                lost = self.case(base, isolation, **tests)
                result = inner.run(lost, self.case(base, isolation))
                message = inner.only_error(self, result)
                self.assertEqual(result.testsRun, 3 + 1)
                self.assertRegex(message, self.full)
                place = backend_for(self.url).place
                self.assertIn(f"{place} has no room on its disk left.\n  To fix this, m", message)
        provisioner.close()


WHAT = "the database's disk is full"


class Full(Checks):
    @tried(WHAT, "setUpClass", "refused")
    def test_full_at_set_up(self) -> None:
        self.check_at_set_up()

    @tried(WHAT, "a test", "goes on")
    def test_full_in_a_test(self) -> None:
        self.check_in_a_test("a test")

    @tried(WHAT, "an async test", "goes on")
    def test_full_in_an_async_test(self) -> None:
        self.check_in_a_test("an async test")


class OnServer(Full):
    kind: type[Any]
    server: Any

    @classmethod
    def setUpClass(cls: Any) -> None:
        super().setUpClass()  # type: ignore[misc]
        cls.server = cls.kind(cls.enterClassContext(inner.directory()))
        cls.url = cls.server.url
        cls.addClassCleanup(cls.server.stop)
        cls.addClassCleanup(provisioner.close)
        cls.server.start()

    def fill(self) -> None:
        self.server.fill()

    def make_room(self) -> None:
        self.server.make_room()


@needs_it
@needs_small_disks
@reporting
class OfPostgreSQL(OnServer, unittest.TestCase):
    title = "PostgreSQL"
    kind = OwnPostgreSQLOnASmallDisk
    full = "No space left on device"
    remedy = "  To fix this, make room on the disk of the server"


@needs("mariadbd", NO_MARIADB, required=())
@needs_small_disks
@reporting
class OfMariaDB(OnServer, unittest.TestCase):
    title = "MariaDB"
    kind = OwnMariaDBOnASmallDisk
    full = "No space left on device|is full|[Ee]rr(no|or):? 28"
    remedy = (
        r"MariaDB/MySQL at mariadb://root@/\?unix_socket=\S+ has no room on its disk left.\n"
        "  To fix this, make room on the disk of the server"
    )


class InADirectory(Checks, unittest.TestCase):
    """What is checked in a process of its own, which alone sees the disk."""

    def __init__(self, directory: str) -> None:
        super().__init__()
        self.directory = Path(directory)

    def fill(self) -> None:
        fill(self.directory)

    def make_room(self) -> None:
        (self.directory / "filler").unlink()


class SQLiteInADirectory(InADirectory):
    full = "disk is full"
    remedy = "  To fix this, (make room|name an existing directory with room)"

    @property
    def url(self) -> str:  # type: ignore[override]
        return f"sqlite:///{self.directory}/file.db"


class PGServerInADirectory(InADirectory):
    """That of its cache, which holds the data directory: there is room for it at first."""

    url = "pgserver://"
    full = OfPostgreSQL.full
    remedy = OfPostgreSQL.remedy


RUN = """
import sys
from tests import test_full_disks
getattr(test_full_disks, sys.argv[2])(sys.argv[1]).CHECK
"""


@needs_small_disks
@reporting
class OfSQLite(Full, unittest.TestCase):
    title = "SQLite"

    def check(self, check: str) -> None:
        directory = self.enterContext(inner.directory())
        code = RUN.replace("CHECK", check)
        run_on_a_small_disk(self, directory, "size=4m", code, directory, "SQLiteInADirectory")

    def check_at_set_up(self) -> None:
        self.check("check_at_set_up()")

    def check_in_a_test(self, phase: str) -> None:
        self.check(f"check_in_a_test({phase!r})")
