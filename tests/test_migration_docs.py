"""That what docs/migrations.rst says is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

from dbtestcase.revision_tests import RevisionTests

from .test_package import code_blocks

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "migrations.rst").read_text()


class Page(unittest.TestCase):
    def test_examples_run(self) -> None:
        examples = code_blocks(PAGE)
        self.assertEqual(len(examples), 3)
        counts = []
        for example in examples:
            ran = subprocess.run(
                [sys.executable, "-W", "error", "-c", f"{example}\nunittest.main()"],
                cwd=ROOT / "examples" / "alembic_app",
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), "."])},
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(ran.returncode, 0, ran.stderr)
            counts += re.findall(r"Ran (\d+) tests?", ran.stderr)
        self.assertEqual(counts, ["2", "7", "1"])

    def test_tests_of_all_revisions_are_documented(self) -> None:
        for name in vars(RevisionTests):
            if name.startswith("test_"):
                self.assertIn(f"``{name}``", PAGE)
