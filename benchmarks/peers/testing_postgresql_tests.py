"""Tests with testing.postgresql: a server for each, from an initialised data directory."""

from __future__ import annotations

import unittest
from typing import Any

import testing.postgresql
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from benchmarks.models import Base, work
from benchmarks.peers.timing import TESTS


def _engine(server: Any) -> Any:
    url = make_url(server.url()).set(drivername="postgresql+psycopg")
    return create_engine(url, poolclass=NullPool)


def _create_tables(server: Any) -> None:
    Base.metadata.create_all(_engine(server))


class Case(unittest.TestCase):
    factory: Any

    @classmethod
    def setUpClass(cls) -> None:
        cls.factory = testing.postgresql.PostgresqlFactory(
            cache_initialized_db=True, on_initialized=_create_tables
        )
        cls.addClassCleanup(cls.factory.clear_cache)

    def setUp(self) -> None:
        server = self.factory()
        self.addCleanup(server.stop)
        self.session = self.enterContext(Session(_engine(server)))


def _test(self: Any) -> None:
    work(self.session)


for _number in TESTS:
    setattr(Case, f"test_PostgresqlFactory_{_number}", _test)
