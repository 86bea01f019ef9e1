"""Tests with pytest-postgresql: a database for each, on a server that runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_postgresql import factories
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from benchmarks.models import Base, work
from benchmarks.peers.timing import TESTS, URL

_URL = make_url(URL)


def load(**arguments: Any) -> None:
    """Create the tables in the template that the plugin clones."""
    Base.metadata.create_all(_engine(arguments["dbname"]))


def _engine(database: str) -> Engine:
    return create_engine(_URL.set(database=database), poolclass=NullPool)


postgresql_noproc = factories.postgresql_noproc(
    host=_URL.host, port=_URL.port or 5432, user=_URL.username, load=[load]
)
postgresql = factories.postgresql("postgresql_noproc")


@pytest.fixture
def session(postgresql: Any) -> Iterator[Session]:
    with Session(_engine(postgresql.info.dbname)) as session:
        yield session


@pytest.mark.parametrize("_", TESTS)
def test_postgresql(session: Any, _: int) -> None:
    work(session)
