"""What is said of histories that Alembic cannot read, wherever they are named."""

from __future__ import annotations

import os
import shutil
import unittest
import warnings
from typing import Any
from unittest import mock

from sqlalchemy import MetaData

from dbtestcase import DatabaseTestCase, MigrationTestCase

from . import inner
from .histories import History

CREATE = "op.create_table({!r}, sa.Column('id', sa.Integer, primary_key=True))"


class Broken(unittest.TestCase):
    def setUp(self) -> None:
        directory = self.enterContext(inner.directory())
        self.enterContext(mock.patch.dict(os.environ, XDG_CACHE_HOME=str(directory / "cache")))
        self.history = History(directory)
        self.versions = self.history.scripts / "versions"
        self.history.write("a1", None, CREATE.format("notes"), "op.drop_table('notes')")

    def errors(self, test: Any = None, base: type = MigrationTestCase) -> list[str]:
        """Return what fails in a class with the history, whose own test is ``test``."""
        options = {"database": "sqlite://", "migrations": self.history.ini, "metadata": MetaData()}
        own = {"standard_tests": False, "test": test} if test else {}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = inner.run(type("Case", (base,), {**options, **own}))
        return [text for _, text in result.failures + result.errors]

    def check(self, *messages: str) -> None:
        """Check that all that can be done with the history fails with ``messages``."""

        def nothing(case: Any) -> None: ...

        def compare(case: Any) -> None:
            case.migrate_to("head")
            case.assertSchemaMatchesModels()

        entries = {
            "option": (nothing, DatabaseTestCase),
            "once more": (nothing, DatabaseTestCase),
            "a revision": (lambda case: case.migrate_to("a1"), MigrationTestCase),
            "all": (lambda case: case.migrate_to("heads"), MigrationTestCase),
            "relative": (lambda case: case.migrate_to("+1"), MigrationTestCase),
            "models": (compare, MigrationTestCase),
            "standard tests": (None, MigrationTestCase),
        }
        for name, (test, base) in entries.items():
            with self.subTest(name):
                errors = self.errors(test, base)
                self.assertTrue(errors)
                for error in errors:
                    for message in messages:
                        self.assertEqual(error.count(message), 1, error)
                    for bare in ("\nKeyError", "CommandError: ", "Warning:"):
                        self.assertNotIn(bare, error.rpartition("Traceback")[2])

    def test_revision_that_follows_nothing_there_is(self) -> None:
        path = self.history.write("b1", "a0", CREATE.format("more"))
        self.check(
            f"migrations = {str(self.history.ini)!r}",
            f"there is no revision 'a0', which another needs:\n  File \"{path}\" says "
            "down_revision = 'a0'\n  To fix this, either: bring the file of 'a0' back; or",
        )

    def test_revision_that_joins_what_is_not_there(self) -> None:
        path = self.history.write("b1", ("a1", "a2"))
        self.check(f"File \"{path}\" says down_revision = ('a1', 'a2')")

    def test_revision_that_depends_on_nothing_there_is(self) -> None:
        path = self.history.write("b1", "a1", depends_on="elsewhere")
        self.check(f"File \"{path}\" says depends_on = 'elsewhere'")

    def test_identifier_that_is_computed(self) -> None:
        """Where no file can be named, the revision is."""
        self.history.write("b1", "a1")
        path = self.versions / "b1.py"
        path.write_text(path.read_text().replace("= 'a1'", "= 'a' + '0'"))
        self.check("there is no revision 'a0', which another needs")

    def test_revision_that_is_there_twice(self) -> None:
        path = self.versions / "a1.py"
        copy = path.with_name("copy.py")
        copy.write_text(path.read_text())
        self.check(
            f'2 files have revision = \'a1\':\n  File "{path}"\n  File "{copy}"\n  To fix this, '
        )

    def test_circle(self) -> None:
        self.history.write("b1", "c1")
        self.history.write("c1", "b1")
        self.check("Cycle is detected in revisions (b1, c1)", "To fix this, ")

    def test_label_that_is_there_twice(self) -> None:
        self.history.write("b1", "a1", label="one")
        self.history.write("b2", "a1", label="one")
        self.check("Branch name 'one' in revision ", "To fix this, ")

    def test_revision_that_python_cannot_read(self) -> None:
        path = self.history.write("b1", "a1", "one = = two")
        self.check(f'File "{path}", line 13', "SyntaxError", "Raised while revisions were read")

    def test_revision_that_cannot_be_imported(self) -> None:
        path = self.history.write("b1", "a1")
        path.write_text(f"import os\nos.environ['NOWHERE']\n{path.read_text()}")
        errors = self.errors(lambda case: case.migrate_to("head"))
        self.assertEqual(len(errors), 1)
        self.assertIn("KeyError: 'NOWHERE'", errors[0])
        self.assertIn(
            f'Raised while revisions were read, in\nFile "{path.resolve()}", line 2, in <module>: '
            "os.environ['NOWHERE']",
            errors[0],
        )

    def test_warnings_of_revisions_are_as_ever(self) -> None:
        path = self.history.write("b1", "a1")
        path.write_text(f"import warnings\nwarnings.warn('old')\n{path.read_text()}")
        errors = self.errors(lambda case: case.migrate_to("head"))
        self.assertEqual(len(errors), 1)
        self.assertIn("UserWarning: old", errors[0])

    def test_no_revision(self) -> None:
        shutil.rmtree(self.versions)
        for revision in ("a1", "head", "heads", "+1"):
            with self.subTest(revision):
                [error] = self.errors(lambda case, to=revision: case.migrate_to(to))
                self.assertIn(f"there is no revision in {self.versions}", error)
                self.assertIn("To fix this, write the first: alembic revision", error)

    def test_two_heads(self) -> None:
        self.history.write("b1", "a1")
        self.history.write("b2", "a1")
        [error] = self.errors(lambda case: case.migrate_to("head"))
        self.assertIn("UsageError", error)
        self.assertIn("Multiple head revisions", error)
        self.assertIn("b1", error)
        self.assertIn("b2", error)
        self.assertIn("'heads'", error)

    def test_env_py_that_fails(self) -> None:
        self.history.env_py.write_text("missing")
        for test, base in ((None, DatabaseTestCase), (None, MigrationTestCase)):
            for error in self.errors(test or (lambda case: case.migrate_to("a1")), base):
                self.assertIn(
                    f'Raised by env.py, at\nFile "{self.history.env_py.resolve()}", line 1', error
                )

    def test_no_script_location(self) -> None:
        said = self.history.ini.read_text()
        self.history.ini.write_text(said.replace("script_location =", "location ="))
        self.check("No 'script_location' key found", "script_location = %(here)s/…")

    def test_script_location_that_is_not_there(self) -> None:
        shutil.rmtree(self.history.scripts)
        self.check("Path doesn't exist", "script_location = %(here)s/…")

    def test_configuration_that_cannot_be_read(self) -> None:
        self.history.ini.write_text("script_location = scripts\n")
        self.check("File contains no section headers")

    def test_toml_that_cannot_be_read(self) -> None:
        self.history.ini = self.history.ini.with_name("pyproject.toml")
        self.history.ini.write_text("[tool.alembic\n")
        self.check("Expected ']'")

    def test_revision_that_gives_up(self) -> None:
        """What Alembic's own error says in a revision is said of the revision."""
        path = self.history.write("b1", "a1", "from alembic.util import CommandError", doc="No")
        path.write_text(f"{path.read_text()}    raise CommandError('too late')\n")
        said = "Raised by the downgrade of revision b1 (No)"
        errors = self.errors()
        where = f'File "{path.resolve()}", line 18, in downgrade: raise CommandError'
        self.assertTrue([one for one in errors if "too late" in one and said in one], errors)
        self.assertTrue([one for one in errors if where in one], errors)
