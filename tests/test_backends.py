"""The behavioural suite on every backend that is here, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from pathlib import Path

from sqlalchemy import make_url

from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql

ROOT = Path(__file__).parent.parent


def run(database: str, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run ``tests`` on ``database`` and return what they said."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "unittest", *tests],
        cwd=ROOT,
        env={**os.environ, "DBTESTCASE_DATABASE": database, "DBTESTCASE_REQUIRE": ""},
        check=False,
        capture_output=True,
        text=True,
    )


def with_driver(url: str, driver: str) -> str:
    """Return ``url`` with the name of a driver in it."""
    dialect, rest = url.split(":", 1)
    return f"{dialect}+{driver}:{rest}"


SUITE = ("discover", "-s", "tests/suite", "-t", ".")
EXAMPLES = ("tests.examples",)

#: The part of the suite in which drivers differ.
ABOUT_CONNECTIONS = (
    "tests.suite.test_behaviour",
    "tests.suite.test_between_tests",
    "tests.suite.test_constraints",
    "tests.suite.test_ended",
    "tests.suite.test_migrations",
    "tests.suite.test_rows",
    "tests.suite.test_unreturned",
)


class Suite(unittest.TestCase):
    def passes_on(self, database: str, *runs: tuple[str, ...]) -> None:
        for tests in runs or (SUITE, EXAMPLES):
            ran = run(database, *tests)
            self.assertEqual(ran.returncode, 0, ran.stderr[-5000:])
            last = ran.stderr.strip().splitlines()[-1]
            self.assertEqual(last, "OK", ran.stderr[-5000:])

    def test_pglite(self) -> None:
        self.passes_on("pglite://")

    def test_pgserver(self) -> None:
        self.passes_on("pgserver://")

    @needs_postgresql
    def test_postgresql(self) -> None:
        self.passes_on(POSTGRESQL)

    @needs_postgresql
    def test_postgresql_in_place(self) -> None:
        url = make_url(POSTGRESQL).update_query_dict({"in_place": "on"})
        self.passes_on(url.render_as_string(hide_password=False))

    @needs_postgresql
    def test_postgresql_by_psycopg2(self) -> None:
        self.passes_on(with_driver(POSTGRESQL, "psycopg2"), ABOUT_CONNECTIONS, EXAMPLES)

    @needs_postgresql
    def test_postgresql_by_psycopg_in_both_colours(self) -> None:
        self.passes_on(with_driver(POSTGRESQL, "psycopg"), ABOUT_CONNECTIONS, EXAMPLES)

    @needs_mysql
    def test_mysql(self) -> None:
        self.passes_on(MYSQL)

    @needs_mysql
    def test_mysql_by_aiomysql(self) -> None:
        self.passes_on(with_driver(MYSQL, "aiomysql"), ABOUT_CONNECTIONS, EXAMPLES)
