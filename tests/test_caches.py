"""The cache directory is full, read-only, broken, or another user's, and clocks are set back."""

from __future__ import annotations

import errno
import io
import os
import pwd
import shutil
import signal
import time
import unittest
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import Connection, make_url

from dbtestcase.backends import cached as cached_module
from dbtestcase.backends import notices
from dbtestcase.backends.sqlite import SQLiteBackend
from dbtestcase.exceptions import BackendError

from . import inner, test_postgres_server
from .faults import reporting, tried
from .processes import IS_ROOT, as_nobody, in_a_child, in_two_children
from .small_disks import needs_small_disks, run_on_a_small_disk


@reporting
class OfTemplates(unittest.TestCase):
    """SQLite's templates of migrations: whatever is wrong, they are built."""

    title = "SQLite"

    ON_A_SMALL_DISK = """
import os, sys
from tests.test_caches import OfTemplates
print(OfTemplates().template())
print("left", os.listdir(sys.argv[1]))
"""

    def setUp(self) -> None:
        self.home = self.enterContext(inner.directory())
        self.enterContext(mock.patch.dict(os.environ, XDG_CACHE_HOME=str(self.home)))
        self.directory = self.home / "dbtestcase" / "sqlite"

    def template(self) -> tuple[int, str]:
        """Return how often a template was built, which can be used, and what was said."""
        built = []

        def build(connection: Connection) -> None:
            built.append(1)
            connection.exec_driver_sql("CREATE TABLE things (id INTEGER, text TEXT)")
            connection.exec_driver_sql("INSERT INTO things VALUES (1, ?)", ("x" * 200_000,))

        with redirect_stderr(io.StringIO()) as said:
            made: Any = SQLiteBackend(make_url("sqlite://")).lasting_template("one", build)
        found = made.connection.execute("SELECT id FROM things").fetchall()
        made.drop()
        self.assertEqual(found, [(1,)])
        return len(built), said.getvalue()

    def kept(self) -> Path:
        self.template()
        [path] = self.directory.iterdir()
        return path

    @tried("what is in it is broken", "the cache", "made anew")
    def test_one_that_is_broken(self) -> None:
        path = self.kept()
        self.assertEqual(path.stat().st_mode & 0o077, 0)
        whole = path.read_bytes()
        self.assertEqual(self.template(), (0, ""))
        for content in (b"", whole[: len(whole) // 2], b"no database" * 1000, whole[:5000] * 50):
            path.write_bytes(content)
            notices.say_once.cache_clear()
            with self.subTest(content=content[:20], length=len(content)):
                built, said = self.template()
                self.assertEqual(built, 1)
                self.assertRegex(said, rf"\Adbtestcase: {path} is broken \(.*, and is made anew\n")
                self.assertEqual(self.template(), (0, ""))

    def test_one_that_is_swept_just_now(self) -> None:
        path = self.kept()
        path.unlink()
        with mock.patch.object(Path, "is_file", return_value=True):
            backend = SQLiteBackend(make_url("sqlite://"))
            with redirect_stderr(io.StringIO()), mock.patch.object(backend, "template") as template:
                template.side_effect = ZeroDivisionError
                self.assertRaises(ZeroDivisionError, backend.lasting_template, "one", None)
        self.assertEqual(list(self.directory.iterdir()), [])

    @tried("a file is in its place", "the cache", "works without")
    def test_a_file_in_the_way(self) -> None:
        self.directory.parent.mkdir()
        self.directory.touch()
        built, said = self.template()
        self.assertEqual(built, 1)
        self.assertRegex(said, rf"(?s)cannot be kept in {self.directory}: .*File exists")
        self.assertEqual(self.template(), (1, ""))  # which need not be said again

    @tried("other users may write to it", "the cache", "works without")
    def test_a_directory_that_others_may_write_to(self) -> None:
        self.kept()
        for directory in (self.directory, self.directory.parent):
            directory.chmod(0o777)
            with self.subTest(directory.name):
                built, said = self.template()
                self.assertEqual(built, 1)
                self.assertIn(f"Other users may write to it: '{directory}'", said)
            directory.chmod(0o700)
        self.assertEqual(self.template(), (0, ""))

    @unittest.skipUnless(IS_ROOT, "only root can give it to somebody")
    def test_a_directory_of_another_user(self) -> None:
        self.kept()
        os.chown(self.directory, pwd.getpwnam("nobody").pw_uid, -1)
        built, said = self.template()
        self.assertEqual(built, 1)
        self.assertIn(f"Other users may write to it: '{self.directory}'", said)

    @tried("it cannot be read or written to", "the cache", "works without")
    def test_without_permission(self) -> None:
        path = self.kept()

        def found() -> tuple[int, str]:
            return self.template()

        modes = {
            (self.directory, 0o500): (0, ""),  # read, though not written
            (path, 0o000): (1, "is broken (unable to open"),
            (self.directory, 0o000): (1, "cannot be kept"),
        }
        for (what, mode), (builds, message) in modes.items():
            with self.subTest(what.name, mode=oct(mode)):
                before = what.stat().st_mode
                what.chmod(mode)
                try:
                    said = in_a_child(lambda: as_nobody(found, self.home))
                finally:
                    what.chmod(before)
                self.assertIn(f"({builds}, ", said)
                self.assertIn(message, said)

    @tried("its disk is full", "the cache", "works without")
    @needs_small_disks
    def test_a_full_disk(self) -> None:
        ran = run_on_a_small_disk(self, self.home, "size=64k", self.ON_A_SMALL_DISK, self.directory)
        self.assertRegex(ran.stdout, r"\(1, .*cannot be kept in .*: database or disk is full")
        self.assertIn("left []\n", ran.stdout)

    @tried("kill -9", "filling the cache", "made anew")
    def test_killed_while_it_is_written(self) -> None:
        self.kept().unlink()

        def die(*_: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        def killed() -> None:
            with mock.patch.object(Path, "replace", die):
                self.template()

        self.assertEqual(in_a_child(killed), "")
        [left] = self.directory.iterdir()
        self.assertEqual(self.template(), (1, ""))
        self.assertEqual(self.template(), (0, ""))
        self.assertTrue(left.exists())  # for all that others know, it is being written
        self.age(left, 15)
        for path in {*self.directory.iterdir()} - {left}:
            path.unlink()
        self.template()
        self.assertFalse(left.exists())

    @tried("two runs at once", "filling the cache", "built for each")
    def test_two_at_once(self) -> None:
        self.assertEqual(in_two_children(self.template), [0, 0])
        self.assertEqual(self.template(), (0, ""))
        self.assertEqual(len(list(self.directory.iterdir())), 1)

    @tried("the clock is set back", "the cache", "swept")
    def test_what_is_swept(self) -> None:
        """What was used long ago, or in a future from which the clock has been set back."""
        kept = self.kept()
        there = {}
        for number, (days, stays) in enumerate(
            [(13, True), (15, False), (-2, False), (-0.5, True)]
        ):
            path = self.directory / f"{number:032x}.sqlite"
            there[path] = stays
            path.touch()
            self.age(path, days)
        for name in ("precious.sqlite", "notes.txt"):
            path = self.directory / name
            there[path] = True
            path.touch()
            self.age(path, 100)
        (self.directory / "directory").mkdir()
        kept.unlink()
        self.assertEqual(self.template(), (1, ""))
        for path, stays in there.items():
            self.assertEqual(path.exists(), stays, path)

    def age(self, path: Path, days: float) -> None:
        os.utime(path, (time.time() - days * 86_400,) * 2)


@reporting
class OfServers(unittest.TestCase):
    """What PGlite and pgserver keep, by what both do it with."""

    def setUp(self) -> None:
        self.cache = self.enterContext(inner.directory())
        self.target = self.cache / "kind" / "1.0"
        self.made = 0

    def make(self, directory: Path) -> None:
        self.made += 1
        (directory / cached_module.ARCHIVE).touch()

    def cached(self) -> Path:
        with mock.patch.dict(cached_module._failures, clear=True), redirect_stderr(io.StringIO()):
            return cached_module.cached(self.cache, "kind", "1.0", "making it", self.make)

    def refused(self) -> str:
        with self.assertRaises(BackendError) as raised:
            self.cached()
        message = str(raised.exception)
        self.assertIn(f"Cannot keep files in the cache directory {self.cache}: ", message)
        self.assertIn("  To fix this, let it be a directory with room", message)
        return message

    @tried("a file is in its place", "the cache", "refused", "PGlite", "pgserver")
    def test_a_file_or_a_link_in_the_way(self) -> None:
        (self.cache / "kind").touch()
        self.assertIn("File exists", self.refused())
        (self.cache / "kind").unlink()
        (self.cache / "kind").mkdir(0o700)
        self.target.touch()
        self.assertIn(f"File exists: '{self.target}'", self.refused())
        self.target.unlink()
        theirs = self.cache / "theirs"
        theirs.mkdir()
        (theirs / "precious").touch()
        self.target.symlink_to(theirs)
        self.assertIn("File exists", self.refused())
        self.assertEqual(self.made, 0)  # which may take long
        self.assertTrue((theirs / "precious").exists())

    def test_one_that_is_a_link(self) -> None:
        """To a larger disk, for instance."""
        elsewhere = self.enterContext(inner.directory())
        (self.cache / "kind").symlink_to(elsewhere)
        self.assertTrue((self.cached() / cached_module.ARCHIVE).is_file())

    @tried("other users may write to it", "the cache", "refused", "PGlite", "pgserver")
    def test_one_that_others_may_write_to(self) -> None:
        """They could have put a program there."""
        self.cached()
        for directory in (self.cache, self.target.parent):
            directory.chmod(0o777)
            with self.subTest(directory.name):
                self.assertIn(f"Other users may write to it: '{directory}'", self.refused())
            directory.chmod(0o700)
        self.cached()
        self.assertEqual(self.made, 1)
        if IS_ROOT:
            os.chown(self.target.parent, pwd.getpwnam("nobody").pw_uid, -1)
            self.assertIn("Other users may write to it", self.refused())

    @tried("it cannot be read or written to", "the cache", "refused", "PGlite", "pgserver")
    def test_without_permission(self) -> None:
        archive = self.cached() / cached_module.ARCHIVE
        for what, mode in ((archive, 0), (self.target.parent, 0), (self.cache, 0)):
            with self.subTest(what.name, mode=mode):
                before = what.stat().st_mode
                what.chmod(mode)
                try:
                    said = in_a_child(lambda: as_nobody(self.refused, self.cache))
                finally:
                    what.chmod(before)
                self.assertIn("Permission denied", said)
        shutil.rmtree(self.target)
        self.target.parent.chmod(0o500)
        self.assertIn("Permission denied", in_a_child(lambda: as_nobody(self.refused, self.cache)))

    @tried("its disk is full", "the cache", "refused", "PGlite")
    def test_a_full_disk(self) -> None:
        def fill(directory: Path) -> None:
            self.made += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))

        with mock.patch.object(self, "make", fill):
            self.assertIn("No space left on device", self.refused())
        left = [path.name for path in self.target.parent.iterdir() if path.is_dir()]
        self.assertEqual(left, [])

    def test_too_little_room(self) -> None:
        """What others say to whom something cannot be written, such as npm, may be anything."""

        def fail(directory: Path) -> None:
            raise BackendError("try another version")

        usage = shutil.disk_usage(self.cache)
        for free, expected in (
            (63 << 20, "There are 63 MB left in .*another version"),
            (1 << 40, r"\Atry"),
        ):
            with (
                self.subTest(free=free),
                mock.patch.object(self, "make", fail),
                mock.patch.object(
                    shutil, "disk_usage", lambda _, free=free: usage._replace(free=free)
                ),
                self.assertRaisesRegex(BackendError, expected),
            ):
                self.cached()

    @tried("two runs at once", "filling the cache", "built once", "PGlite", "pgserver")
    def test_two_at_once(self) -> None:
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)

        def make(directory: Path) -> None:
            with (self.cache / "made").open("a") as made:
                made.write("x")
            os.read(reader, 1)  # until both have been started
            (directory / cached_module.ARCHIVE).touch()

        with mock.patch.object(self, "make", make):
            statuses = in_two_children(self.cached, lambda: os.write(writer, b"xx"))
        self.assertEqual(statuses, [0, 0])
        self.assertEqual((self.cache / "made").read_text(), "x")

    @tried("kill -9", "filling the cache", "made anew", "PGlite", "pgserver")
    def test_killed_while_it_is_made(self) -> None:
        def die(directory: Path) -> None:
            (directory / cached_module.ARCHIVE).touch()
            os.kill(os.getpid(), signal.SIGKILL)

        def killed() -> None:
            with mock.patch.object(self, "make", die):
                self.cached()

        self.assertEqual(in_a_child(killed), "")
        self.assertEqual(len(list(self.target.parent.glob("unfinished-*"))), 1)
        self.cached()
        self.assertEqual(self.made, 1)
        self.assertEqual(list(self.target.parent.glob("unfinished-*")), [])


@test_postgres_server.needs_it
@reporting
class OnASmallDisk(unittest.TestCase):
    """What pgserver says when there is no room for what it keeps."""

    title = "pgserver"

    RUN = """
import os, sys
from tests import inner, test_losses
result = inner.run(test_losses.case(test_losses.Sync, "pgserver://", "transaction"))
print(*(message for _, message in result.errors))
print("left", *(name for *_, names in os.walk(sys.argv[1]) for name in names))
"""

    @tried("its disk is full", "the cache", "refused")
    @needs_small_disks
    def test_a_full_disk(self) -> None:
        home = self.enterContext(inner.directory())
        with mock.patch.dict(os.environ, XDG_CACHE_HOME=str(home)):
            ran = run_on_a_small_disk(self, home, "size=3m", self.RUN, home)
        self.assertRegex(ran.stdout, f"There are [0-3] MB left in {home}/")
        self.assertIn("  To fix this, make room there", ran.stdout)
        self.assertIn("\nleft .lock\n", ran.stdout)
