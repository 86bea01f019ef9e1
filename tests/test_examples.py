"""The examples: on every backend in test_backends; here, that they would notice what is wrong."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
import textwrap
import unittest
from itertools import product
from pathlib import Path

from . import inner
from .examples import DIRECTORIES, EXAMPLES

ROOT = Path(__file__).parent.parent
NAMES = [directory.name for directory in DIRECTORIES]


def run(
    directory: Path, code: str = "unittest.main(module=None)", database: str = "sqlite://"
) -> str:
    """Run the tests of ``directory`` on ``database`` and return what they say."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import unittest\n{code}", "discover"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DBTESTCASE_DATABASE": database},
        check=False,
        capture_output=True,
        text=True,
    )
    return ran.stderr


class Examples(unittest.TestCase):
    def changed(self, name: str, file: str, old: str, new: str, database: str) -> str:
        """Return what an example says on ``database`` with ``old`` replaced in one of its files."""
        with inner.directory() as directory:
            copy = Path(shutil.copytree(EXAMPLES / name, directory / name))
            text = (copy / file).read_text()
            self.assertIn(old, text)
            (copy / file).write_text(text.replace(old, new))
            return run(copy, database=database)

    def test_application_that_forgets_to_commit_fails(self) -> None:
        commits: dict[str, tuple[str, str, str]] = {
            "alembic_app": ("invoicing/billing.py", ", session.begin():", ":"),
            "fastapi_app": ("bookshop/orders.py", "await self._session.commit()", "pass"),
            "fastapi_asyncpg": ("notes/db.py", "SessionLocal.begin()", "SessionLocal()"),
            "flask_app": ("library/views.py", "db.session.commit()", "db.session.flush()"),
            "sqlmodel_app": ("heroes.py", "session.commit()", "session.flush()"),
            "django_style": ("polls/services.py", "SessionLocal.begin()", "SessionLocal()"),
        }
        # In the other one, tests and application share a session that loses nothing.
        self.assertEqual(sorted([*commits, "legacy_base"]), NAMES)
        for database, name in product(("sqlite://", "pgserver://"), commits):
            with self.subTest(name, database=database):
                output = self.changed(name, *commits[name], database)
                self.assertRegex(output, r"FAILED \((failures|errors)=")
                self.assertNotIn("Failed to import", output)

    def test_second_suite_in_the_process_sees_the_application_as_it_was(self) -> None:
        for name in NAMES:
            with self.subTest(name):
                self.assertRegex(run(EXAMPLES / name, _TWICE), r"OK[\s\S]*OK$")

    def test_legacy_base_before(self) -> None:
        with inner.directory() as directory:
            copy = Path(shutil.copytree(EXAMPLES / "legacy_base", directory / "legacy_base"))
            (copy / "testcase_before.py").replace(copy / "testcase.py")
            self.assertRegex(run(copy), r"OK$")

    def test_documented_difference(self) -> None:
        before, after = (
            (EXAMPLES / "legacy_base" / name).read_text().splitlines()
            for name in ("testcase_before.py", "testcase.py")
        )
        lines = list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]
        expected = "\n".join(line.rstrip() for line in lines)
        block = re.search(
            r"\.\. code-block:: diff\n\n((?:    .*\n|\n)+)",
            (ROOT / "docs" / "migrating.rst").read_text(),
        )
        assert block is not None
        self.assertEqual(textwrap.dedent(block[1]).strip(), expected)


# The engines, where they lead and how: before the first suite, and after each.
_TWICE = """
import gc, sqlalchemy

def engines():
    found = [one for one in gc.get_objects() if isinstance(one, sqlalchemy.Engine)]
    return {one: (one.pool, one.dialect) for one in found if "production" in str(one.url)}

unittest.defaultTestLoader.discover(".")
before = engines()
assert before
for again in range(2):
    tests = unittest.defaultTestLoader.discover(".")
    assert unittest.TextTestRunner().run(tests).wasSuccessful()
    assert engines() == before
"""
