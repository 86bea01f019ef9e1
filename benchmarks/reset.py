"""What transaction isolation costs where there are many tables, or many rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from sqlalchemy import Connection, MetaData, insert
from sqlalchemy.orm import Session

from dbtestcase import DatabaseTestCase

from .cases import times
from .databases import MYSQL, POSTGRESQL, no_server
from .measure import SIZE, Group, within
from .models import note, tables, take_note


class Ours(DatabaseTestCase):
    model: Any


class WithRows(Ours):
    """The rows are in the template."""

    @classmethod
    def setUpDatabase(cls, connection: Connection) -> None:
        super().setUpDatabase(connection)
        connection.execute(insert(cls.model), _rows(cls.model))


class WithClassData(Ours):
    """The rows are made for the class, in the transaction that its tests live in."""

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        session.execute(insert(cls.model), _rows(cls.model))


def _rows(model: Any) -> list[dict[str, str]]:
    return [{"text": "x"}] * int(model.__tablename__.partition("_")[2])


@cache
def _more_tables(count: int) -> list[MetaData]:
    return [tables(count)] if count else []


def measure(
    database: str, case: type[Ours], *, rows: int = 1, more_tables: int = 0
) -> Mapping[str, float]:
    """Return the milliseconds of a test that adds a row, and of what is between two of them."""
    model = note(rows)
    metadata = [model.metadata, *_more_tables(more_tables)]
    attributes = {"database": database, "metadata": metadata, "model": model}
    took = times(case, lambda test: take_note(test.session, model), SIZE.tests, **attributes)
    return {"whole test": took.whole, "between tests": took.between}


def group(name: str, title: str, database: str, missing: str = "") -> Group:
    many = {"more_tables": SIZE.many_tables - 1}
    measures = {
        f"{SIZE.many_tables:,} tables": partial(measure, database, WithRows, **many),
        f"{SIZE.rows:,} rows": partial(measure, database, WithRows, rows=SIZE.rows),
        f"{SIZE.rows:,} rows of class data": partial(
            measure, database, WithClassData, rows=SIZE.rows
        ),
        "1 row of class data": partial(measure, database, WithClassData),
        "1 table, 1 row": partial(measure, database, WithRows),
    }
    others = {
        f"{SIZE.many_tables:,} tables": "1 table, 1 row",
        f"{SIZE.rows:,} rows": "1 table, 1 row",
        f"{SIZE.rows:,} rows of class data": "1 row of class data",
    }
    targets = [
        within(10, f"{one}: {what}", f"{other}: {what}")
        for what in ("whole test", "between tests")
        for one, other in others.items()
    ]
    return Group(name, f"transaction isolation, {title} (ms)", measures, targets, 15, missing)


def groups() -> list[Group]:
    no_postgresql, no_mysql = map(no_server, ("DBTESTCASE_POSTGRESQL", "DBTESTCASE_MYSQL"))
    return [
        group("reset-sqlite", "SQLite", "sqlite://"),
        group("reset-postgresql", "PostgreSQL", POSTGRESQL, no_postgresql),
        group("reset-mysql", "MariaDB", MYSQL, no_mysql),
    ]
