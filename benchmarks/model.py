"""What a large run costs, by what was measured: ``python -m benchmarks.model NUMBERS.json``.

A run is as long as its slowest worker, which starts, gets a clone, collects tests, and runs its
share of classes and tests; or as long as the server works for all of them, if that is longer.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple


class Costs(NamedTuple):
    """What was measured, in seconds."""

    start: float  # of a process, until its first test is done
    a_class: float
    a_test: float  # for the worker, which waits for the server meanwhile
    of_server: float  # what the server works for a test
    clone: float  # of several at once
    collecting: float  # a test


class Run(NamedTuple):
    """How many tests there are, and who runs them."""

    tests: int
    classes: int
    workers: int
    servers: int
    cores: int  # of each server

    def parts(self, costs: Costs, *, collects_all: bool) -> dict[str, float]:
        """Return the seconds of each part.

        :param collects_all: each worker collects all tests, as those of pytest-xdist do.
        """
        share = self.tests / self.workers
        works = share * costs.a_test + self.classes / self.workers * costs.a_class
        serves = self.tests * costs.of_server / (self.servers * self.cores)
        return {
            "collection": (self.tests if collects_all else share) * costs.collecting,
            "start": costs.start,
            "clones": self.workers / self.servers * costs.clone,
            "tests": max(works, serves),
        }


def costs_in(groups: Mapping[str, Mapping[str, Sequence[float]]]) -> Costs:
    """Return what the groups of a run of the benchmarks say of PostgreSQL."""

    def median(group: str, start: str, unit: float) -> float:
        [values] = [values for name, values in groups[group].items() if name.startswith(start)]
        return statistics.median(values) * unit

    classes = max(groups["scale-classes-postgresql"], key=len)
    clones = max(groups["clones-postgresql"])
    return Costs(
        start=median("start-postgresql", "dbtestcase", 1),
        a_class=median("scale-classes-postgresql", classes, 1e-3),
        a_test=median("shares-postgresql", "sync: whole", 1e-3),
        of_server=median("shares-postgresql", "sync: the server works", 1e-3),
        clone=median("clones-postgresql", clones, 1e-3),
        collecting=median("collection", "DatabaseTestCase", 1e-4),  # of 10,000
    )


def main(numbers: Path, tests: int, classes: int, workers: Sequence[int]) -> None:
    """Print the parts of runs with so many ``workers``, on one server and on four."""
    found = json.loads(numbers.read_text())
    costs = costs_in({group["name"]: group["taken"] for group in found["groups"]})
    print(", ".join(f"{name} {value * 1000:.2f} ms" for name, value in costs._asdict().items()))
    for count, servers, collects_all in product(workers, (1, 4), (True, False)):
        parts = Run(tests, classes, count, servers, 8).parts(costs, collects_all=collects_all)
        said = ", ".join(f"{name} {value:.1f}" for name, value in parts.items())
        how = "all tests" if collects_all else "its tests"
        print(f"{count} workers, {servers} servers of 8 cores, each collects {how}: {said} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model", description=__doc__)
    parser.add_argument("numbers", type=Path, help="written by python -m benchmarks --json")
    parser.add_argument("--tests", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[8, 50, 200])
    given = parser.parse_args()
    main(given.numbers, given.tests, given.classes, given.workers)
