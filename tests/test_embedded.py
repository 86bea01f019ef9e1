"""Test classes on the servers that this process starts for itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import Column, Integer, MetaData, Table, create_engine, event, text
from sqlalchemy.exc import DBAPIError

import dbtestcase
from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase, OptionError
from dbtestcase.backends import backend_for

from . import inner
from .waiting import PATIENCE

ROOT = Path(__file__).parent.parent
URLS = ("pglite://", "pgserver://")


def metadata_with(*names: str) -> MetaData:
    """Return metadata with a table for each name."""
    metadata = MetaData()
    for name in names:
        Table(name, metadata, Column("id", Integer, primary_key=True))
    return metadata


def sync_case(metadata: MetaData, **attributes: Any) -> type[DatabaseTestCase]:
    """Return a class that adds a row to each table of an empty database."""

    def test(self: Any) -> None:
        self.assertDatabaseEmpty()
        for table in metadata.sorted_tables:
            self.session.execute(table.insert())
        self.session.commit()
        names = set(self.connection.dialect.get_table_names(self.connection, "public"))
        self.assertEqual(names, set(metadata.tables))

    attributes = {"metadata": metadata, "test_1": test, "test_2": test, **attributes}
    return type("Sync", (DatabaseTestCase,), attributes)


def async_case(metadata: MetaData, **attributes: Any) -> type[AsyncDatabaseTestCase]:
    """Return the same, asynchronous."""

    async def test(self: Any) -> None:
        await self.assertDatabaseEmpty()
        for table in metadata.sorted_tables:
            await self.session.execute(table.insert())
        await self.session.commit()

    attributes = {"metadata": metadata, "test_1": test, "test_2": test, **attributes}
    return type("Async", (AsyncDatabaseTestCase,), attributes)


class InOneProcess(unittest.TestCase):
    def test_colours_and_schemas_alternate(self) -> None:
        first, second = metadata_with("a", "b"), metadata_with("b", "c")
        for url in URLS:
            cases = [
                make(metadata, database=url)
                for metadata in (first, second, first)
                for make in (sync_case, async_case, async_case, sync_case)
            ]
            with self.subTest(url):
                inner.passed(self, inner.run(*cases), 24)

    def test_what_set_up_database_made_is_gone_with_the_next_schema(self) -> None:
        def set_up(cls: Any, connection: Any) -> None:
            connection.execute(text("CREATE SCHEMA other"))
            connection.execute(text("CREATE TABLE other.extra (id integer)"))
            connection.execute(text("CREATE TYPE mood AS ENUM ('good')"))
            if "pg_trgm" in cls.database:
                connection.execute(text("CREATE EXTENSION pg_trgm"))

        metadata = metadata_with("a")
        for url in ("pglite://?extensions=pg_trgm", "pgserver://"):
            rich = sync_case(metadata, database=url, setUpDatabase=classmethod(set_up))
            plain = sync_case(metadata, database=url)
            with self.subTest(url):
                inner.passed(self, inner.run(rich, plain, rich), 6)

    def test_two_databases_of_pglite_at_once(self) -> None:
        first, second = metadata_with("a"), metadata_with("b")

        class Case(DatabaseTestCase):
            databases = {
                "default": {"database": "pglite://", "metadata": first},
                "other": {"database": "pglite://", "metadata": second},
            }

            def test(self) -> None: ...

        message = inner.only_error(self, inner.run(Case))
        self.assertIn("PGlite has room for one database only", message)
        inner.passed(self, inner.run(sync_case(first, database="pglite://")), 2)

    def test_pglite_is_built_again_when_isolation_was_broken(self) -> None:
        metadata = metadata_with("a")
        table = metadata.tables["a"]

        def test_1(self: Any) -> None:
            raw = self.session.connection().connection.dbapi_connection
            self.session.execute(table.insert())
            raw.sandbox.link.connection.cursor().execute("COMMIT")

        def test_2(self: Any) -> None:
            self.assertDatabaseEmpty()

        tests = {"test_1": test_1, "test_2": test_2}
        for url in URLS:
            result = inner.run(sync_case(metadata, database=url, **tests))
            with self.subTest(url):
                self.assertIn("TransactionEndedError", inner.only_error(self, result))
                self.assertEqual(result.testsRun, 2)

    def test_a_second_connection_to_pglite_is_refused_with_an_explanation(self) -> None:
        def test(self: Any) -> None:
            self.connection.execute(text("SELECT 1"))
            directory = backend_for("pglite://").server.socket_directory  # type: ignore[attr-defined]
            engine = create_engine(f"postgresql+psycopg://postgres@/postgres?host={directory}")
            with self.assertRaisesRegex(DBAPIError, "one connection at a time.*pgserver://"):
                engine.connect()

        case = sync_case(metadata_with("a"), database="pglite://", test_1=test)
        inner.passed(self, inner.run(case), 2)


def building(metadata: MetaData) -> list[object]:
    """Return a list that gets an item whenever the tables of ``metadata`` are made."""
    built: list[object] = []
    event.listen(metadata, "after_create", lambda target, *args, **kwargs: built.append(target))
    return built


class BuiltOnce(unittest.TestCase):
    """What each class adds has the first number, so that it starts from what was built."""

    def setUp(self) -> None:  # whatever earlier runs have built
        self.enterContext(mock.patch.dict(os.environ, DBTESTCASE_REBUILD="1"))

    def cases(self, metadata: MetaData, *isolations: str, **attributes: Any) -> list[type[Any]]:
        table = metadata.tables["a"]

        def test(self: Any) -> None:
            self.assertDatabaseEmpty()
            self.session.execute(table.insert())
            self.session.commit()
            self.assertDatabaseHas("a", id=1)

        async def async_test(self: Any) -> None:
            await self.assertDatabaseEmpty()
            await self.session.execute(table.insert())
            await self.session.commit()
            await self.assertDatabaseHas("a", id=1)

        return [
            type(
                f"{base.__name__}{number}",
                (base,),
                {"metadata": metadata, "isolation": isolation, "test": test_of_it, **attributes},
            )
            for number, isolation in enumerate(isolations)
            for base, test_of_it in (
                (DatabaseTestCase, test),
                (AsyncDatabaseTestCase, async_test),
            )
        ]

    def test_for_classes_of_all_isolations(self) -> None:
        metadata = metadata_with("a", "b")
        built = building(metadata)
        of_pgserver = {"database": "pgserver://"}
        rolled_back = self.cases(metadata, "transaction", reset_sequences=True, **of_pgserver)
        committing = self.cases(metadata, "template", "truncation", **of_pgserver)
        inner.passed(self, inner.run(*rolled_back, *committing, *rolled_back), 8)
        self.assertEqual(len(built), 1)

    def test_for_classes_that_commit(self) -> None:
        metadata = metadata_with("a", "b")
        built = building(metadata)
        cases = self.cases(metadata, "truncation", "template", database="pgserver://")
        inner.passed(self, inner.run(*cases), 4)
        self.assertEqual(len(built), 1)

    @mock.patch.dict(os.environ, DBTESTCASE_REBUILD="1")  # not by an earlier run
    def test_before_sequences_are_reset(self) -> None:
        for url in URLS:
            metadata = metadata_with("a")
            built = building(metadata)
            [first, _] = self.cases(metadata, "transaction", database=url)
            others = self.cases(metadata, "transaction", database=url, reset_sequences=True)
            with self.subTest(url):
                inner.passed(self, inner.run(first, *others), 3)
                self.assertEqual(len(built), 1)

    def test_for_classes_within_a_test(self) -> None:
        metadata = metadata_with("a")
        built = building(metadata)
        of_pgserver = {"database": "pgserver://", "reset_sequences": True}
        within = self.cases(metadata, "truncation", "transaction", "template", **of_pgserver)

        def test(self: Any) -> None:
            self.session.execute(metadata.tables["a"].insert())
            inner.passed(self, inner.run(*within), 6)
            self.assertDatabaseCount("a", 1)

        around = sync_case(metadata, database="pgserver://", test_1=test)
        inner.passed(self, inner.run(around), 2)
        self.assertEqual(len(built), 1)


class Isolations(unittest.TestCase):
    def test_one_that_pglite_has_not_fails_the_test_that_asks_for_it_only(self) -> None:
        metadata = metadata_with("a")

        @dbtestcase.isolation("truncation")
        def test_3(self: Any) -> None: ...

        result = inner.run(sync_case(metadata, database="pglite://", test_3=test_3))
        self.assertEqual(result.testsRun, 3)
        message = inner.only_error(self, result)
        self.assertIn("test_3: PGlite has no isolation = 'truncation'", message)
        self.assertIn("or the database pgserver://", message)

    def test_several_without_tables_on_one_server(self) -> None:
        for isolation in ("transaction", "truncation"):
            databases = {alias: {"database": "pgserver://"} for alias in ("default", "a", "b")}
            attributes = {"databases": databases, "isolation": isolation}

            def test(self: Any) -> None:
                for alias in ("default", "a", "b"):
                    with self.engine_of(alias).begin() as connection:
                        connection.execute(text("CREATE TABLE mine (id integer)"))

            case = type("Case", (DatabaseTestCase,), {**attributes, "test_1": test, "test_2": test})
            with self.subTest(isolation):
                inner.passed(self, inner.run(case), 2)


class Options(unittest.TestCase):
    def test_wrong_urls(self) -> None:
        wrong = {
            "pglite://localhost": 'write database = "pglite://"',
            "pgserver://user@host/db": 'write database = "pgserver://"',
            "pglite://?extension=vector": "extension is unknown; there is extensions",
            "pglite://?extensions=a;b": "write extensions=vector,pg_trgm",
            "pgserver://?extensions=a": "extensions is unknown; there are no parameters",
            "pglit://": "did you mean pglite://?",
            "pglite+pymysql://": "the driver pymysql is not supported",
        }
        for url, hint in wrong.items():
            with self.subTest(url), self.assertRaises(OptionError) as raised:
                type("Wrong", (DatabaseTestCase,), {"database": url})
            self.assertIn(hint, str(raised.exception))


class Packages(unittest.TestCase):
    """What ``pip install dbtestcase`` alone does not bring."""

    SCRIPT = """
