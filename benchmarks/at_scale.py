"""What decides how many workers a server can serve, and how many tests a run can have."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

from sqlalchemy.pool import NullPool

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase

from .cases import run
from .databases import MYSQL, POSTGRESQL, engine_on, no_server, url_of
from .measure import SIZE, Group, Measure
from .models import Base, work, work_async
from .processes import environment
from .start import first_test

_SUITE = """
from unittest import TestCase
from dbtestcase import DatabaseTestCase

class Case{number}({base}):
    def test_0(self): ...
    def test_1(self): ...
    def test_2(self): ...
    def test_3(self): ...
    def test_4(self): ...
    def test_5(self): ...
    def test_6(self): ...
    def test_7(self): ...
    def test_8(self): ...
    def test_9(self): ...
"""


class Sync(DatabaseTestCase):
    metadata = Base.metadata


class Async(AsyncDatabaseTestCase):
    metadata = Base.metadata


def shares(database: str, case: type[Any]) -> Mapping[str, float]:
    """Return the milliseconds of a test that this process and the server work.

    :param database: is on this machine, which is Linux: nobody else tells what a server takes.
    """
    door = engine_on(database, poolclass=NullPool)
    count = SIZE.many_tests

    def test(self: Any) -> None:
        work(self.session)

    async def test_async(self: Any) -> None:
        await work_async(self.session)

    method = test_async if case is Async else test
    tests = {f"test_{number:05}": method for number in range(count)}
    server = _server(door)
    of_server, ours, start = _worked(server), process_time(), perf_counter()
    run(type(case.__name__, (case,), {"database": database, **tests}))
    whole = (perf_counter() - start) / count * 1000
    of_server, ours = _worked(server) - of_server, process_time() - ours
    return {
        "Python works": ours / count * 1000,
        "the server works": of_server / count * 1000,
        "whole": whole,
    }


def _server(door: Any) -> int:
    """Return the process of the server, or the one that started all of them."""
    with door.connect() as connection:
        if door.dialect.name != "postgresql":
            path = connection.exec_driver_sql("SELECT @@pid_file").scalar_one()
            return int(Path(path).read_text())
        backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        return int(_status(backend)[1])


def _worked(server: int) -> float:
    """Return the seconds of processor time that a server has taken, with all its processes."""
    ticks = sum(map(int, _status(server)[11:15]))
    for path in Path("/proc").glob("[0-9]*"):
        status = _status(int(path.name))
        if status and int(status[1]) == server:
            ticks += int(status[11]) + int(status[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _status(process: int) -> list[str]:
    """Return what proc(5) says in ``stat`` of a process, from its state on; nothing if it ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def clones(database: str, at_once: int) -> float:
    """Return the milliseconds of one of several ``CREATE DATABASE … TEMPLATE`` at once."""
    door = engine_on(database, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    template = f"{url_of(database).database}_template"

    def clone(number: int) -> None:
        execute(f"CREATE DATABASE {template}_{number} TEMPLATE {template}")

    def execute(statement: str) -> None:
        with door.connect() as connection:
            connection.exec_driver_sql(statement)

    execute(f"CREATE DATABASE {template}")
    with ThreadPoolExecutor(at_once) as threads:
        start = perf_counter()
        list(threads.map(clone, range(at_once)))
        took = (perf_counter() - start) * 1000 / at_once
    for number in range(at_once):
        execute(f"DROP DATABASE {template}_{number}")
    execute(f"DROP DATABASE {template}")
    return took


def collection(base: str, classes: int) -> float:
    """Return the seconds in which pytest collects so many classes of ten tests, in one module."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "test_many.py")
        path.write_text("".join(_SUITE.format(number=one, base=base) for one in range(classes)))
        options = ["-qq", "--collect-only", "-c/dev/null", "-pno:cacheprovider"]
        start = perf_counter()
        subprocess.run(
            [sys.executable, "-m", "pytest", *options, path],
            env=environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"),
            check=True,
            capture_output=True,
        )
        return perf_counter() - start


def groups() -> list[Group]:
    found = []
    for name, database, variable in [
        ("postgresql", POSTGRESQL, "DBTESTCASE_POSTGRESQL"),
        ("mysql", MYSQL, "DBTESTCASE_MYSQL"),
    ]:
        missing = no_server(variable) or ("" if sys.platform == "linux" else "it takes Linux")
        kinds: dict[str, Measure] = {
            "async": partial(shares, database, Async),
            "sync": partial(shares, database, Sync),
        }
        found += [
            Group(f"shares-{name}", f"who works in a test, {name} (ms)", kinds, (), 3, missing),
            Group(
                f"start-{name}",
                f"process start to first test done, template there, {name} (s)",
                {"dbtestcase": partial(first_test, database)},
                (),
                5,
                missing,
            ),
        ]
    at_once = {
        f"clones at once = {count}": partial(clones, POSTGRESQL, count)
        for count in reversed(SIZE.scale_workers)
    }
    suites = {
        base: partial(collection, base, SIZE.scale_classes[-1])
        for base in ("DatabaseTestCase", "TestCase")
    }
    title = f"pytest collects {SIZE.scale_classes[-1]} classes of ten tests (s)"
    return [
        *found,
        Group(
            *("clones-postgresql", "a clone among so many at once, PostgreSQL (ms)", at_once),
            rounds=3,
            missing=no_server("DBTESTCASE_POSTGRESQL"),
        ),
        Group("collection", title, suites, rounds=3),
    ]
