"""What recording costs a test: nothing, unless its class or the environment asks for it.

That is work of this process, so its own time is taken, whatever else the machine and the server do.
All kinds of tests take turns, so that what disturbs one disturbs the others. A class that does not
record is measured in a database in which no class ever has, and in one in which another has.
"""

from __future__ import annotations

import statistics
import unittest
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from time import process_time
from typing import Any

from sqlalchemy.engine import Connection

from .databases import POSTGRESQL, no_module, no_server, unreachable
from .measure import SIZE, Group, at_most
from .models import work
from .per_test import SyncOurs


class Apart(SyncOurs):
    """Has a database that it shares with no class that records."""

    @classmethod
    def setUpDatabase(cls, connection: Connection) -> None:
        super().setUpDatabase(connection)


class Recorded(SyncOurs):
    def tearDown(self) -> None:
        assert self.statements
        super().tearDown()


_CASES: dict[str, type[Any]] = {
    "in a class that records": Recorded,
    "in one after that": SyncOurs,
    "in a class by itself": Apart,
}
_IN_TURN = 4


def _test(self: Any) -> None:
    work(self.session)


@contextmanager
def _open(base: type[Any], database: str) -> Iterator[type[Any]]:
    """Yield a class that is set up, with one test."""
    attributes = {"database": database, "engines": [unreachable(database)], "test": _test}
    case = type(base.__name__, (base,), attributes)
    try:
        case.setUpClass()
        yield case
        case.tearDownClass()
    finally:
        case.doClassCleanups()


def own_times(database: str) -> Mapping[str, float]:
    """Return the milliseconds that this process works for one test, by what kind it is of."""
    result = unittest.TestResult()
    taken: dict[str, list[float]] = {what: [] for what in _CASES}
    with _open(Recorded, database) as recorded:
        recorded("test").run(result)
    with ExitStack() as stack:
        cases = [
            (what, stack.enter_context(_open(base, database)))
            for what, base in reversed(_CASES.items())
        ]
        for _ in range(SIZE.tests):
            for what, case in cases:
                case("test").run(result)  # what was forgotten during other turns is known again
                tests = [case("test") for _ in range(_IN_TURN)]
                start = process_time()
                for test in tests:
                    test.run(result)
                taken[what].append((process_time() - start) / _IN_TURN)
    if not result.wasSuccessful():
        raise RuntimeError([*result.errors, *result.failures][0][1])
    return {what: statistics.median(times) * 1000 for what, times in taken.items()}


def group(name: str, title: str, database: str, missing: str = "") -> Group:
    target = at_most(1.05, "test: in one after that", "test: in a class by itself")
    measures = {"test": partial(own_times, database)}
    title = f"recording, {title} (ms of the process of the tests)"
    return Group(name, title, measures, [target], missing=missing)


def groups() -> list[Group]:
    no_postgresql = no_server("DBTESTCASE_POSTGRESQL") or no_module("psycopg")
    return [
        group("recording-sqlite", "SQLite", "sqlite://"),
        group("recording-postgresql", "PostgreSQL", POSTGRESQL, no_postgresql),
    ]