import sys
sys.modules[sys.argv[2]] = None
from tests.test_embedded import inner, metadata_with, sync_case
result = inner.run(sync_case(metadata_with("a"), database=sys.argv[1]))
print(*[text for _, text in result.errors])
"""

    def test_one_that_is_missing(self) -> None:
        for url in URLS:
            for package in ("platformdirs", "filelock"):
                said = subprocess.run(
                    [sys.executable, "-W", "error", "-c", self.SCRIPT, url, package],
                    cwd=ROOT,
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
                with self.subTest(url, package=package):
                    self.assertIn(f"needs the package {package}, which is not installed", said)
                    self.assertIn(f"pip install 'dbtestcase[{url.rstrip(':/')}]'", said)


class AtTheEnd(unittest.TestCase):
    SCRIPT = """
import os, sys, unittest
from dbtestcase.backends import backend_for
from tests.test_embedded import async_case, inner, metadata_with, sync_case

metadata = metadata_with("a")

def run(*makers):
    result = inner.run(*[make(metadata, database=sys.argv[1]) for make in makers])
    failed = len(result.errors + result.failures)
    print(failed, backend_for(sys.argv[1]).server.socket_directory, flush=True)

run(sync_case, async_case)
if sys.argv[2] == "fork":
    if os.fork() == 0:
        run(sync_case)
        sys.exit()
    os.wait()
    run(sync_case)
