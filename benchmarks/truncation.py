"""What truncation isolation costs, beside emptying all tables."""

from __future__ import annotations

import unittest
from functools import cache, partial
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, insert
from sqlalchemy.orm import Session

from dbtestcase import DatabaseTestCase

from .cases import times
from .databases import MYSQL, POSTGRESQL, engine_on, no_server
from .measure import SIZE, Group, adds_less, at_most
from .models import note, tables, take_note

NOTE = note(0)


class Floor(unittest.TestCase):
    """Tests commit, and nothing is undone."""

    engine: Engine
    schema: MetaData

    @classmethod
    def setUpClass(cls) -> None:
        cls.engine = engine_on(cls.database)
        cls.addClassCleanup(cls.engine.dispose)
        for metadata in (NOTE.metadata, cls.schema):
            cls.addClassCleanup(metadata.drop_all, cls.engine)
            metadata.create_all(cls.engine)

    def setUp(self) -> None:
        self.session = Session(self.engine)
        self.addCleanup(self.session.close)


class DeleteAll(Floor):
    """Afterwards all tables are emptied, in an order that foreign keys allow."""

    def tearDown(self) -> None:
        self.session.close()
        with self.engine.begin() as connection:
            for metadata in (self.schema, NOTE.metadata):
                for table in reversed(metadata.sorted_tables):
                    connection.execute(table.delete())


class TruncateAll(Floor):
    """The same by one TRUNCATE."""

    def tearDown(self) -> None:
        self.session.close()
        names = ", ".join([*NOTE.metadata.tables, *self.schema.tables])
        with self.engine.begin() as connection:
            connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY CASCADE")


class TruncateEach(Floor):
    """The same where a TRUNCATE is of one table."""

    def tearDown(self) -> None:
        self.session.close()
        with self.engine.begin() as connection:
            connection.exec_driver_sql("SET foreign_key_checks = 0")
            for name in [*NOTE.metadata.tables, *self.schema.tables]:
                connection.exec_driver_sql(f"TRUNCATE {name}")
            connection.exec_driver_sql("SET foreign_key_checks = 1")


_NAMES = {
    DeleteAll: "DELETE from all",
    TruncateAll: "TRUNCATE all",
    TruncateEach: "TRUNCATE all",
}


class Ours(DatabaseTestCase):
    isolation = "truncation"


@cache
def _schema(count: int) -> MetaData:
    return tables(count - 1)


def _test(self: Any) -> None:
    take_note(self.session, NOTE)


class WithRows(Ours):
    """One of the tables that the tests leave alone is big."""

    @classmethod
    def setUpDatabase(cls, connection: Connection) -> None:
        super().setUpDatabase(connection)
        rows = [{"name": str(number)} for number in range(SIZE.rows)]
        connection.execute(insert(_schema(10).tables["table_5"]), rows)


def theirs(database: str, case: type[Floor], count: int, tests: int) -> float:
    """Return the milliseconds of a test that adds a row to one of ``count`` tables."""
    return times(case, _test, tests, database=database, schema=_schema(count)).whole


def ours(database: str, count: int, case: type[Ours] = Ours) -> float:
    """The same with dbtestcase."""
    metadata = [NOTE.metadata, _schema(count)]
    return times(case, _test, SIZE.tests, database=database, metadata=metadata).whole


def groups() -> list[Group]:
    no_postgresql, no_mysql = map(no_server, ("DBTESTCASE_POSTGRESQL", "DBTESTCASE_MYSQL"))
    return [
        *_groups("", "PostgreSQL", POSTGRESQL, [DeleteAll, TruncateAll], no_postgresql),
        *_groups("-sqlite", "SQLite", "sqlite://", [DeleteAll], ""),
        *_groups("-mysql", "MariaDB", MYSQL, [DeleteAll, TruncateEach], no_mysql),
    ]


def _groups(
    suffix: str, title: str, database: str, others: list[type[Floor]], missing: str
) -> list[Group]:
    emptying = {
        _NAMES[case]: partial(theirs, database, case, SIZE.tables, SIZE.slow_tests)
        for case in others
    }
    beside = {
        "no isolation": partial(theirs, database, Floor, SIZE.tables, SIZE.tests),
        **emptying,
        "dbtestcase": partial(ours, database, SIZE.tables),
    }
    targets = [adds_less(5, "dbtestcase", other, "no isolation") for other in emptying]
    few, many = "10 tables", f"{SIZE.many_tables:,} tables"
    big = f"10 tables, one with {SIZE.rows:,} rows"
    growth = {
        many: partial(ours, database, SIZE.many_tables),
        big: partial(ours, database, 10, WithRows),
        few: partial(ours, database, 10),
    }
    follows = [at_most(1.25, other, few) for other in (many, big)]
    return [
        Group(
            f"truncation{suffix}",
            f"truncation isolation, 1 of {SIZE.tables} tables dirtied, {title} (ms per test)",
            *(beside, targets, 15, missing),
        ),
        Group(
            f"truncation-tables{suffix}",
            f"truncation isolation, 1 table dirtied, {title} (ms per test)",
            *(growth, follows, 15, missing),
        ),
    ]
