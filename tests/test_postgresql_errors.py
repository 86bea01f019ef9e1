"""What users are told when PostgreSQL cannot be used, and that nothing else is ever touched."""

from __future__ import annotations

import secrets
import socket
import struct
import unittest
from threading import Thread
from typing import Any

from sqlalchemy import URL, Column, Integer, MetaData, Table, event, make_url

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase
from dbtestcase.backends import backend_for
from dbtestcase.backends.pgserver import PGServerBackend
from dbtestcase.backends.postgresql import PostgreSQLBackend
from dbtestcase.backends.postgresql_in_place import InPlaceBackend
from dbtestcase.backends.server import Target
from dbtestcase.exceptions import BackendError, OptionError
from dbtestcase.provision import provisioner

from . import inner
from .faults import reporting, tried
from .servers import (
    POSTGRESQL,
    needs_postgresql,
    postgresql_database_for,
    postgresql_role,
    postgresql_server,
)
from .waiting import until


def build(connection: Any) -> None:
    connection.exec_driver_sql("CREATE TABLE things (id integer)")


def case_of(
    url: URL, kind: type[unittest.TestCase] = DatabaseTestCase, **attributes: Any
) -> type[unittest.TestCase]:
    metadata = MetaData()
    table = Table("things", metadata, Column("id", Integer, primary_key=True))

    def test(self: Any) -> None:
        self.assertDatabaseEmpty()
        with self.engine.begin() as connection:
            connection.execute(table.insert())

    async def async_test(self: Any) -> None:
        await self.assertDatabaseEmpty()

    if kind is AsyncDatabaseTestCase:
        test = async_test  # type: ignore[assignment]
    database = url.render_as_string(hide_password=False)
    tests = {"test_1": test, "test_2": test}
    return type(
        "Case", (kind,), {"database": database, "metadata": metadata, **tests, **attributes}
    )


