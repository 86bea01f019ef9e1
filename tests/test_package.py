"""What the package exports, and that what README says is so."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import unittest
from itertools import product
from pathlib import Path

import dbtestcase
from dbtestcase import exceptions
from dbtestcase.backends import backend_for
from dbtestcase.options import ISOLATIONS, OPTIONS

from .servers import MYSQL, POSTGRESQL

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text()


def code_blocks(text: str) -> list[str]:
    """Return the Python examples in reStructuredText ``text``."""
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", text)
    return [re.sub(r"(?m)^    ", "", block) for block in blocks]


class Exports(unittest.TestCase):
    def test_names(self) -> None:
        self.assertEqual(sorted(dbtestcase.__all__), dbtestcase.__all__)
        for name in dbtestcase.__all__:
            self.assertTrue(getattr(dbtestcase, name).__doc__, name)

    def test_every_error_is_exported_and_in_the_tree(self) -> None:
        errors = {
            name
            for name, value in vars(exceptions).items()
            if isinstance(value, type) and issubclass(value, Exception)
        }
        self.assertLessEqual(errors, set(dbtestcase.__all__))
        for name in errors:
            self.assertIn(name, exceptions.__doc__ or "")


class Readme(unittest.TestCase):
    def test_examples_run(self) -> None:
        examples = [block for block in code_blocks(README) if "TestCase)" in block]
        self.assertGreaterEqual(len(examples), 2)
        databases = ["sqlite://", *filter(None, (POSTGRESQL, MYSQL))]
        for (number, example), database in product(enumerate(examples), databases):
            with self.subTest(number, database=database):
                ran = subprocess.run(
                    [sys.executable, "-W", "error", "-c", f"{example}\nunittest.main()"],
                    cwd=ROOT,
                    env={**os.environ, "DBTESTCASE_DATABASE": database},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                self.assertEqual(ran.returncode, 0, ran.stderr)
                self.assertRegex(ran.stderr, r"Ran [1-9]\d* tests? ")

    def test_options_in_other_documents_exist(self) -> None:
        for path in (ROOT / "docs").glob("*.rst"):
            for example in code_blocks(path.read_text()):
                for node in ast.walk(ast.parse(example)):
                    if isinstance(node, ast.ClassDef) and "TestCase" in ast.unparse(node.bases[0]):
                        assigned = [one for one in node.body if isinstance(one, ast.Assign)]
                        names = {ast.unparse(one.targets[0]) for one in assigned}
                        self.assertLessEqual(names, set(OPTIONS))

    def test_links_lead_to_files(self) -> None:
        for path in (ROOT / "README.rst", *(ROOT / "docs").glob("*.rst")):
            for target in re.findall(r"(?m)^\.\. _.*: (?!https?:)(.*)$", path.read_text()):
                self.assertTrue((path.parent / target).exists(), target)

    def test_options_are_documented(self) -> None:
        for option in OPTIONS:
            self.assertIn(f"``{option}``", README)

    def test_matrix_of_isolations(self) -> None:
        in_place = "postgresql://host/test?in_place=on"
        urls = ["sqlite://", "pglite://", "pgserver://", "postgresql://host", in_place]
        features = [backend_for(url).features for url in (*urls, "mariadb://host")]
        rows = {name: [name in one.isolations for one in features] for name in ISOLATIONS}
        rows["clones"] = [one.clones for one in features]
        for name, cells in rows.items():
            row = [name, *("yes" if cell else "no" for cell in cells)]
            self.assertIn(row, [line.split() for line in README.splitlines()])

    def test_assertions_are_documented(self) -> None:
        for name in dir(dbtestcase.DatabaseTestCase):
            if re.match(r"assert(Database|Schema|\w*Queries)", name):
                self.assertIn(name, README)
