"""What template isolation costs a test, beside a database created for each."""

from __future__ import annotations

import unittest
from functools import partial
from typing import Any

from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from dbtestcase import DatabaseTestCase

from .cases import times
from .databases import POSTGRESQL, engine_on, no_server, url_of
from .measure import SIZE, Group, at_least
from .models import ARTICLES, Base, work


class CreateDatabase(unittest.TestCase):
    """A database for each test, made from a template for the class."""

    door: Engine
    database: str

    @classmethod
    def setUpClass(cls) -> None:
        door = engine_on(cls.database, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        cls.door = door
        cls.template = f"{url_of(cls.database).database}_template"
        cls.execute(f"CREATE DATABASE {cls.template}")
        cls.addClassCleanup(cls.execute, f"DROP DATABASE {cls.template}")
        engine = create_engine(door.url.set(database=cls.template), poolclass=NullPool)
        Base.metadata.create_all(engine)

    @classmethod
    def execute(cls, statement: str) -> None:
        with cls.door.connect() as connection:
            connection.exec_driver_sql(statement)

    def setUp(self) -> None:
        name = f"{url_of(self.database).database}_{id(self)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {self.template}")
        self.addCleanup(self.execute, f"DROP DATABASE {name}")
        engine = create_engine(self.door.url.set(database=name))
        self.addCleanup(engine.dispose)
        self.session = Session(engine)
        self.addCleanup(self.session.close)


class Ours(DatabaseTestCase):
    metadata = Base.metadata
    isolation = "template"


def _writes(self: Any) -> None:
    work(self.session)


def _reads(self: Any) -> None:
    assert self.session.scalars(select(ARTICLES[0])).all() == []


def measure(case: type[unittest.TestCase], test: Any) -> float:
    """Return the milliseconds of a test."""
    return times(case, test, SIZE.slow_tests, database=POSTGRESQL).whole


def groups() -> list[Group]:
    missing = no_server("DBTESTCASE_POSTGRESQL")
    groups = []
    for does, test in [("writes", _writes), ("reads", _reads)]:
        measures = {
            "CREATE DATABASE TEMPLATE": partial(measure, CreateDatabase, test),
            "dbtestcase": partial(measure, Ours, test),
        }
        title = f"template isolation, a test that {does}, PostgreSQL (ms)"
        targets = [at_least(3, "CREATE DATABASE TEMPLATE", "dbtestcase")]
        groups.append(Group(f"template-{does}", title, measures, targets, 5, missing))
    return groups
