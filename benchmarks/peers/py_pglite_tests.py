"""Tests with py-pglite's fixtures; also the plugin that keeps it from others' servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from py_pglite.sqlalchemy import SQLAlchemyPGliteManager
from sqlalchemy.orm import Session

from benchmarks.models import Base, work
from benchmarks.peers.timing import TESTS


def pytest_configure() -> None:
    """Keep it from ending the servers of others, when it ends its own."""
    SQLAlchemyPGliteManager._kill_all_pglite_processes = lambda self: None


@pytest.fixture(scope="session", autouse=True)
def schema(pglite_engine: Any) -> None:
    Base.metadata.create_all(pglite_engine)


@pytest.fixture
def recipe_session(pglite_engine: Any) -> Iterator[Session]:
    with pglite_engine.connect() as connection:
        transaction = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            yield session
        transaction.rollback()


@pytest.fixture
def plain_session(pglite_engine: Any) -> Iterator[Session]:
    with Session(pglite_engine) as session:
        yield session


@pytest.mark.parametrize("_", TESTS)
def test_no_isolation(plain_session: Any, _: int) -> None:
    work(plain_session)


@pytest.mark.parametrize("_", TESTS)
def test_recipe(recipe_session: Any, _: int) -> None:
    work(recipe_session)


@pytest.mark.parametrize("_", TESTS)
def test_pglite_session(pglite_session: Any, _: int) -> None:
    work(pglite_session)
