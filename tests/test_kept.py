"""Databases that are kept on servers, and looking at those that others have locked."""

from __future__ import annotations

import io
import os
import secrets
import shlex
import subprocess
import sys
import unittest
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import Column, Connection, LargeBinary, MetaData, String, Table, make_url, text
from sqlalchemy.orm import Session

from dbtestcase import DatabaseTestCase, reopen
from dbtestcase.backends import backend_for
from dbtestcase.backends.mysql import MySQLBackend
from dbtestcase.backends.mysql_registry import Registry
from dbtestcase.backends.postgresql import PostgreSQLBackend

from . import inner
from .models import Base, User
from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql
from .test_backends import with_driver


def failure(case: type[unittest.TestCase], **environment: str) -> str:
    """Run ``case`` and return the text of its failure."""
    with mock.patch.dict(os.environ, environment):
        result = inner.run(case)
    [(_, message)] = result.failures + result.errors
    return message


def build(connection: Connection) -> None:
    Base.metadata.create_all(connection)


def failing(url: str, *, resets: bool = True) -> type[unittest.TestCase]:
    """Return a class whose first test fails, and goes on."""

    class Failing(DatabaseTestCase):
        database = url
        metadata = Base.metadata
        reset_sequences = resets

        @classmethod
        def setUpTestData(cls, session: Session) -> None:
            session.add(User(name="alice"))

        def test_1_fails(self) -> None:
            with self.subTest("fails"):
                self.session.add(User(name="bob"))
                self.session.flush()
                self.fail()
            self.session.add(User(name="carl"))
            self.session.commit()

        def test_2_is_clean(self) -> None:
            self.assertDatabaseCount(User, 1, name="alice")

    return Failing


class Anywhere:
    """What holds on every server."""

    url: str

    def test_class_data_that_gets_other_keys_in_the_next_database(self) -> None:
        failure(failing(self.url, resets=False))
        message = failure(failing(self.url, resets=False), DBTESTCASE_KEEP="1")
        subprocess.run(shlex.split(message.split("To remove it:\n")[1]), check=True)
        self.assertIn("in the database:\n    users: 1 inserted\nThe", message)  # type: ignore[attr-defined]

    def test_what_the_test_goes_on_to_work_in(self) -> None:
        case: Any = failing(self.url)
        case.isolation = "truncation"
        message = failure(case, DBTESTCASE_KEEP="1")
        subprocess.run(shlex.split(message.split("To remove it:\n")[1]), check=True)
        says = "The database is kept, with all that the test commits until its end. To open it:"
        self.assertIn(says, message)  # type: ignore[attr-defined]


@needs_postgresql
class OnPostgreSQL(Anywhere, unittest.TestCase):
    url = POSTGRESQL

    def test_is_kept_as_at_the_failure_and_never_swept(self) -> None:
        message = failure(failing(POSTGRESQL), DBTESTCASE_KEEP="1")
        name = message.split("psql ")[1].splitlines()[0].split()[-1]
        backend = PostgreSQLBackend(make_url(POSTGRESQL))  # as another process would, it sweeps
        self.addCleanup(backend.close)
        backend.drop(name)  # which is for those that are ours
        [kept] = [one for one in backend.leftovers() if one.name.split()[0] == name]
        self.addCleanup(kept.remove)
        self.assertEqual(kept.kind, "kept")
        url = backend.driver_url(is_async=False).set(database=name)
        ran = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sqlalchemy, sys\n"
                "with sqlalchemy.create_engine(sys.argv[1]).connect() as connection:\n"
                "    for query in ('name FROM users', 'last_value FROM users_id_seq'):\n"
                "        print(*connection.exec_driver_sql(f'SELECT {query}').scalars())",
                url.render_as_string(hide_password=False),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        *names, last = ran.stdout.split()
        self.assertEqual(names, ["alice", "bob"])
        self.assertGreaterEqual(int(last), 3)  # other classes of this process have used it too

    def test_in_place(self) -> None:
        in_place = make_url(POSTGRESQL).update_query_dict({"in_place": "on"})
        url = in_place.render_as_string(hide_password=False)
        message = failure(failing(url), DBTESTCASE_KEEP="1")
        name = message.split("DROP SCHEMA ")[1].split()[0].strip('"')
        backend = backend_for(url)
        backend.close()  # drops what is ours
        [kept] = [one for one in backend.leftovers() if one.name.split()[0] == name]
        self.assertEqual(kept.kind, "kept")
        kept.remove()
        self.assertNotIn(name, [one.name.split()[0] for one in backend.leftovers()])

    def test_a_table_that_is_locked(self) -> None:
        class Locking(DatabaseTestCase):
            database = POSTGRESQL
            metadata = Base.metadata
            isolation = "truncation"

            def test(self) -> None:
                self.session.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
                self.fail()

        message = failure(Locking)
        self.assertIn("What the test changed in the database cannot be told: Operation", message)
        self.assertIn("lock timeout", message)

    def test_tables_of_other_schemas(self) -> None:
        files = Table("files", MetaData(schema="archive"), Column("name", String))

        class Filing(DatabaseTestCase):
            database = POSTGRESQL
            metadata = files.metadata

            @classmethod
            def setUpDatabase(cls, connection: Connection) -> None:
                connection.execute(text("CREATE SCHEMA archive"))
                super().setUpDatabase(connection)

            def test(self) -> None:
                self.session.execute(files.insert().values(name="one"))
                self.fail()

        self.assertIn("    archive.files: 1 inserted\n", failure(Filing))

    def test_values_that_drivers_wrap(self) -> None:
        files = Table("files", MetaData(), Column("content", LargeBinary))

        class Reading(DatabaseTestCase):
            database = with_driver(POSTGRESQL, "psycopg2")
            metadata = files.metadata

            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                session.execute(files.insert().values(content=b"one"))

            def test(self) -> None:
                self.fail()

        self.assertIn("the test changed nothing", failure(Reading))


