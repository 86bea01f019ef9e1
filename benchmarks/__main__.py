"""Run the benchmarks: ``python -m benchmarks [ROUNDS]``. Variants alternate within each round."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable

import sqlalchemy

from . import per_class, per_test

Measure = Callable[[], float]


def import_time(*modules: str) -> float:
    """Return the milliseconds to import ``modules`` in a new process that has SQLAlchemy."""
    code = (
        "import sqlalchemy, time; start = time.perf_counter()\n"
        f"import {', '.join(modules)}\n"
        "print((time.perf_counter() - start) * 1000)"
    )
    # As after an installation, which compiles: nobody pays for that at each start.
    compiled = {name: os.environ[name] for name in os.environ if "BYTECODE" not in name}
    ran = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=compiled
    )
    return float(ran.stdout)


GROUPS: dict[str, dict[str, Measure]] = {
    "sync test, SQLite (ms)": {
        "no isolation": lambda: per_test.milliseconds_per_test(per_test.SyncFloor),
        "hand-written recipe": lambda: per_test.milliseconds_per_test(per_test.SyncRecipe),
        "dbtestcase": lambda: per_test.milliseconds_per_test(per_test.SyncOurs),
    },
    "async test, SQLite (ms)": {
        "no isolation, one loop": lambda: per_test.milliseconds_per_test(per_test.AsyncFloor),
        "hand-written recipe": lambda: per_test.milliseconds_per_test(per_test.AsyncRecipe),
        "dbtestcase": lambda: per_test.milliseconds_per_test(per_test.AsyncOurs),
    },
    "100 classes that share 100 tables, SQLite (ms)": {
        "create_all in each class": per_class.create_all_in_each_class,
        "dbtestcase": per_class.dbtestcase_classes,
    },
    "import on top of SQLAlchemy (ms)": {
        "unittest": lambda: import_time("unittest", "unittest.async_case"),
        "dbtestcase": lambda: import_time("dbtestcase"),
    },
}


def report(title: str, measures: dict[str, Measure], rounds: int) -> None:
    """Measure in turns, after a round that does not count, and print medians and ratios."""
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name, measure in measures.items():
            took = measure()
            if number:
                taken[name].append(took)
    ours = taken[list(taken)[-1]]
    print(f"\n{title}")
    for name, values in taken.items():
        ratios = [value / our for value, our in zip(values, ours, strict=True)]
        print(
            f"  {name:28} median {statistics.median(values):8.2f}"
            f"  ({min(values):.2f} to {max(values):.2f})"
            f"  {statistics.median(ratios):6.2f} times the last"
        )


if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    print(
        f"Python {platform.python_version()}, SQLAlchemy {sqlalchemy.__version__}, "
        f"{platform.machine()}, {rounds} rounds"
    )
    for title, measures in GROUPS.items():
        report(title, measures, rounds)
