"""What recording costs a test: nothing, unless its class or the environment asks for it."""

from __future__ import annotations

from functools import partial
from typing import Any

from .cases import times
from .databases import POSTGRESQL, no_module, no_server, unreachable
from .measure import SIZE, Group, adds_less
from .models import work
from .per_test import SyncOurs, sync_floor, sync_ours, sync_recipe


class Recorded(SyncOurs):
    def tearDown(self) -> None:
        assert self.statements
        super().tearDown()


def _test(self: Any) -> None:
    work(self.session)


def sync_recorded(database: str) -> float:
    """Return the milliseconds of one test whose statements are recorded."""
    engines = [unreachable(database)]
    return times(Recorded, _test, SIZE.tests, database=database, engines=engines).whole


def group(name: str, title: str, database: str, missing: str = "") -> Group:
    measures = {
        "no isolation": partial(sync_floor, database),
        "hand-written recipe": partial(sync_recipe, database),
        "dbtestcase, recording": partial(sync_recorded, database),
        "dbtestcase": partial(sync_ours, database),
    }
    targets = [
        adds_less(1, ours, "hand-written recipe", "no isolation")
        for ours in ("dbtestcase", "dbtestcase, recording")
    ]
    return Group(name, f"recording, {title} (ms)", measures, targets, missing=missing)


def groups() -> list[Group]:
    no_postgresql = no_server("DBTESTCASE_POSTGRESQL") or no_module("psycopg")
    return [
        group("recording-sqlite", "SQLite", "sqlite://"),
        group("recording-postgresql", "PostgreSQL", POSTGRESQL, no_postgresql),
    ]