"""

    def ends(self, url: str, how: str) -> list[str]:
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", self.SCRIPT, url, how],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertRegex(ran.stderr, r"\A(dbtestcase: in\w+ .*, once, in .*\n)?\Z")  # a new machine
        lines = [line.split() for line in ran.stdout.splitlines()]
        self.assertEqual([failed for failed, _ in lines], ["0"] * len(lines))
        for _, directory in lines:
            self.assertFalse(Path(directory).exists())
        return [directory for _, directory in lines]

    ENDLESS = """
import signal, sys, threading, unittest
import psycopg
from sqlalchemy import event, text
from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase
from dbtestcase.backends import backend_for

signal.signal(signal.SIGINT, signal.default_int_handler)  # of a job in the background it is ignored
SQL = text("SELECT count(*) FROM generate_series(1, 1000000000000)")

def announce():
    directory = backend_for("pglite://").server.socket_directory
    try:
        psycopg.connect(host=str(directory), user="postgres")
    except psycopg.OperationalError:  # by now the statement runs
        print(directory, flush=True)

def before(*_):
    threading.Thread(target=announce).start()

class Sync(DatabaseTestCase):
    database = "pglite://"

    def test(self):
        event.listen(self.engine, "before_cursor_execute", before)
        self.session.execute(SQL)

class Async(AsyncDatabaseTestCase):
    database = "pglite://"

    async def test(self):
        event.listen(self.engine.sync_engine, "before_cursor_execute", before)
        await self.session.execute(SQL)

unittest.main(argv=["", sys.argv[1]])
"""

    def test_a_statement_that_never_ends_can_be_interrupted(self) -> None:
        for case in ("Sync", "Async"):
            command = [sys.executable, "-W", "error", "-c", self.ENDLESS, case]
            with subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process:
                assert process.stdout is not None
                directory = Path(process.stdout.readline().strip())
                self.assertTrue(directory.exists())
                process.send_signal(signal.SIGINT)
                try:
                    _, said = process.communicate(timeout=PATIENCE)
                finally:
                    process.kill()
            with self.subTest(case):
                self.assertIn("KeyboardInterrupt", said)
                self.assertNotIn("not terminated", said)  # as psycopg puts it
                self.assertFalse(directory.exists())

    def test_nothing_is_left(self) -> None:
        for url in URLS:
            with self.subTest(url):
                self.assertEqual(len(self.ends(url, "plainly")), 1)

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_a_child_has_a_server_of_its_own(self) -> None:
        for url in URLS:
            with self.subTest(url):
                first, child, again = self.ends(url, "fork")
                self.assertEqual(first, again)
                self.assertNotEqual(first, child)
