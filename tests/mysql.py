"""A MariaDB or MySQL server for tests: what is on it, and test cases through each driver."""

from __future__ import annotations

import re
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from sqlalchemy import create_engine, make_url
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from dbtestcase.backends import backend_for
from dbtestcase.backends.mysql import MySQLBackend
from dbtestcase.provision import provisioner

from . import inner
from .servers import MYSQL
from .suite.behaviour import Async, Behaviour, Sync

REGISTRY = "dbtestcase_registry"
MARIADB_ONLY = re.compile(
    r"OR REPLACE (?:TEMPORARY )?TABLE|EXECUTE IMMEDIATE|NOT ATOMIC|extra5|ANALYZE SELECT"
    r"|CREATE SEQUENCE|NEXT VALUE FOR|RETURNING id",
    re.IGNORECASE,
)
ADD = "INSERT INTO users (name) VALUES ('bob')"


@contextmanager
def server(url: str = MYSQL) -> Iterator[Connection]:
    """Connect to the database that is the door."""
    url = backend_for(url).driver_url(is_async=False)
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


def query(sql: str, *parameters: object) -> list[Any]:
    """Return the rows of a statement, executed at the door."""
    with server() as connection:
        result = connection.exec_driver_sql(sql, parameters)
        return list(result) if result.returns_rows else []


def is_mariadb() -> bool:
    """Tell whether the server is MariaDB, and not MySQL."""
    return bool(MYSQL) and "MariaDB" in query("SELECT VERSION()")[0][0]


def understood(statements: list[str]) -> list[str]:
    """Return those of ``statements`` that the server has, both of them or only one of the two."""
    return [sql for sql in statements if is_mariadb() or not MARIADB_ONLY.search(sql)]


def databases() -> set[str]:
    """Return the databases that look like ours."""
    return {
        name
        for (name,) in query("SELECT schema_name FROM information_schema.schemata")
        if name.startswith("dbtestcase") and name != REGISTRY
    }


def registered() -> dict[str, str]:
    """Return the databases that are in the registry, and their states."""
    return dict(query("SELECT name, state FROM dbtestcase_registry.databases"))


def url_of(driver: str = "") -> str:
    """Return the URL of the server, for one of the drivers."""
    url = make_url(MYSQL)
    if driver:
        url = url.set(drivername=f"{url.get_backend_name()}+{driver}")
    return url.render_as_string(hide_password=False)


def drivers() -> list[str]:
    """Return the drivers that are installed, by the names that URLs have for them."""
    packages = (*MySQLBackend.sync_drivers, *MySQLBackend.async_drivers)
    return [package.name for package in packages if find_spec(package.module) is not None]


def drop_what_is_kept() -> None:
    """Drop what would be kept for the next run; to be called when a module is done."""
    if not MYSQL:
        return
    backends: list[Any] = [backend_for(url_of(driver)) for driver in ["", *drivers()]]
    runs = {backend.token for backend in backends}
    provisioner.close()
    with server() as connection:
        for name, run in query("SELECT name, run FROM dbtestcase_registry.databases"):
            lock = "SELECT GET_LOCK(%s, 0)"  # nobody else has been lent it
            if run in runs and connection.exec_driver_sql(lock, (name,)).scalar():
                query(f"DROP DATABASE IF EXISTS {name}")
                backends[0]._registry.remove(name)


class Cases(unittest.TestCase):
    """Test cases with alice in the database, through each driver."""

    @staticmethod
    def case(*tests: Callable[[Any], None], driver: str = "", **attributes: Any) -> Any:
        colour = Async if driver in {"asyncmy", "aiomysql"} else Sync
        attributes["database"] = url_of(driver)
        for number, test in enumerate(tests):
            attributes[f"test_{number}"] = test
        return type("Case", (Behaviour, colour), attributes)

    def each_driver(self, *tests: Callable[[Any], None], **attributes: Any) -> None:
        for driver in drivers():
            with self.subTest(driver):
                case = self.case(*tests, driver=driver, **attributes)
                inner.passed(self, inner.run(case), len(tests))

    @staticmethod
    def hook(*statements: str) -> Any:
        """Return a ``setUpDatabase`` that says what it executes, so that it has a fingerprint."""
        code = (
            "def setUpDatabase(cls, connection):\n"
            "    super(cls, cls).setUpDatabase(connection)\n"
            f"    for statement in {statements!r}:\n"
            "        connection.exec_driver_sql(statement)"
        )
        names: dict[str, Any] = {}
        exec(code, names)  # noqa: S102
        return classmethod(names["setUpDatabase"])


def execute(case: Any, *statements: str) -> None:
    """Execute statements in a transaction of their own."""
    with case.own_engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def only_alice(case: Any) -> None:
    """Check that a test finds what it should."""
    case.assertEqual(case.names(), ["alice"])
    case.assertEqual(case.posts(), 2)


def nothing(case: Any) -> None:
    """Pass."""
