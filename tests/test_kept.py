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

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    delete,
    insert,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from dbtestcase import DatabaseTestCase, MigrationTestCase, reopen
from dbtestcase.backends import backend_for, postgresql_dump
from dbtestcase.backends.mysql import MySQLBackend
from dbtestcase.backends.mysql_registry import Registry
from dbtestcase.backends.postgresql import PostgreSQLBackend

from . import inner
from .histories import History, write_library
from .models import Base, Post, User
from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql, postgresql_role
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


def long_name(kind: str) -> str:
    """Return a name of 63 bytes, which every database has room for."""
    return "x" * (63 - len("ä\"é' %.".encode()) - len(kind)) + "ä\"é' %." + kind


class Anywhere:
    """What holds on every server."""

    url: str

    def kept(self, case: Any) -> tuple[str, Any]:
        """Return the text of the failure of ``case``, and the URL of what it has left."""
        message = failure(case, DBTESTCASE_KEEP="1")
        remove = message.split("To remove it:\n")[1]
        self.addCleanup(subprocess.run, shlex.split(remove), check=True)  # type: ignore[attr-defined]
        [opens] = message.split("To open it:\n")[1].splitlines()[:1]
        name = shlex.split(opens)[-1]
        return message, backend_for(self.url).driver_url(is_async=False).set(database=name)

    def under(self, isolation: str) -> Any:
        """Return a class whose test goes on after it has failed, and commits."""

        class Failing(DatabaseTestCase):
            database = self.url
            metadata = Base.metadata

            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                session.add(User(name="alice", posts=[Post(title="one")]))

            def test_1_fails(self) -> None:
                with Session(self.engine) as session:
                    session.add(User(name="bob", age=30))
                    session.execute(delete(Post))
                    session.commit()
                with self.subTest("fails"):
                    self.session.add(User(name="dora"))
                    self.session.flush()
                    self.fail()
                self.session.add(User(name="carl"))
                self.session.commit()

            def test_2_is_clean(self) -> None:
                self.assertDatabaseCount(User, 1, name="alice")
                self.assertDatabaseCount(Post, 1)

        Failing.isolation = isolation  # type: ignore[assignment]
        return Failing

    def test_as_at_the_failure_whatever_is_committed_later(self) -> None:
        check: Any = self
        for isolation in backend_for(self.url).features.isolations - {"transaction", "template"}:
            with check.subTest(isolation):
                message, url = self.kept(self.under(isolation))
                check.assertIn(
                    "The database is kept, as it was then, but for what 1 connection had not "
                    "committed. To open it:",
                    message,
                )
                engine = create_engine(url, poolclass=NullPool)
                with Session(engine) as session:
                    names = session.execute(select(User.name, User.age).order_by(User.name))
                    check.assertEqual(names.all(), [("alice", None), ("bob", 30)])
                    check.assertEqual(session.scalars(select(Post.title)).all(), [])
                    new = User(name="eve")  # whose number is behind all that were given
                    session.add(new)
                    session.flush()
                    check.assertGreaterEqual(new.id, 3)
                    check.assertRaises(
                        IntegrityError,
                        session.execute,
                        insert(Post).values(title="x", author_id=99),
                    )

    def test_long_names_with_quotes(self) -> None:
        check: Any = self
        metadata = MetaData()
        numbers = Sequence(long_name("s"), metadata=metadata)
        table = Table(
            long_name("t"),
            metadata,
            Column(long_name("i"), Integer, primary_key=True, key="id"),
            Column(long_name("n"), String(20), key="name"),
            UniqueConstraint("name", name=long_name("u")),
        )

        class Failing(DatabaseTestCase):
            database = self.url

            def test(self) -> None:
                with self.engine.begin() as connection:
                    connection.execute(insert(table).values(name="alice"))
                    if connection.dialect.supports_sequences:
                        connection.scalar(numbers)
                self.fail()

        Failing.metadata = metadata
        for isolation in backend_for(self.url).features.isolations:
            Failing.isolation = isolation  # type: ignore[assignment]
            with check.subTest(isolation):
                _, url = self.kept(type("Failing", (Failing,), {}))
                engine = create_engine(url, poolclass=NullPool)
                with engine.begin() as connection:
                    check.assertEqual(connection.scalars(select(table.c.name)).all(), ["alice"])
                    if connection.dialect.supports_sequences:
                        check.assertGreater(connection.scalar(numbers), 1)
                    again = insert(table).values(name="alice")
                    check.assertRaises(IntegrityError, connection.execute, again)

    #: What is said of a database whose schema the test has changed.

    def test_of_migrations(self) -> None:
        check: Any = self
        history = History(check.enterContext(inner.directory()))
        write_library(history)

        class Migrating(MigrationTestCase):
            database = self.url
            migrations = history.ini
            standard_tests = False

            def tearDown(self) -> None:
                with self.engine.begin() as connection:
                    connection.execute(text("INSERT INTO authors (id, name) VALUES (2, 'bob')"))
                super().tearDown()

            def test(self) -> None:
                self.migrate_to("a1")
                with self.engine.begin() as connection:
                    connection.execute(text("INSERT INTO authors (id, name) VALUES (1, 'alice')"))
                self.fail()

        message, url = self.kept(Migrating)
        check.assertIn("The database is kept, as it was then. To open it:", message)
        with create_engine(url, poolclass=NullPool).connect() as connection:
            names = connection.scalars(text("SELECT name FROM authors ORDER BY id")).all()
        check.assertEqual(names, ["alice"])

    def test_class_data_that_gets_other_keys_in_the_next_database(self) -> None:
        failure(failing(self.url, resets=False))
        message = failure(failing(self.url, resets=False), DBTESTCASE_KEEP="1")
        subprocess.run(shlex.split(message.split("To remove it:\n")[1]), check=True)
        self.assertIn("in the database:\n    users: 1 inserted\nThe", message)  # type: ignore[attr-defined]


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

    def test_where_rows_are_more_than_what_was_written(self) -> None:
        """Values that are hard to write, and what triggers, columns and partitions make of them.

        A superuser could have triggers ignored.
        """
        url = self.enterContext(postgresql_role())
        found: list[str] = []

        class Odd(DatabaseTestCase):
            database = url.render_as_string(hide_password=False)
            isolation = "truncation"

            @classmethod
            def setUpDatabase(cls, connection: Connection) -> None:
                connection.exec_driver_sql(ODD)

            def test(self) -> None:
                with self.engine.begin() as connection:
                    connection.exec_driver_sql(ODD_ROWS)
                    found.extend(connection.exec_driver_sql(ODD_QUERY).scalars())
                self.fail()

        message = failure(Odd, DBTESTCASE_KEEP="1")
        self.assertIn("kept, as it was then. To open it:", message)
        url = url.set(database=message.split("dropdb ")[1].split()[-1])
        with create_engine(url, poolclass=NullPool).connect() as connection:
            self.assertEqual(connection.exec_driver_sql(ODD_QUERY).scalars().all(), found)
            tools = "SELECT to_regnamespace('dbtestcase') IS NULL"
            self.assertTrue(connection.scalar(text(tools)))

    def altering(self, isolation: str) -> Any:
        """Return a class whose test changes the schema, and goes on after it has failed."""

        class Altering(self.under(isolation)):  # type: ignore[misc]
            test_1_fails = test_2_is_clean = None

            def test(self) -> None:
                self.addCleanup(self.write)
                self.session.execute(text("CREATE TABLE more AS SELECT 1 AS id"))
                self.session.execute(text("DROP TABLE posts"))
                self.session.commit()
                self.fail()

            def write(self) -> None:
                self.session.execute(text("INSERT INTO more VALUES (2)"))
                self.session.commit()

        return Altering

    def test_a_schema_that_the_test_has_changed(self) -> None:
        for isolation in ("truncation", "template", "schema"):
            with self.subTest(isolation):
                message, url = self.kept(self.altering(isolation))
                self.assertIn("The database is kept, as it was then. To open it:", message)
                with create_engine(url, poolclass=NullPool).connect() as connection:
                    tables = inspect(connection).get_table_names()
                    self.assertEqual(
                        sorted({*tables} & {"more", "posts", "users"}), ["more", "users"]
                    )
                    ids = connection.scalars(text("SELECT id FROM more"))
                    self.assertEqual(ids.all(), [1])
                    names = connection.scalars(select(User.name))
                    self.assertEqual(names.all(), ["alice"])
                    tools = "SELECT to_regnamespace('dbtestcase') IS NULL"
                    self.assertTrue(connection.scalar(text(tools)))

    def test_where_nothing_but_the_database_itself_can_be_kept(self) -> None:
        places = mock.patch.object(postgresql_dump, "places_of_binaries", return_value=[])
        with places:
            message, url = self.kept(self.altering("truncation"))
        self.assertRegex(
            message,
            r"The database is kept, with all that the test commits until its end \(the test has "
            r"changed the schema, and there is no pg_dump of PostgreSQL \d+ here\). To open it:",
        )
        with create_engine(url, poolclass=NullPool).connect() as connection:
            self.assertEqual(connection.scalars(text("SELECT id FROM more")).all(), [1, 2])

    def test_a_table_that_is_locked(self) -> None:
        class Locking(DatabaseTestCase):
            database = POSTGRESQL
            metadata = Base.metadata
            isolation = "truncation"

            def test(self) -> None:
                register = User.__table__.insert().values(name="bob")
                with self.engine.begin() as connection:
                    connection.execute(register)
                self.session.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
                self.fail()

        message, _ = self.kept(Locking)
        self.assertIn("until its end (canceling statement due to lock timeout). To", message)
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

    def test_a_schema_that_the_test_has_changed(self) -> None:
        case = self.under("truncation")

        class Altering(case):  # type: ignore[misc, valid-type]
            test_1_fails = test_2_is_clean = None

            def test(self) -> None:
                self.session.execute(text("CREATE TABLE more (id INTEGER)"))
                self.session.execute(text("INSERT INTO more VALUES (5)"))
                self.session.commit()
                self.fail()

        message, url = self.kept(Altering)
        self.assertIn("The database is kept, as it was then. To open it:", message)
        with create_engine(url, poolclass=NullPool).connect() as connection:
            self.assertEqual(connection.exec_driver_sql("SELECT * FROM more").all(), [(5,)])

    def test_a_table_that_is_locked(self) -> None:
        class Locking(DatabaseTestCase):
            database = MYSQL
            metadata = Base.metadata
            isolation = "truncation"

            def test(self) -> None:
                self.session.execute(text("LOCK TABLES users WRITE"))
                self.fail()

        message, _ = self.kept(Locking)
        self.assertIn("with all that the test commits until its end (", message)
        self.assertIn("What the test changed in the database cannot be told: Operation", message)
        self.assertIn("ock wait timeout", message)


