"""A history of 200 revisions with branches and merges."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import unittest
from pathlib import Path
from unittest import mock

from dbtestcase import MigrationTestCase

from . import inner
from .histories import History, write_long
from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql
from .test_pglite_server import needs_it as needs_pglite
from .test_pglite_templates import share_installed
from .test_postgres_server import needs_it, new_cache

COUNT = 200
MIDDLE = 150  # a branch, which follows from as many revisions as it says, itself included


class OnSQLite(unittest.TestCase):
    database = "sqlite://"

    def setUp(self) -> None:
        directory = self.enterContext(inner.directory())
        self.cache = self.new_cache(directory)
        self.history = History(directory / "app")
        self.note = directory / "note"
        self.models = write_long(self.history, COUNT, self.note)

    def new_cache(self, directory: Path) -> Path:
        self.enterContext(mock.patch.dict(os.environ, XDG_CACHE_HOME=str(directory)))
        return directory

    def applied(self) -> int:
        """Return how many revisions are applied by a process whose tests need two schemas."""
        self.note.write_text("")
        code = f"""
            import unittest
            from dbtestcase import DatabaseTestCase, MigrationTestCase
            class Case(DatabaseTestCase):
                database = {self.database!r}
                migrations = {str(self.history.ini)!r}
                def test(self):
                    self.assertDatabaseHas("alembic_version", version_num="r{COUNT - 1}")
            class Migrating(MigrationTestCase):
                database, migrations = Case.database, Case.migrations
                standard_tests = False
                def test(self):
                    self.migrate_to("r{MIDDLE}")
                    self.assertIn("r{MIDDLE}", self.table("t{MIDDLE - 2}").columns)
                    self.assertNotIn("r{MIDDLE - 1}", self.table("t{MIDDLE - 2}").columns)
                test_again = test
            unittest.main()
        """
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            cwd=Path(__file__).parent.parent,
            env={**os.environ, "XDG_CACHE_HOME": str(self.cache)},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn("Ran 3 tests", ran.stderr)
        return len(self.note.read_text().splitlines())

    def change(self, revision: int) -> None:
        """Change one byte of the file of a revision."""
        path = self.history.scripts / "versions" / f"r{revision:03}.py"
        path.write_bytes(path.read_bytes()[:-1] + b" ")

    def test_its_own_tests_pass(self) -> None:
        options = {
            "database": self.database,
            "migrations": self.history.ini,
            "metadata": self.models,
        }
        inner.passed(self, inner.run(type("Case", (MigrationTestCase,), options)), 6)

    def test_nothing_is_applied_unless_a_byte_has_changed(self) -> None:
        self.assertEqual(self.applied(), COUNT + MIDDLE)
        self.assertEqual(self.applied(), 0)
        self.change(COUNT - 1)
        self.assertEqual(self.applied(), COUNT)
        self.change(0)
        self.assertEqual(self.applied(), COUNT + MIDDLE)


@needs_it
class OnPgserver(OnSQLite):
    database = "pgserver://"

    def new_cache(self, directory: Path) -> Path:
        return new_cache(directory)  # for other processes: the server of this one stays where it is


@needs_pglite
class OnPGlite(OnSQLite):
    database = "pglite://"

    def new_cache(self, directory: Path) -> Path:
        home = directory / "home"
        share_installed(home)
        return home


@needs_postgresql
class OnPostgreSQL(OnSQLite):
    database = POSTGRESQL


@needs_mysql
class OnMariaDB(OnSQLite):
    database = MYSQL
