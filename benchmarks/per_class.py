"""What the set-up of a test class costs when a hundred of them share a schema."""

from __future__ import annotations

import time
import unittest

from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, create_engine
from sqlalchemy.pool import StaticPool

from dbtestcase import DatabaseTestCase

CLASSES = 100


def _metadata() -> MetaData:
    metadata = MetaData()
    for number in range(100):
        Table(
            f"table_{number}",
            metadata,
            Column("id", Integer, primary_key=True),
            Column("name", String(50), unique=True),
            Column("parent", ForeignKey(f"table_{max(number - 1, 0)}.id")),
        )
    return metadata


class _CreateAll(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        engine = create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
        cls.addClassCleanup(engine.dispose)
        METADATA.create_all(engine)

    def test(self) -> None: ...


class _Ours(DatabaseTestCase):
    database = "sqlite://"

    def test(self) -> None: ...


METADATA = _metadata()


def create_all_in_each_class() -> float:
    """Return the milliseconds for all classes, each with ``create_all``."""
    return _milliseconds([type(f"C{n}", (_CreateAll,), {}) for n in range(CLASSES)])


def dbtestcase_classes() -> float:
    """Return the milliseconds for all classes, with the schema built anew for the first."""
    options = {"metadata": _metadata()}
    return _milliseconds([type(f"O{n}", (_Ours,), options) for n in range(CLASSES)])


def _milliseconds(cases: list[type[unittest.TestCase]]) -> float:
    suite = unittest.TestSuite(map(unittest.defaultTestLoader.loadTestsFromTestCase, cases))
    result = unittest.TestResult()
    start = time.perf_counter()
    suite.run(result)
    took = (time.perf_counter() - start) * 1000
    assert result.wasSuccessful(), result.errors[:1]
    return took
