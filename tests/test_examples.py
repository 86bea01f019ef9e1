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
from pathlib import Path

from . import inner
from .examples import DIRECTORIES, EXAMPLES

ROOT = Path(__file__).parent.parent
NAMES = [directory.name for directory in DIRECTORIES]


def run(*directories: Path, database: str = "sqlite://", code: str = "") -> dict[str, str]:
    """Run the tests of ``directories`` on ``database`` and return what each says, by its name.

    :param code: what to do once its modules are loaded, if not to :func:`run` it.
    """
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", _EACH.format(code=code or _ONCE), *directories],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DBTESTCASE_DATABASE": database},
        check=False,
        capture_output=True,
        text=True,
    )
    said = ran.stderr.split("\nexample ")[1:]
    return {
        Path(directory).name: text for directory, _, text in (one.partition("\n") for one in said)
    }


class Examples(unittest.TestCase):
    def setUp(self) -> None:
        self.copies = self.enterContext(inner.directory())

    def copy(self, name: str) -> Path:
        """Return a copy of an example, which may be changed."""
        return shutil.copytree(EXAMPLES / name, self.copies / name)

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
        for name, (file, old, new) in commits.items():
            path = self.copy(name) / file
            self.assertIn(old, path.read_text())
            path.write_text(path.read_text().replace(old, new))
        for database in ("sqlite://", "pgserver://"):
            said = run(*(self.copies / name for name in commits), database=database)
            for name in commits:
                with self.subTest(name, database=database):
                    self.assertRegex(said[name], r"FAILED \((failures|errors)=")
                    self.assertNotIn("Failed to import", said[name])

    def test_second_suite_in_the_process_sees_the_application_as_it_was(self) -> None:
        said = run(*DIRECTORIES, code=_TWICE)
        self.assertEqual(sorted(said), NAMES)
        for name in NAMES:
            with self.subTest(name):
                self.assertRegex(said[name], r"OK[\s\S]*OK$")

    def test_legacy_base_before(self) -> None:
        copy = self.copy("legacy_base")
        (copy / "testcase_before.py").replace(copy / "testcase.py")
        self.assertRegex(run(copy)["legacy_base"], r"OK$")

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


# Each example as if it were a project of its own.
_EACH = """
import gc, sqlalchemy, sys, unittest

def engines():
    found = [one for one in gc.get_objects() if isinstance(one, sqlalchemy.Engine)]
    return {{one: (one.pool, one.dialect) for one in found if "production" in str(one.url)}}

def run():
    return unittest.TextTestRunner().run(load())

def load():
    return unittest.defaultTestLoader.discover(directory, top_level_dir=directory)

for directory in sys.argv[1:]:
    print("\\nexample", directory, file=sys.stderr, flush=True)
    others = engines()
    load()
{code}
"""
_ONCE = "    run()"

# The engines, where they lead and how: before the first suite, and after each.
_TWICE = """
    before = engines()
    assert before.keys() > others.keys()
    for again in range(2):
        assert run().wasSuccessful()
        assert engines() == before
"""