class RefusingServer(Thread):
    """Something that answers as PostgreSQL does which refuses a connection."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__()
        fields = b"SFATAL\0VFATAL\0C" + code.encode() + b"\0M" + message.encode() + b"\0\0"
        self.refusal = b"E" + struct.pack("!i", len(fields) + 4) + fields
        self.listening = socket.create_server(("127.0.0.1", 0))

    @property
    def url(self) -> URL:
        port = self.listening.getsockname()[1]
        return make_url(f"postgresql://tester:secret@127.0.0.1:{port}/door?sslmode=disable")

    def run(self) -> None:
        connection, _ = self.listening.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(self.refusal)

    def __enter__(self) -> URL:
        self.start()
        return self.url

    def __exit__(self, *exception: object) -> None:
        self.join()
        self.listening.close()


class Refusals(unittest.TestCase):
    """What the server says when it is asked for a connection."""

    def refusal(self, message: str, code: str) -> str:
        with RefusingServer(message, code) as url:
            said = inner.only_error(self, inner.run(case_of(url)))
            self.assertIn(message, said)
            self.assertIn(f"tester:***@127.0.0.1:{url.port}/door", said)
            self.assertNotIn("secret", said)
            return said

    def test_a_wrong_password(self) -> None:
        said = self.refusal('password authentication failed for user "tester"', "28P01")
        self.assertIn("To fix this, correct the user or the password in", said)

    def test_too_many_clients(self) -> None:
        for message in (
            "sorry, too many clients already",
            "remaining connection slots are reserved for roles with the SUPERUSER attribute",
        ):
            with self.subTest(message):
                self.assertIn("To fix this, run fewer workers", self.refusal(message, "53300"))

    def test_anything_else(self) -> None:
        said = self.refusal("the database system is starting up", "57P03")
        self.assertIn("To fix this, start the server, or correct", said)


@needs_postgresql
@reporting
class Messages(unittest.TestCase):
    title = "PostgreSQL"

    def setUp(self) -> None:
        self.url = self.enterContext(postgresql_role())

    def close(self) -> None:
        """Close all connections, and wait until the server no longer counts them."""
        provisioner.close()
        count = "SELECT count(*) FROM pg_stat_activity WHERE usename = %(name)s"
        with postgresql_server() as connection:
            name = {"name": self.url.username}
            self.assertTrue(until(lambda: connection.exec_driver_sql(count, name).scalar() == 0))

    def error(self, url: URL, **attributes: Any) -> str:
        message = inner.only_error(self, inner.run(case_of(url, **attributes)))
        self.assertNotIn("secret", message)
        return message

    def alter_role(self, options: str) -> None:
        with postgresql_server() as connection:
            connection.exec_driver_sql(f"ALTER ROLE {self.url.username} {options}")

    def test_a_door_that_is_not_there(self) -> None:
        message = self.error(self.url.set(database="nowhere"))
        self.assertRegex(message, r"cannot be reached at postgresql://\w+:\*\*\*@.*/nowhere")
        self.assertIn("To fix this, name a database that is there, such as postgres", message)

    def test_a_user_that_is_not_there(self) -> None:
        message = self.error(self.url.set(username="nobody_of_that_name"))
        self.assertIn('role "nobody_of_that_name" does not exist', message)
        self.assertIn("To fix this, correct the user in", message)

    @tried("no connection is left", "setUpClass", "refused")
    def test_as_many_connections_as_the_user_may_have(self) -> None:
        self.alter_role("CONNECTION LIMIT 1")
        for kind in (DatabaseTestCase, AsyncDatabaseTestCase):
            with self.subTest(kind.__name__):
                message = self.error(self.url, kind=kind)
                self.assertRegex(message, r"cannot be reached at .*/dbtestcase_\w+")
                self.assertIn("To fix this, run fewer workers", message)
                self.close()

    def test_no_connection_left_for_the_event_loop(self) -> None:
        inner.passed(self, inner.run(case_of(self.url, AsyncDatabaseTestCase)), 2)
        self.close()
        self.alter_role("CONNECTION LIMIT 1")
        message = self.error(self.url, kind=AsyncDatabaseTestCase)
        self.assertRegex(message, r"cannot be reached at .*/dbtestcase_\w+")
        self.assertIn("To fix this, run fewer workers", message)

    def test_who_may_not_create_databases(self) -> None:
        self.alter_role("NOCREATEDB")
        message = self.error(self.url)
        self.assertIn(f'let a superuser say ALTER ROLE "{self.url.username}" CREATEDB', message)
        self.assertIn("in_place=on", message)


class Template1(unittest.TestCase):
    def test_somebody_is_connected_to_it(self) -> None:
        backend = PGServerBackend(make_url("pgserver://"))
        self.addCleanup(backend.close)
        self.assertFalse(backend.door.closed)
        connection: Any = backend.open(Target("template1"), is_async=False)
        self.addCleanup(connection.close)
        pid = connection.info.backend_pid
        with self.assertRaises(BackendError) as raised:
            backend.template("in use", build)
        self.assertIn("could not create the database dbtestcase_", str(raised.exception))
        self.assertIn("To fix this, end what is connected to template1", str(raised.exception))
        self.assertIn(f"process {pid} (", str(raised.exception))


class Patience(unittest.TestCase):
    def test_how_long_a_server_is_waited_for(self) -> None:
        for driver in ("psycopg", "psycopg2"):
            url = make_url(f"postgresql+{driver}://root@127.0.0.1/test")
            slow = url.update_query_dict({"connect_timeout": "60"})
            for given, expected in ((url, {"connect_timeout": 10}), (slow, {})):
                backend = PostgreSQLBackend(given)
                dialect = backend.source(is_async=False).dialect
                with self.subTest(str(given)):
                    self.assertEqual(backend.connect_arguments(dialect), expected)


@needs_postgresql
class Safety(unittest.TestCase):
    def test_hostile_names(self) -> None:
        hostile = f"""A "b" 'c'; 100% %s %(x)s {secrets.token_hex(4)} Test"""
        url = self.enterContext(postgresql_role(name=f"role {hostile[:-5]}"))
        with postgresql_server() as connection:
            quote = connection.dialect.identifier_preparer.quote_identifier
            connection.exec_driver_sql(f"CREATE DATABASE {quote(hostile)}")
            self.addCleanup(self.drop, hostile)
            connection.exec_driver_sql(
                f"GRANT CREATE ON DATABASE {quote(hostile)} TO {quote(str(url.username))}"
            )
        url = url.set(database=hostile)
        for isolation in ("transaction", "truncation", "schema"):
            with self.subTest(isolation):
                inner.passed(self, inner.run(case_of(url, isolation=isolation)), 2)
        with self.subTest("in place"):
            in_place = url.update_query_dict({"in_place": "on"})
            inner.passed(self, inner.run(case_of(in_place)), 2)
        provisioner.close()
        with postgresql_server() as connection:
            user = quote(str(url.username))
            connection.exec_driver_sql(f"ALTER ROLE {user} NOCREATEDB")
            connection.exec_driver_sql(f"REVOKE CREATE ON DATABASE {quote(hostile)} FROM {user}")
        written = user.replace("%%", "%")
        message = inner.only_error(self, inner.run(case_of(url, isolation="truncation")))
        self.assertIn(f"ALTER ROLE {written} CREATEDB", message)
        message = inner.only_error(self, inner.run(case_of(in_place, test_2=None)))
        self.assertIn(f"TO {written}", message)

    def drop(self, name: str) -> None:
        provisioner.close()
        with postgresql_server() as connection:
            quoted = connection.dialect.identifier_preparer.quote_identifier(name)
            connection.exec_driver_sql(f"DROP DATABASE {quoted} WITH (FORCE)")

    def test_a_database_named_in_the_query_of_the_url(self) -> None:
        for parameter in ("dbname", "database"):
            url = make_url(POSTGRESQL).update_query_dict({parameter: "production"})
            with self.subTest(parameter), self.assertRaisesRegex(OptionError, parameter):
                backend_for(url.render_as_string(hide_password=False))

    def test_connections_that_are_led_astray(self) -> None:
        backend = PostgreSQLBackend(make_url(POSTGRESQL))
        self.addCleanup(backend.close)
        door = backend.door.exec_driver_sql("SELECT current_database()").scalar()

        def lead_astray(dialect: Any, record: Any, positional: Any, named: Any) -> None:
            named["dbname"] = door

        event.listen(backend.source(is_async=False), "do_connect", lead_astray)
        with self.assertRaisesRegex(BackendError, f"leads to the database {door}"):
            backend.template(secrets.token_hex(4), build)

    def test_in_place_where_the_name_says_test_and_only_there(self) -> None:
        for name, allowed in {
            "app_test": True,
            "test": True,
            "Tests-2": True,
            "production": False,
            "latest": False,
            "contest": False,
            "testimonials": False,
            "": False,
        }.items():
            url = make_url("postgresql://root@127.0.0.1/?in_place=on").set(database=name)
            with self.subTest(name):
                if allowed:
                    self.assertEqual(InPlaceBackend(url).url.database, name)
                else:
                    with self.assertRaisesRegex(OptionError, "whose name says test"):
                        InPlaceBackend(url)

    def test_in_place_where_only_the_url_says_test(self) -> None:
        url = make_url(POSTGRESQL).set(database="app_test").update_query_dict({"in_place": "on"})
        backend = InPlaceBackend(url)
        self.addCleanup(backend.close)

        def lead_astray(dialect: Any, record: Any, positional: Any, named: Any) -> None:
            named["dbname"] = "postgres"

        event.listen(backend.source(is_async=False), "do_connect", lead_astray)
        for _ in range(2):
            with self.assertRaisesRegex(OptionError, "such as postgres_test"):
                backend.template("astray", build)

    def test_schemas_of_others_are_left_alone_in_place(self) -> None:
        url = self.enterContext(postgresql_role())
        url = url.set(database=self.enterContext(postgresql_database_for(url)))
        backend = InPlaceBackend(url.update_query_dict({"in_place": "on"}))
        mark = backend._mark()
        run = secrets.token_hex(4)
        comments = {
            f"dbtestcase_{run}_1": "of mine",
            f"dbtestcase_{run}_2": "dbtestcase 0123456789abcdef",
            f"dbtestcase_{run}_3": mark,  # and dead
            f"dbtestcase_of_{run}": mark,
        }
        for name, comment in comments.items():
            backend.door.exec_driver_sql(f"CREATE SCHEMA {name}")
            backend.door.exec_driver_sql(f"COMMENT ON SCHEMA {name} IS '{comment}'")
        backend.close()
        backend.template("again", build)
        there = backend.door.exec_driver_sql(
            f"SELECT nspname FROM pg_namespace WHERE nspname LIKE '%%{run}%%'"
        )
        self.assertEqual(set(there.scalars()), set(comments) - {f"dbtestcase_{run}_3"})
        backend.close()

    def test_sequences_of_others_are_left_alone_in_place(self) -> None:
        schema = f"other_{secrets.token_hex(4)}"
        in_place = make_url(POSTGRESQL).update_query_dict({"in_place": "on"})
        numbers = []
        with postgresql_server() as other:
            other.exec_driver_sql(f"CREATE SCHEMA {schema} CREATE SEQUENCE number")

            def count(self: Any) -> None:
                self.assertDatabaseCount("numbered", 0)
                self.session.execute(numbered.insert())
                self.session.commit()
                self.assertDatabaseHas("numbered", id=1)
                advance = f"SELECT nextval('{schema}.number')"
                numbers.append(other.exec_driver_sql(advance).scalar())

            metadata = MetaData()
            numbered = Table("numbered", metadata, Column("id", Integer, primary_key=True))
            attributes = {
                "database": in_place.render_as_string(hide_password=False),
                "metadata": metadata,
                "reset_sequences": True,
            }
            tests = {"test_1": count, "test_2": count}
            try:
                case = type("Case", (DatabaseTestCase,), {**attributes, **tests})
                inner.passed(self, inner.run(case, case), 4)
            finally:
                other.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
        self.assertEqual(numbers, [1, 2, 3, 4])