@needs_mysql
class OnMySQL(Anywhere, unittest.TestCase):
    url = MYSQL

    def backend(self) -> MySQLBackend:
        """Return what another process would work with."""
        backend = MySQLBackend(make_url(MYSQL))
        self.addCleanup(backend.close)
        return backend

    def test_is_kept_and_never_lent_again(self) -> None:
        fingerprint = secrets.token_hex(8)
        first = self.backend()
        database: Any = first.create(first.template(fingerprint, build))
        kept = database.keep("", lambda: None)
        database.drop()
        name = database.target.name
        self.assertIn(f" {name}", kept.opens)
        with mock.patch.dict(os.environ, DBTESTCASE_REBUILD="1"):
            again: Any = first.create(first.template(fingerprint, build, rebuild=True))
        self.assertNotEqual(again.target.name, name)
        again.drop()
        first.close()

        second = self.backend()
        other: Any = second.create(second.template(fingerprint, build))
        self.assertNotEqual(other.target.name, name)
        other.drop()
        registry = Registry(second._execute)
        self.assertTrue(registry.exists(name))

        second._execute(f"DROP DATABASE {name}")  # as the report says
        second.close()
        third = self.backend()
        reused: Any = third.create(third.template(fingerprint, build))
        self.assertEqual(reused.target.name, name)
        row = Registry(third._execute).find(name)
        self.assertEqual(row and row.state, "ready")
        reused.drop()
        third.drop(name)
        third.drop(other.target.name)

    def test_a_commit_that_fails_keeps_nothing(self) -> None:
        backend = self.backend()
        database: Any = backend.create(backend.template(secrets.token_hex(8), build))
        with self.assertRaises(ZeroDivisionError):
            database.keep("", lambda: 1 / 0)
        row = Registry(backend._execute).find(database.target.name)
        self.assertEqual(row and row.state, "suspect")
        database.drop()
        self.assertFalse(Registry(backend._execute).exists(database.target.name))

    def test_is_kept_as_at_the_failure(self) -> None:
        message = failure(failing(MYSQL), DBTESTCASE_KEEP="1")
        name = message.split("DROP DATABASE `")[1].split("`")[0]
        backend = self.backend()
        [kept] = [one for one in backend.leftovers() if one.name.split()[0] == name]
        self.addCleanup(kept.remove)
        self.assertEqual(kept.kind, "kept")
        rows = backend._execute(f"SELECT name FROM {name}.users")  # noqa: S608
        self.assertEqual(sorted(rows), [("alice",), ("bob",)])

    def test_a_table_that_is_locked(self) -> None:
        class Locking(DatabaseTestCase):
            database = MYSQL
            metadata = Base.metadata
            isolation = "truncation"

            def test(self) -> None:
                self.session.execute(text("LOCK TABLES users WRITE"))
                self.fail()

        message = failure(Locking)
        self.assertIn("What the test changed in the database cannot be told: Operation", message)
        self.assertIn("ock wait timeout", message)


class Commands(unittest.TestCase):
    """What a person is told to type, which has no password in it."""

    def test_postgresql(self) -> None:
        backend: Any = backend_for("postgresql+psycopg2://me:secret@host:5433/door")
        self.assertEqual(backend._command_options(), ["-h", "host", "-p", "5433", "-U", "me"])
        backend = backend_for("postgresql:///door?host=/run/socket")
        self.assertEqual(backend._command_options(), ["-h", "/run/socket"])

    def test_mysql(self) -> None:
        backend: Any = backend_for("mysql://me:secret@host:3307/door")
        with mock.patch.object(backend, "_registry") as registry:
            registry.removal.return_value = "forget it"
            backend._settings = ["8.4.0"]
            kept = backend.keep("dbtestcase_1")
        self.assertEqual(kept.opens, "mysql -h host -P 3307 -u me -p dbtestcase_1")
        self.assertEqual(
            kept.removes,
            "mysql -h host -P 3307 -u me -p -e 'DROP DATABASE `dbtestcase_1`; forget it'",
        )

    def test_reopen_without_psql(self) -> None:
        server = mock.MagicMock(socket_directory=Path("/run/private"))
        with (
            mock.patch("shutil.which", return_value=None),
            mock.patch("sys.stdin", io.StringIO("\n")),
            mock.patch.object(reopen, "_server", return_value=server),
            mock.patch.object(sys, "argv", ["reopen", __file__]),
            redirect_stdout(io.StringIO()) as written,
        ):
            self.assertEqual(reopen.main(), 0)
        self.assertIn("postgresql://postgres@/postgres?host=/run/private\n", written.getvalue())
        server.wait.assert_called_once()
        server.stop.assert_called_once()

    def test_reopen_what_is_not_there(self) -> None:
        ran = subprocess.run(
            [sys.executable, "-m", "dbtestcase.reopen", "/nowhere/x.pgserver.tar"],
            check=False,
            capture_output=True,
            text=True,
        )
        self.assertEqual(ran.returncode, 1)
        self.assertIn("There is no file /nowhere/x.pgserver.tar", ran.stderr)
