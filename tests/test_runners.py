"""The ways people run tests, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).parent.parent


class Runners(unittest.TestCase):
    def run_suite(self, *command: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-m", *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        return ran.stdout + ran.stderr

    def test_unittest(self) -> None:
        command = ("unittest", "-k", "commit", "tests.suite.test_behaviour")
        self.assertRegex(self.run_suite(*command), r"Ran \d{2} tests")

    def test_unittest_options(self) -> None:
        options = ("-v", "-b", "-f", "-k", "autocommit")
        output = self.run_suite("unittest", *options, "tests.suite.test_behaviour")
        self.assertIn("test_autocommit (tests.suite.test_behaviour.AsyncTemplate", output)

    def test_pytest_in_the_order_of_the_file(self) -> None:
        self.assertRegex(
            self.run_suite("pytest", "-q", "-k", "commit", "-p", "no:randomly", "tests/suite"),
            "passed",
        )

    def test_pytest_with_xdist_and_shuffled(self) -> None:
        output = self.run_suite("pytest", "-q", "-k", "commit", "-n", "2", "tests/suite")
        self.assertRegex(output, r"\d{2} passed")
