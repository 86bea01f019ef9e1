"""A pytest plugin that times tests, from the beginning of one to that of the next."""

from __future__ import annotations

import json
import os
import statistics
from itertools import pairwise
from time import perf_counter

#: How many tests of each kind there are to be.
TESTS = range(int(os.environ.get("TESTS", "10")))

#: The database that a peer may do with what it likes.
URL = os.environ.get("PEERS_URL", "")

_started: list[tuple[str, float]] = []


def pytest_runtest_logstart(nodeid: str) -> None:
    name = nodeid.rpartition("::")[2].partition("[")[0].rstrip("_0123456789")
    _started.append((name.removeprefix("test_"), perf_counter()))


def pytest_sessionfinish() -> None:
    taken: dict[str, list[float]] = {}
    for (name, start), (next_name, end) in pairwise(_started):
        if name == next_name:
            taken.setdefault(name, []).append((end - start) * 1000)
    medians = {
        name: statistics.median(values[len(values) // 10 :]) for name, values in taken.items()
    }
    print(f"\nnumbers: {json.dumps(medians)}", flush=True)