ODD = """\
CREATE TABLE odd (id INTEGER GENERATED ALWAYS AS IDENTITY, "a ""b" TEXT, bytes BYTEA, list TEXT[],
 document JSONB, number DOUBLE PRECISION, "when" TIMESTAMPTZ, doubled INTEGER
 GENERATED ALWAYS AS (id * 2) STORED);
ALTER TABLE odd ADD COLUMN gone INTEGER;
ALTER TABLE odd DROP COLUMN gone;
CREATE TABLE parts (year INTEGER, what TEXT) PARTITION BY RANGE (year);
CREATE TABLE parts_old PARTITION OF parts FOR VALUES FROM (1) TO (2000);
CREATE TABLE parts_new PARTITION OF parts FOR VALUES FROM (2000) TO (9999);
CREATE TABLE audit (what TEXT);
CREATE FUNCTION note_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO audit VALUES (TG_OP); RETURN NULL; END $$;
CREATE TRIGGER note_it AFTER INSERT OR DELETE ON odd FOR EACH ROW EXECUTE FUNCTION note_it()"""
ODD_ROWS = """\
INSERT INTO odd ("a ""b", bytes, list, document, number, "when") VALUES
 (E'it''s (a, "b") \\\\ \\n', '\\x00ff', '{NULL,"",",}"}', '{"a": [1, null]}', 0.1,
  '2024-02-29 12:00:00.123456+02'),
 (NULL, NULL, NULL, NULL, 'NaN', 'infinity'), ('', '', '{}', 'null', 1e300, NULL);
INSERT INTO parts VALUES (1999, 'old'), (2024, 'new')"""
ODD_QUERY = """\
SELECT odd::text FROM odd UNION ALL SELECT parts::text FROM parts UNION ALL
SELECT audit::text FROM audit UNION ALL SELECT last_value::text FROM odd_id_seq"""


