"""What PGlite has built is kept for later processes, which start with it."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from sqlalchemy import Connection, make_url, text

from .faults import reporting, tried
from .test_pglite_server import CACHE, MISSING, NODE, connect, needs_it

if not MISSING:
    from dbtestcase.backends import pglite_server
    from dbtestcase.backends.pglite import PGliteBackend
    from dbtestcase.backends.template_files import TemplateFiles

ROOT = Path(__file__).parent.parent

# A process that says when it builds: with a line in a file, and with one on standard output.
PROCESS = """
import sys, unittest
from dbtestcase import DatabaseTestCase
from dbtestcase.backends import template_files
template_files.PATIENCE = 600  # on a machine that does much else, building takes long

class Case(DatabaseTestCase):
    database = "pglite://"
    @classmethod
    def setUpDatabase(cls, connection):
        with open(sys.argv[1], "a") as file:
            file.write("built\\n")
        print("building", flush=True)
        if sys.argv[2:]:
            sys.stdin.read()
        connection.exec_driver_sql("CREATE TABLE words (word text)")
    def test(self):
        self.assertDatabaseCount("words", 0)

unittest.main(argv=sys.argv[:1])
"""

MADE = "CREATE TABLE words (id serial, word text); INSERT INTO words (word) VALUES ('{}')"


class Schema:
    """A schema with a name, which counts how often it is built."""

    def __init__(self, name: str, sql: str = MADE) -> None:
        self.name = name
        self.built = 0
        self._sql = sql.format(name)

    def build(self, connection: Connection) -> None:
        self.built += 1
        connection.execute(text(self._sql))


def share_installed(home: Path) -> None:
    """Let ``home`` be one for caches, with nothing but the installed package."""
    installed = pglite_server.install(CACHE, NODE)
    directory = home / "dbtestcase" / "pglite"
    directory.mkdir(parents=True)
    (directory / installed.name).symlink_to(installed)


class WithCache(unittest.TestCase):
    """A cache in which PGlite is installed, and nothing else."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.home = Path(cls.enterClassContext(TemporaryDirectory()))
        cls.enterClassContext(mock.patch.dict(os.environ, XDG_CACHE_HOME=str(cls.home)))
        share_installed(cls.home)


@needs_it
class SeveralProcesses(WithCache):
    """That begin at the same time, and need the same."""

    def setUp(self) -> None:
        self.note = Path(self.enterContext(TemporaryDirectory()), "note")
        templates = self.home / "dbtestcase" / "pglite" / "templates"
        self.addCleanup(lambda: [path.unlink() for path in templates.iterdir()])

    def process(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROCESS, str(self.note), *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.__exit__, None, None, None)
        self.addCleanup(process.kill)
        return process

    def check_passes(self, *processes: subprocess.Popen[str]) -> None:
        for process in processes:
            _, said = process.communicate()
            self.assertEqual(process.returncode, 0, said)

    def built(self) -> int:
        return len(self.note.read_text().splitlines())

    def test_one_builds(self) -> None:
        self.check_passes(*(self.process() for _ in range(4)))
        self.assertEqual(self.built(), 1)
        self.assertEqual(list(self.home.rglob("*.lock")), [])

    def test_one_that_is_killed_while_it_builds_keeps_nobody_waiting(self) -> None:
        killed = self.process("slowly")
        assert killed.stdout is not None
        self.assertEqual(killed.stdout.readline(), "building\n")
        others = [self.process() for _ in range(2)]
        killed.kill()
        self.check_passes(*others)
        self.assertEqual(killed.wait(), -9)
        self.assertGreater(self.built(), 1)


