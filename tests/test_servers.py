"""Tests of a backend that is not here are skipped out loud, or fail where it should be."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import unittest
from contextlib import redirect_stderr
from pathlib import Path

from dbtestcase.backends import backend_for

from .servers import TITLES, needs, required

ROOT = Path(__file__).parent.parent


class Needs(unittest.TestCase):
    def test_one_that_is_here(self) -> None:
        test = needs("PGlite", "", {"PGlite"})(unittest.FunctionTestCase)
        self.assertFalse(getattr(test, "__unittest_skip__", False))

    def test_one_that_is_not(self) -> None:
        class Case(unittest.TestCase):
            def test(self) -> None: ...

        with redirect_stderr(io.StringIO()) as said:
            case = needs("PGlite", "no Node.js", {"pgserver"})(Case)
        self.assertEqual(said.getvalue(), "SKIPPED: tests of PGlite: no Node.js\n")
        result = unittest.TestResult()
        case("test").run(result)
        self.assertEqual([reason for _, reason in result.skipped], ["no Node.js"])

    def test_one_that_should_be_here(self) -> None:
        with self.assertRaisesRegex(RuntimeError, "names PGlite, which is not here: no Node.js"):
            needs("PGlite", "no Node.js", {"pgserver", "PGlite"})


class Required(unittest.TestCase):
    def test_what_is_listed(self) -> None:
        self.assertEqual(required(""), set())
        self.assertEqual(required("PGlite"), {"PGlite"})
        self.assertEqual(required(" SQLite, MariaDB/MySQL,"), {"SQLite", "MariaDB/MySQL"})
        with self.assertRaisesRegex(ValueError, "Postgres is unknown; write SQLite, PGlite"):
            required("SQLite,Postgres")

    def test_every_backend_can_be(self) -> None:
        urls = ("sqlite://", "pglite://", "pgserver://", "postgresql://host", "mariadb://host")
        self.assertEqual(tuple(backend_for(url).title for url in urls), TITLES)

    def test_a_run_fails(self) -> None:
        variables = {"DBTESTCASE_REQUIRE": "PostgreSQL", "DBTESTCASE_POSTGRESQL": ""}
        variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # it takes seconds
        for arguments in (
            ["unittest", "tests.test_observation"],
            ["pytest", "-p", "xdist", "--collect-only", "tests/test_observation.py"],
        ):
            ran = subprocess.run(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env={**os.environ, **variables},
                check=False,
                capture_output=True,
                text=True,
            )
            with self.subTest(arguments[0]):
                self.assertNotEqual(ran.returncode, 0)
                self.assertIn("PostgreSQL, which is not here", ran.stdout + ran.stderr)