TELLING = """#!{python}
import pathlib, sys, urllib.parse
if "--version" in sys.argv:
    print("pg_dump (PostgreSQL) 15.3")
else:
    url = urllib.parse.urlsplit(sys.argv[-1])
    [passfile] = urllib.parse.parse_qs(url.query)["passfile"]
    told = pathlib.Path(passfile).read_text()
    pathlib.Path(sys.argv[0] + ".told").write_text("\\n".join([" ".join(sys.argv), told]))
"""


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

    def test_that_copy_are_told_a_password_where_nobody_else_reads_it(self) -> None:
        directory = self.enterContext(inner.directory())
        for name in ("pg_dump", "pg_restore"):
            (directory / name).write_text(TELLING.format(python=sys.executable))
            (directory / name).chmod(0o700)
        url = make_url(r"postgresql+psycopg://me:a%3Ab%5Cc@host")
        with mock.patch.object(postgresql_dump, "places_of_binaries", return_value=[directory]):
            postgresql_dump.copy_contents(url, "here", "there", 15)
        for name, database in (("pg_dump", "here"), ("pg_restore", "there")):
            [shown, told] = (directory / f"{name}.told").read_text().splitlines()
            self.assertRegex(shown, rf"--dbname=postgresql://me:@host/{database}\?passfile=[^&]+$")
            self.assertEqual(told, r"*:*:*:*:a\:b\\c")

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
