"""How cost grows: with tests, classes, tables, rows and workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter

from dbtestcase import DatabaseTestCase

from .cases import run, times
from .databases import POSTGRESQL, no_module, no_server
from .measure import SIZE, Group
from .models import Base, work
from .processes import numbers_of, run_tests
from .reset import WithRows, measure


class Ours(DatabaseTestCase):
    metadata = Base.metadata


class OneTest(DatabaseTestCase):
    metadata = Base.metadata

    def test(self) -> None: ...


def with_tests(database: str, count: int) -> float:
    """Return the milliseconds of one of so many tests in a class."""
    return times(Ours, lambda case: work(case.session), count, database=database).whole


def with_classes(database: str, count: int) -> float:
    """Return the milliseconds of one of so many classes, once the first has been."""
    options = {"database": database}
    run(type("First", (OneTest,), options))
    return run(*(type(f"C{number}", (OneTest,), options) for number in range(count))) / count


def with_tables(database: str, count: int) -> float:
    """Return the milliseconds of a test among so many tables."""
    return measure(database, WithRows, more_tables=count - 1)["whole test"]


def with_rows(database: str, count: int) -> float:
    """Return the milliseconds of a test on a table of so many rows."""
    return measure(database, WithRows, rows=count)["whole test"]


def with_workers(database: str, count: int) -> float:
    """Return the seconds that pytest-xdist takes for all tests with so many workers."""
    start = perf_counter()
    variables = {"DBTESTCASE_DATABASE": database, "KIND": "sync", "TESTS": str(SIZE.many_tests)}
    run_tests("our", "xdist.plugin", options=[f"-n{count}"], **variables)
    return perf_counter() - start


def memory(database: str) -> dict[str, float]:
    """Return what becomes of the megabytes of a process over many classes."""
    said = numbers_of("-m", "benchmarks.many_classes", str(SIZE.many_classes), database)
    return {name: value for name, value in said.items() if "B" in name.split()[-1]}


def group(
    name: str,
    title: str,
    function: Callable[[str, int], float],
    database: str,
    sizes: Iterable[int],
) -> Group:
    """Return a group with a measure for each size; the first is the last, to be compared to."""
    what, where = name.split("-")[1:]
    measures = {
        f"{what} = {size:,}": partial(function, database, size)
        for size in sorted(sizes, reverse=True)
    }
    missing = no_server("DBTESTCASE_POSTGRESQL") if where == "postgresql" else ""
    return Group(name, title, measures, rounds=3, missing=missing)


def groups() -> list[Group]:
    found = []
    for kind, database in [("sqlite", "sqlite://"), ("postgresql", POSTGRESQL)]:
        found += [
            group(f"scale-{what}-{kind}", f"{title}, {kind}", function, database, sizes)
            for what, title, function, sizes in [
                ("tests", "a test among so many (ms)", with_tests, SIZE.scale_tests),
                ("classes", "a class among so many (ms)", with_classes, SIZE.scale_classes),
                ("tables", "a test among so many tables (ms)", with_tables, SIZE.scale_tables),
                ("rows", "a test among so many rows (ms)", with_rows, SIZE.scale_rows),
            ]
        ]
        workers = group(
            f"scale-workers-{kind}",
            f"{SIZE.many_tests} tests by pytest-xdist, {kind} (s)",
            *(with_workers, database, SIZE.scale_workers),
        )
        found.append(workers._replace(missing=workers.missing or no_module("xdist")))
        found.append(
            Group(
                f"memory-{kind}",
                f"{SIZE.many_classes} classes in one process, {kind}",
                {"dbtestcase": partial(memory, database)},
                rounds=1,
                missing=workers.missing,
            )
        )
    return found
