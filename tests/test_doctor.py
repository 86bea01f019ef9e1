"""``python -m dbtestcase doctor`` and ``clean``: what a person reads, and what is removed."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest import mock

from sqlalchemy import MetaData, create_engine, make_url
from sqlalchemy.pool import NullPool

from dbtestcase import DatabaseTestCase, doctor
from dbtestcase.backends import backend_for, base
from dbtestcase.backends.dead_servers import hold

from . import inner
from .processes import in_a_child
from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql

ROOT = Path(__file__).parent.parent

SCRIPT = """
import unittest
from sqlalchemy import MetaData
from dbtestcase import DatabaseTestCase
class Case(DatabaseTestCase):
    metadata = MetaData()
    isolation = "truncation"
    def test(self):
        TEST
unittest.main()
"""


class Machine(unittest.TestCase):
    """A temporary directory and a cache of its own, as on a machine that nobody else uses."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.home = Path(directory.name)
        self.files = self.home / "files"
        self.files.mkdir()

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment of a process with the directories of this machine."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DBTESTCASE_")}
        places = {"TMPDIR": str(self.files), "XDG_CACHE_HOME": str(self.home / "cache")}
        return {**kept, **places, **variables}

    def run_python(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            cwd=ROOT,
            env=self.environment(**variables),
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def in_a_child(self, function: Callable[[], object], **variables: str) -> str:
        """Return what ``function`` returns in a process with the directories of this machine.

        It is forked: a new one would import for a second what is here already.
        """

        def run() -> object:
            os.environ.clear()
            os.environ.update(self.environment(**variables))
            tempfile.tempdir = None
            return function()

        return in_a_child(run)

    def dbtestcase(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Return the exit status of ``python -m dbtestcase`` and what it said."""

        def run() -> str:
            # The backends that are here may have connections, which are our parent's.
            anew = mock.patch.object(doctor, "backend_for", backend_for.__wrapped__)
            said = StringIO()
            with anew, open(os.devnull) as sys.stdin, redirect_stdout(said), redirect_stderr(said):
                return f"{doctor.main(arguments)} {said.getvalue()}"

        status, _, said = self.in_a_child(run, **variables).partition(" ")
        return int(status), said


class Doctor(Machine):
    def test_what_is_here(self) -> None:
        ran = self.run_python("-m", "dbtestcase", "doctor")
        said = ran.stdout
        self.assertEqual((ran.returncode, ran.stderr), (0, ""), said)
        self.assertRegex(said, r"\Adbtestcase \S+, Python \S+, SQLAlchemy \S+\n")
        for title in ("sqlite://  (what test classes use", "pglite://\n", "pgserver://\n"):
            self.assertIn(f"\n\n{title}", said)
        self.assertRegex(said, r"\n  ok       async driver  aiosqlite \d")
        self.assertIn(str(self.files), said)

    def test_the_database_of_the_environment(self) -> None:
        status, said = self.dbtestcase("doctor", DBTESTCASE_DATABASE="sqlite:////nowhere/at/all")
        self.assertEqual(status, 1, said)
        self.assertIn("sqlite:////nowhere/at/all  (what test classes use", said)
        self.assertIn("MISSING  files         Cannot create test databases in /nowhere/at", said)
        self.assertIn("\n" + " " * 25 + "To fix this, name an existing directory", said)

    def test_what_was_kept_in_short(self) -> None:
        directory = self.home / "cache" / "dbtestcase" / "sqlite"
        directory.mkdir(parents=True)
        for hours in (30, 75, 50):
            path = directory / f"{hours}.sqlite"
            path.write_bytes(bytes(500_000))
            os.utime(path, (time.time() - (hours - 0.5) * 3600,) * 2)
        _, said = self.dbtestcase("doctor", "sqlite://")
        self.assertIn(
            f"template      3 of them, 1.5 MB, last used 1 day to 3 days ago, in {directory}\n",
            said,
        )
        self.assertIn("To list and remove: python -m dbtestcase clean sqlite://", said)

    def test_named_databases_only(self) -> None:
        status, said = self.dbtestcase("doctor", "sqlite://")
        self.assertEqual(status, 0, said)
        self.assertNotIn("pglite", said)

    def test_a_driver_that_is_missing(self) -> None:
        backend = backend_for("sqlite://")
        with mock.patch.object(base, "find_spec", lambda name: None if "aio" in name else name):
            checks = {check.name: check for check in doctor.examine(backend)}
        self.assertTrue(checks["sync driver"].found)
        self.assertFalse(checks["async driver"].found)
        self.assertIn("pip install 'dbtestcase[sqlite]'", checks["async driver"].said)

    def test_a_plain_installation(self) -> None:
        without = (
            "import sys, runpy; sys.modules['platformdirs'] = None; sys.argv[0] = 'dbtestcase'"
        )
        run = "runpy.run_module('dbtestcase', run_name='__main__', alter_sys=True)"
        ran = self.run_python("-c", f"{without}; {run}", "doctor")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn("ok       files", ran.stdout)
        self.assertIn("MISSING  packages      PGlite needs the package", ran.stdout)
        self.assertIn("MISSING  packages      pgserver needs the package", ran.stdout)
        ran = self.run_python("-c", f"{without}; {run}", "clean")
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))

    def test_a_machine_without_node(self) -> None:
        ran = self.run_python("-m", "dbtestcase", "doctor", "pglite://", PATH="/nowhere")
        if ran.returncode:  # else the package brings one
            self.assertIn("MISSING  server        PGlite needs Node.js", ran.stdout)
        self.assertIn("pglite://", ran.stdout)

    def test_what_is_no_database(self) -> None:
        for name in ("doctor", "clean"):
            status, said = self.dbtestcase(name, "pglight://")
            self.assertEqual(status, 2)
            self.assertEqual(said.count("\n"), 1, said)
            self.assertIn("did you mean pglite://?", said)


@needs_postgresql
class OnPostgreSQL(Machine):
    def test_a_server(self) -> None:
        status, said = self.dbtestcase("doctor", POSTGRESQL)
        self.assertEqual(status, 0, said)
        self.assertRegex(said, r"ok +server +PostgreSQL \d+")
        self.assertRegex(said, r"ok +rights +\S+ may create databases")

    def test_a_server_that_is_not_there(self) -> None:
        url = make_url(POSTGRESQL).set(host="127.0.0.1", port=1, password="secret", query={})  # noqa: S106
        status, said = self.dbtestcase("doctor", url.render_as_string(hide_password=False))
        self.assertEqual(status, 1, said)
        self.assertRegex(said, r"MISSING +server +PostgreSQL cannot be reached at .*:\*\*\*@")
        self.assertEqual(said.count("To fix this, start the server"), 1, said)
        self.assertNotIn("secret", said)

    def test_clean_removes_templates(self) -> None:
        door = f"door_{secrets.token_hex(6)}"
        url = make_url(POSTGRESQL).set(database=door).render_as_string(hide_password=False)
        engine = create_engine(make_url(POSTGRESQL), poolclass=NullPool)
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {door}")
            self.addCleanup(self.drop, door)
        script = SCRIPT.replace("TEST", "pass")
        ran = self.run_python("-c", script, DBTESTCASE_DATABASE=url)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        status, said = self.dbtestcase("clean", url, "--yes")
        self.assertEqual(status, 0, said)
        self.assertRegex(said, rf"template +dbtestcase_template_[0-9a-f]+ at postgresql.*/{door}\b")
        names = re.findall("dbtestcase_template_[0-9a-f]+", said)
        _, said = self.dbtestcase("clean", url, "--yes")
        for name in names:  # there may be others, which other processes are just dropping
            self.assertNotIn(name, said)

    def drop(self, name: str) -> None:
        engine = create_engine(make_url(POSTGRESQL), poolclass=NullPool)
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@needs_mysql
class OnMySQL(Machine):
    def test_a_server(self) -> None:
        status, said = self.dbtestcase("doctor", MYSQL)
        self.assertEqual(status, 0, said)
        self.assertRegex(said, r"ok +server +(MariaDB|MySQL) \d+\.\d+\.\d+\n")


class Clean(Machine):
    def abandon(self) -> Path:
        """Return the directory that a killed run has left, some time ago."""

        class Case(DatabaseTestCase):
            metadata = MetaData()
            database = "sqlite://"
            isolation = "truncation"

            def test(self) -> None:
                os.kill(os.getpid(), signal.SIGKILL)

        self.assertEqual(self.in_a_child(lambda: inner.run(Case)), "")
        [directory] = self.files.iterdir()
        self.age(directory)
        return directory

    def age(self, directory: Path) -> None:
        os.utime(directory, (time.time() - 120,) * 2)

    def test_nothing_to_remove(self) -> None:
        self.assertEqual(
            self.dbtestcase("clean"), (0, "dbtestcase has kept and left nothing behind.\n")
        )

    def test_asks_first(self) -> None:
        directory = self.abandon()
        status, said = self.dbtestcase("clean")
        self.assertEqual(status, 1)
        self.assertIn(f"files         {directory}, of a run that has died", said)
        self.assertIn("add --yes", said)
        self.assertTrue(directory.is_dir())

    def test_files_of_a_killed_run(self) -> None:
        directory = self.abandon()
        status, said = self.dbtestcase("clean", "--yes")
        self.assertEqual(status, 0, said)
        self.assertIn(str(directory), said)
        self.assertFalse(directory.exists())

    def test_the_database_of_a_failed_test(self) -> None:
        failing = SCRIPT.replace("TEST", "self.fail()")
        self.assertEqual(self.run_python("-c", failing, DBTESTCASE_KEEP="1").returncode, 1)
        [kept] = self.files.glob("*/*.sqlite")
        _, said = self.dbtestcase("clean", "sqlite://")
        self.assertIn(f"kept          {kept}\n", said)
        self.assertTrue(kept.is_file())
        _, said = self.dbtestcase("clean", "sqlite://", "--yes")
        self.assertEqual(list(self.files.iterdir()), [], said)

    def test_the_doctor_names_them(self) -> None:
        directory = self.abandon()
        _, said = self.dbtestcase("doctor", "sqlite://")
        self.assertIn(str(directory), said)
        self.assertIn("python -m dbtestcase clean sqlite://", said)
        self.assertTrue(directory.is_dir())

    def test_files_of_a_server_that_died(self) -> None:
        dead, alive = self.files / "dbtestcase-dead", self.files / "dbtestcase-alive"
        for directory in (dead, alive):
            directory.mkdir(0o700)
            (directory / "log").touch()
            in_use = hold(directory)
            if directory == dead:
                os.close(in_use)
            else:
                self.addCleanup(os.close, in_use)
        _, said = self.dbtestcase("clean", "--yes", "pglite://")
        self.assertIn(f"{dead}, of a server that has died", said)
        self.assertEqual(list(self.files.iterdir()), [alive])

    def test_directories_of_others(self) -> None:
        for name in ("dbtestcase-theirs", "dbtestcase-link", "other"):
            (self.files / name).mkdir()
            (self.files / name / "data").touch()
            self.age(self.files / name)
        there = sorted(self.files.rglob("*"))
        self.dbtestcase("clean", "--yes")
        self.assertEqual(sorted(self.files.rglob("*")), there)

    def test_templates(self) -> None:
        cache = self.home / "cache" / "dbtestcase"
        for kind, name in (
            ("sqlite", "sqlite/0123.sqlite"),
            ("pglite", "pglite/templates/0.tar.gz"),
        ):
            kept = cache / name
            kept.parent.mkdir(parents=True)
            kept.touch()
            status, said = self.dbtestcase("clean", f"{kind}://", "--yes")
            self.assertEqual(status, 0, said)
            self.assertIn(f"template      {kept}", said)
            self.assertFalse(kept.exists())

    def test_the_cache(self) -> None:
        kept = self.home / "cache" / "dbtestcase" / "pgserver" / "1.0"
        kept.mkdir(parents=True)
        (kept / "data.tar").touch()
        status, said = self.dbtestcase("clean", "pgserver://", "--yes")
        self.assertEqual(status, 0, said)
        self.assertIn(f"cache         {kept}", said)
        self.assertFalse(kept.exists())
