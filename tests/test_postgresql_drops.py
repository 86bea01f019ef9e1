"""Databases that are dropped together: when that is, and what becomes of them if it is never."""

from __future__ import annotations

import os
import secrets
import unittest
from contextlib import closing
from typing import Any
from unittest import mock

from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from dbtestcase.backends import postgresql_drops, postgresql_ownership
from dbtestcase.backends.base import Database
from dbtestcase.backends.postgresql import PostgreSQLBackend
from dbtestcase.backends.postgresql_use import is_broken

from .servers import POSTGRESQL, needs_postgresql, postgresql_role, postgresql_server
from .test_backends import with_driver
from .waiting import until


@needs_postgresql
class Dropping(unittest.TestCase):
    """Through a door of the test's own, beside which its templates are known from others."""

    def setUp(self) -> None:
        self.door = f"door_{secrets.token_hex(6)}"
        with postgresql_server() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {self.door}")
        self.addCleanup(self.drop_door)

    def drop_door(self) -> None:
        for leftover in self.backend().leftovers():
            leftover.remove()
        self.doCleanups()
        with postgresql_server() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {self.door} WITH (FORCE)")

    def backend(self, url: Any = POSTGRESQL, *, together: int = 3) -> PostgreSQLBackend:
        backend = PostgreSQLBackend(make_url(url).set(database=self.door))
        self.addCleanup(backend.close)
        self.enterContext(mock.patch.object(backend, "drops_together", together))
        # However many connections others have just now.
        self.enterContext(mock.patch.object(postgresql_ownership, "has_room", return_value=True))
        return backend

    def clones(self, backend: PostgreSQLBackend, number: int) -> list[Database]:
        template = backend.template("some", lambda connection: None)
        return [backend.create(template) for _ in range(number)]

    def number(self) -> int:
        """Return how many databases of tests there are, beside the template.

        Those that other tests drop just now are broken, and nobody's.
        """
        backend = PostgreSQLBackend(make_url(POSTGRESQL).set(database=self.door))
        with closing(backend):
            return sum(not is_broken(comment) for comment in backend._ours().values()) - 1

    def test_wait_until_there_are_several(self) -> None:
        for driver in ("psycopg", "psycopg2"):
            with self.subTest(driver):
                backend = self.backend(with_driver(POSTGRESQL, driver))
                clones = self.clones(backend, 4)
                with mock.patch.object(backend, "_remove", wraps=backend._remove) as one_by_one:
                    for database, left in zip(clones, (4, 4, 1, 1), strict=True):
                        database.drop()
                        self.assertEqual(self.number(), left)
                self.assertEqual(one_by_one.called, driver == "psycopg2")
                backend.close()
                self.assertEqual(self.number(), 0)

    def test_do_not_wait_while_roles_are_used_in_them(self) -> None:
        backend = self.backend()
        [database] = self.clones(backend, 1)
        name = self.enterContext(postgresql_role()).username
        with postgresql_server() as connection:
            connection.exec_driver_sql(
                f"GRANT ALL ON DATABASE {database.target.name} TO {name}"  # type: ignore[attr-defined]
            )
        database.drop()
        self.assertEqual(self.number(), 0)

    def test_are_left_for_the_end_by_ctrl_c(self) -> None:
        backend = self.backend()
        waits = mock.patch.object(postgresql_drops, "_await_end", side_effect=KeyboardInterrupt)
        *others, last = self.clones(backend, 3)
        for database in others:
            database.drop()
        with waits, self.assertRaises(KeyboardInterrupt):
            last.drop()
        backend.close()
        self.assertEqual(self.number(), 0)

    def test_do_not_wait_while_somebody_is_connected(self) -> None:
        backend = self.backend()
        [database] = self.clones(backend, 1)
        url = backend.url.set(database=database.target.name)  # type: ignore[attr-defined]
        engine = create_engine(url, poolclass=NullPool)
        with engine.connect() as connection:
            database.drop()
            self.assertEqual(self.number(), 0)
            with self.assertRaises(OperationalError):
                connection.exec_driver_sql("SELECT 1")

    def test_one_by_one_where_there_are_no_more_connections(self) -> None:
        url = self.enterContext(postgresql_role("CREATEDB CONNECTION LIMIT 2"))
        backend = self.backend(url, together=8)
        self.clones(backend, 4)
        backend.close()
        with postgresql_server() as connection:
            owned = "SELECT count(*) FROM pg_database WHERE pg_get_userbyid(datdba) = %(name)s"
            left = connection.exec_driver_sql(owned, {"name": url.username}).scalar()
        self.assertEqual(left, 1)  # the template

    def test_what_a_killed_process_has_left(self) -> None:
        backend = self.backend(together=8)
        for database in self.clones(backend, 3):
            database.drop()
        self.assertEqual(self.number(), 3)
        backend._disown()  # with which the lock goes that says it lives
        self.assertTrue(until(lambda: self.number() == 0))

    def test_a_forked_process_leaves_them_to_its_parent(self) -> None:
        backend = self.backend(together=3)
        for database in self.clones(backend, 2):
            database.drop()
        child = os.fork()
        if not child:
            try:
                for database in self.clones(backend, 3):
                    database.drop()
                backend.close()
                os._exit(0)
            finally:
                os._exit(1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertEqual(self.number(), 2)
