"""The servers that tests may use: those that environment variables name, and our own."""

from __future__ import annotations

import os
import secrets
import sys
import unittest
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from dbtestcase.backends.server import PREFIX
from dbtestcase.provision import provisioner

POSTGRESQL = os.environ.get("DBTESTCASE_POSTGRESQL", "")
MYSQL = os.environ.get("DBTESTCASE_MYSQL", "")

T = TypeVar("T")
TITLES = ("SQLite", "PGlite", "pgserver", "PostgreSQL", "MariaDB/MySQL")


def required(names: str) -> set[str]:
    """Return the backends that ``names`` lists, as DBTESTCASE_REQUIRE does.

    :raises ValueError: there is no such backend.
    """
    found = set(filter(None, map(str.strip, names.split(","))))
    unknown = ", ".join(sorted(found - {*TITLES}))
    if unknown:
        raise ValueError(f"DBTESTCASE_REQUIRE: {unknown} is unknown; write {', '.join(TITLES)}")
    return found


REQUIRED = required(os.environ.get("DBTESTCASE_REQUIRE", ""))


def needs(title: str, missing: str, required: Collection[str] = REQUIRED) -> Callable[[T], T]:
    """Return a decorator for tests of a backend, which are skipped out loud if it is not here.

    :param missing: why it is not, empty if it is.
    :raises RuntimeError: it is one of the ``required``.
    """
    if missing and title in required:
        raise RuntimeError(f"DBTESTCASE_REQUIRE names {title}, which is not here: {missing}")
    if missing:
        print(f"SKIPPED: tests of {title}: {missing}", file=sys.stderr)
    return unittest.skipIf(bool(missing), missing)


needs_postgresql = needs(
    "PostgreSQL", "" if POSTGRESQL else "DBTESTCASE_POSTGRESQL names no server"
)
needs_mysql = needs("MariaDB/MySQL", "" if MYSQL else "DBTESTCASE_MYSQL names no server")

__all__ = [
    "MYSQL",
    "POSTGRESQL",
    "PREFIX",
    "needs",
    "needs_mysql",
    "needs_postgresql",
    "postgresql_database_for",
    "postgresql_role",
    "postgresql_server",
]


@contextmanager
def postgresql_server(url: str | URL = POSTGRESQL) -> Iterator[Connection]:
    """Connect to the database that is the door."""
    engine = create_engine(make_url(url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


@contextmanager
def postgresql_role(options: str = "CREATEDB", name: str = "") -> Iterator[URL]:
    """Make a user that is no superuser, and in the end remove it with all its databases."""
    name = name or f"role_{secrets.token_hex(6)}"
    with postgresql_server() as connection:
        quoted = connection.dialect.identifier_preparer.quote_identifier(name)
        connection.exec_driver_sql(f"CREATE ROLE {quoted} LOGIN PASSWORD 'secret' {options}")
        try:
            yield make_url(POSTGRESQL).set(username=name, password="secret")  # noqa: S106
        finally:
            provisioner.close()
            owned = text(
                "SELECT datname FROM pg_database JOIN pg_roles r ON r.oid = datdba"
                " WHERE rolname = :name"
            )
            for database in connection.scalars(owned, {"name": name}).all():
                connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
            connection.exec_driver_sql(f"DROP OWNED BY {quoted}")
            connection.exec_driver_sql(f"DROP ROLE {quoted}")


@contextmanager
def postgresql_database_for(url: URL) -> Iterator[str]:
    """Make a database in which the user of ``url`` may create schemas, as its name says test.

    The rights in one that others use cannot be changed by two at the same time.
    """
    name = f"test_{secrets.token_hex(6)}"
    with postgresql_server() as connection:
        quoted = connection.dialect.identifier_preparer.quote_identifier(str(url.username))
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            connection.exec_driver_sql(f"GRANT CREATE ON DATABASE {name} TO {quoted}")
            yield name
        finally:
            provisioner.close()
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