@needs_it
@reporting
class Templates(WithCache):
    """Another backend stands for that of another process, which has nothing in common with it."""

    def backend(self) -> PGliteBackend:
        backend = PGliteBackend(make_url("pglite://"))
        self.addCleanup(backend.close)
        return backend

    def test_a_connection_that_is_slow_to_leave(self) -> None:
        backend = self.backend()
        backend.reach()
        before = connect(backend.server)
        self.addCleanup(before.close)

        def refused(*, connecting: bool) -> None:
            if connecting:
                before.close()

        with mock.patch.object(backend.server, "check", refused):
            backend.open(is_async=False).close()
        self.assertTrue(before.closed)

    def test_a_connection_that_stays(self) -> None:
        backend = self.backend()
        backend.reach()
        with connect(backend.server), self.assertRaisesRegex(Exception, "another is open"):
            backend.open(is_async=False)

    def words(self, backend: PGliteBackend) -> list[Any]:
        """Return what is in the database, after adding to it."""
        connection: Any = backend.open(is_async=False)
        with contextlib.closing(connection):
            connection.execute("INSERT INTO words (word) VALUES ('more')")
            return connection.execute("SELECT id, word FROM words ORDER BY id").fetchall()

    def check(self, backend: PGliteBackend, schema: Schema, built: int, **options: bool) -> Any:
        """Check how often a ``schema`` has been built when it is made, and that it is there."""
        template = backend.lasting_template(schema.name, schema.build, **options)
        self.assertEqual(schema.built, built)
        self.assertEqual(self.words(backend), [(1, schema.name), (2, "more")])
        return template

    def test_two_schemas_are_built_once_for_all_processes(self) -> None:
        first, second, short = Schema("first"), Schema("second"), Schema("short")
        for processes in (1, 2):
            backend = self.backend()
            template = self.check(backend, first, 1)
            self.check(backend, second, 1)
            backend.template("short", short.build)  # in the server that runs
            self.assertEqual(short.built, processes)
        template.drop()
        backend.create(template)
        self.assertEqual(first.built, 1)
        self.assertEqual(self.words(backend), [(1, "first"), (2, "more")])
        for path in backend.templates.paths():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            self.assertLess(path.stat().st_size, 4_000_000)

    @tried("what is in it is broken", "the cache", "made anew", "PGlite")
    def test_what_is_broken_is_built_anew(self) -> None:
        schema = Schema("broken")
        backend = self.backend()
        path = backend.templates.path("broken")
        self.check(backend, schema, 1)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        backend.close()
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.check(self.backend(), schema, 2)
        anew = f"dbtestcase: {path} is broken, and is made anew: PGlite ended before it answered."
        self.assertIn(anew, said.getvalue())
        self.check(self.backend(), schema, 2)

    def test_what_does_not_survive_a_start_is_not_kept(self) -> None:
        backend = self.backend()
        self.check(backend, Schema("unlogged"), 1)
        unlogged = Schema("unlogged", MADE.replace("TABLE", "UNLOGGED TABLE"))
        self.check(backend, unlogged, 1, rebuild=True)
        self.assertIsNone(backend.templates.find("unlogged"))
        with mock.patch.object(TemplateFiles, "building", side_effect=AssertionError("waits")):
            self.check(self.backend(), unlogged, 2)

    def test_one_that_hangs_is_not_waited_for_without_end(self) -> None:
        schema, hanging, other = Schema("slow"), self.backend(), self.backend()
        patience = mock.patch("dbtestcase.backends.template_files.PATIENCE", 0.1)
        with hanging.templates.building("slow"), patience:
            self.check(other, schema, 1)

    def test_one_that_has_just_finished_is_noticed(self) -> None:
        """Though it was not there when this process looked first."""
        schema, late = Schema("late"), self.backend()
        self.check(self.backend(), schema, 1)
        looks = [None, late.templates.path("late")]
        with mock.patch.object(late.templates, "find", side_effect=looks):
            self.check(late, schema, 1)

    def test_what_is_built_anew_in_the_server_that_runs_is_kept_no_longer(self) -> None:
        backend = self.backend()
        self.check(backend, Schema("former"), 1)
        backend.template("former", Schema("latter").build, rebuild=True)
        self.assertIsNone(backend.templates.find("former"))

    def test_nothing_can_be_kept(self) -> None:
        backend = self.backend()
        (self.home / "file").touch()
        backend.templates._directory = self.home / "file"
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.check(backend, Schema("a"), 1)
            self.check(backend, Schema("b"), 1)
        self.assertRegex(said.getvalue(), r"\Adbtestcase: .* cannot be kept in .*/file: .*\n\Z")
