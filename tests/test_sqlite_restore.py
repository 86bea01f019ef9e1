"""How a SQLite database that a test has changed is made as it was."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import unittest
from contextlib import closing
from typing import Any, ClassVar

from sqlalchemy import Connection, event, insert, make_url, text
from sqlalchemy.orm import Session

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase
from dbtestcase.backends.sqlite import SQLiteBackend

from . import inner
from .models import Base, User, app_async_engine, app_engine, register, register_async

SCHEMA = """
CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE children (
    id INTEGER PRIMARY KEY,
    parent INTEGER REFERENCES parents (id) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE TABLE grandchildren (child INTEGER REFERENCES children (id) ON DELETE SET NULL);
CREATE TABLE log (what TEXT);
CREATE TRIGGER logged AFTER INSERT ON parents BEGIN INSERT INTO log VALUES (new.name); END;
CREATE VIEW names AS SELECT name FROM parents;
CREATE TRIGGER named INSTEAD OF INSERT ON names
    BEGIN INSERT INTO parents (name) VALUES (new.name); END;
CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT);
CREATE TABLE counted_too (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE without_key (what TEXT);
CREATE TABLE pairs (a TEXT, b TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE "odd ""name" ("a ""b" TEXT, rowid TEXT, "select" TEXT);
CREATE TABLE doubled (
    n INTEGER, twice AS (n * 2), thrice INTEGER AS (n * 3) STORED, CHECK (n < 100)
);
CREATE TABLE exact (n INTEGER, x ANY) STRICT;
CREATE TABLE partial (n INTEGER);
CREATE UNIQUE INDEX partly ON partial (n) WHERE n > 0;
CREATE VIRTUAL TABLE texts USING fts5(body);
CREATE VIRTUAL TABLE boxes USING rtree(id, low, high);

INSERT INTO parents VALUES (1, 'one'), (2, 'two');
INSERT INTO children VALUES (1, 1), (2, 2);
INSERT INTO grandchildren VALUES (1), (2);
INSERT INTO counted (what) VALUES ('a'), ('b'), ('c');
DELETE FROM counted WHERE id = 3;
INSERT INTO without_key (rowid, what) VALUES (3, 'three'), (70, 'seventy');
INSERT INTO pairs VALUES ('a', 'b'), ('c', 'd');
INSERT INTO "odd ""name" VALUES ('1', '2', '3');
INSERT INTO doubled (n) VALUES (1), (2);
INSERT INTO exact VALUES (1, 'text'), (2, x'00ff');
INSERT INTO partial VALUES (0), (0), (1);
INSERT INTO texts VALUES ('the quick brown fox'), ('the lazy dog');
INSERT INTO boxes VALUES (1, 0.0, 1.0), (2, 5.0, 6.0);
PRAGMA user_version = 7;
"""

HAS_SETCONFIG = sys.version_info >= (3, 12)


def build(connection: Connection) -> None:
    raw: Any = connection.connection.driver_connection
    raw.executescript(SCHEMA)


def contents(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return all there is in a database, with the keys that are hidden."""
    ask = connection.execute
    found = {"schema": ask("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()}
    for pragma in ("user_version", "application_id", "integrity_check", "foreign_key_check"):
        found[pragma] = ask(f"PRAGMA {pragma}").fetchall()
    for kind, name, _, _ in found["schema"]:
        if kind == "table":
            quoted = '"' + name.replace('"', '""') + '"'
            keys = "" if name == "pairs" or name.endswith(("_idx", "_config")) else "_rowid_, "
            rows = ask(f"SELECT {keys}* FROM {quoted}")  # noqa: S608
            found[name] = sorted(rows.fetchall(), key=repr)
    return found


class Restored(unittest.TestCase):
    """Each statement is undone, in as many tables as it wrote to."""

    backend: ClassVar[SQLiteBackend]
    template: ClassVar[Any]

    @classmethod
    def setUpClass(cls) -> None:
        cls.backend = SQLiteBackend(make_url("sqlite://"))
        cls.template = cls.backend.template("", build)
        cls.addClassCleanup(cls.template.drop)

    def setUp(self) -> None:
        self.committed: Any = self.backend.create(self.template, isolation="transaction")
        self.addCleanup(self.committed.drop)
        self.as_built = contents(self.committed.connection)
        self.copy: Any = self.backend.create(self.committed, isolation="truncation")
        self.addCleanup(self.copy.drop)
        self.connection = self.copy.connect(is_async=False)
        self.version = self.schema_version()

    def schema_version(self) -> int:
        """Return what is different once everything has been copied."""
        version: int = self.copy.connection.execute("PRAGMA schema_version").fetchone()[0]
        return version

    def change(self, *statements: str, ignored: bool = False) -> None:
        """Commit ``statements``, which change something, unless that is ``ignored``."""
        for statement in statements:
            self.connection.execute(statement)
        self.connection.commit()
        if not ignored:
            self.assertNotEqual(contents(self.copy.connection), self.as_built)

    def assert_restored(self) -> None:
        self.assertTrue(self.copy.restore(self.committed, reset_sequences=False))
        with closing(self.copy.connect(is_async=False)) as fresh:
            for connection in (self.copy.connection, self.connection, fresh):
                self.assertEqual(contents(connection), self.as_built)
        self.kept = self.connection.reuse()
        if not self.kept:
            self.connection.close()
            self.connection = self.copy.connect(is_async=False)

    def assert_by_tables(self, *, triggers: bool = False) -> None:
        if triggers and not HAS_SETCONFIG:
            self.assert_by_copy()
            return
        self.assert_restored()
        self.assertEqual(self.schema_version(), self.version)

    def assert_by_copy(self) -> None:
        self.assert_restored()
        self.assertNotEqual(self.schema_version(), self.version)

    def test_insert(self) -> None:
        self.change("INSERT INTO log VALUES ('x')")
        self.assert_by_tables()

    def test_nothing(self) -> None:
        self.change("SELECT * FROM parents", ignored=True)
        self.assert_by_tables()

    def test_rolled_back(self) -> None:
        self.connection.execute("DELETE FROM log")
        self.connection.execute("CREATE TABLE extra (id)")
        self.connection.rollback()
        self.assert_by_tables()

    def test_update_and_delete(self) -> None:
        self.change("UPDATE exact SET n = 5", "DELETE FROM pairs WHERE a = 'a'")
        self.assert_by_tables()

    def test_statement_that_was_compiled_before(self) -> None:
        for _ in range(3):
            self.change("INSERT INTO log VALUES ('x')")
            self.assert_by_tables()
            self.assertTrue(self.kept)

    def test_rows_of_class_data_deleted_and_added_again(self) -> None:
        self.change("DELETE FROM without_key", "INSERT INTO without_key VALUES ('three')")
        self.assert_by_tables()

    def test_cascade(self) -> None:
        self.change("DELETE FROM parents WHERE id = 1")
        self.assert_by_tables(triggers=True)

    def test_cascade_of_an_update(self) -> None:
        self.change("UPDATE parents SET id = 9 WHERE id = 1")
        self.assert_by_tables(triggers=True)

    def test_cascade_of_replacing(self) -> None:
        self.change("REPLACE INTO parents VALUES (1, 'other')")
        self.assert_by_tables(triggers=True)

    def test_trigger(self) -> None:
        self.change("INSERT INTO parents (name) VALUES ('three')")
        self.assert_by_tables(triggers=True)

    def test_trigger_of_a_view(self) -> None:
        self.change("INSERT INTO names VALUES ('three')")
        self.assert_by_tables(triggers=True)

    def test_temporary_trigger(self) -> None:
        self.change(
            "CREATE TEMP TRIGGER mine AFTER INSERT ON without_key"
            " BEGIN DELETE FROM grandchildren; END",
            "INSERT INTO without_key VALUES ('x')",
        )
        self.assert_by_tables()
        self.assertFalse(self.kept)

    def test_autoincrement_goes_on_as_before(self) -> None:
        self.change("INSERT INTO counted (what) VALUES ('d')", "DELETE FROM counted")
        self.assert_by_tables()
        self.change("INSERT INTO counted (what) VALUES ('d')")
        [(last,)] = self.connection.execute("SELECT max(id) FROM counted")
        self.assertEqual(last, 4)

    def test_autoincrement_of_a_table_that_was_empty(self) -> None:
        self.change("INSERT INTO counted_too DEFAULT VALUES")
        self.assert_by_tables()

    def test_sequences_written_to_directly(self) -> None:
        self.change("DELETE FROM sqlite_sequence")
        self.assert_by_tables()
        self.change("UPDATE sqlite_sequence SET seq = 100")
        self.assert_by_tables()

    def test_generated_columns(self) -> None:
        self.change("UPDATE doubled SET n = 50")
        self.assert_by_tables()

    def test_names_in_need_of_quotes(self) -> None:
        self.change('UPDATE "odd ""name" SET "select" = 4')
        self.assert_by_tables()

    def test_partial_unique_index(self) -> None:
        self.change("UPDATE partial SET n = n + 5 WHERE n = 1", "INSERT INTO partial VALUES (1)")
        self.assert_by_tables()

    def test_full_text_search(self) -> None:
        search = "SELECT body FROM texts WHERE texts MATCH 'fox OR red' ORDER BY 1"
        found = self.connection.execute(search).fetchall()
        self.change("INSERT INTO texts VALUES ('a red herring')", "DELETE FROM texts WHERE rowid=1")
        self.assertNotEqual(self.connection.execute(search).fetchall(), found)
        self.assert_by_tables()
        self.assertEqual(self.connection.execute(search).fetchall(), found)
        self.connection.execute("INSERT INTO texts (texts) VALUES ('integrity-check')")
        self.connection.rollback()

    def test_full_text_search_by_another_connection(self) -> None:
        search = "SELECT body FROM texts WHERE texts MATCH 'fox OR red' ORDER BY 1"
        found = self.connection.execute(search).fetchall()
        with closing(self.copy.connect(is_async=False)) as other:
            other.execute("INSERT INTO texts VALUES ('a red herring')")
            other.commit()
        self.assert_by_tables()
        self.assertEqual(self.connection.execute(search).fetchall(), found)

    def test_rtree(self) -> None:
        self.change("DELETE FROM boxes", "INSERT INTO boxes VALUES (7, 1.0, 2.0)")
        self.assert_by_tables()

    def test_scripts_and_many_rows(self) -> None:
        self.connection.executescript("BEGIN; DELETE FROM pairs; COMMIT;")
        self.connection.executemany("INSERT INTO log VALUES (?)", [("x",)] * 500)
        self.change("INSERT INTO log VALUES ('y')")
        self.assert_by_tables()

    def test_common_table_expression_and_upsert(self) -> None:
        self.change(
            "WITH new AS (SELECT 'x') INSERT INTO without_key SELECT * FROM new RETURNING what",
            "INSERT INTO parents VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'y'",
        )
        self.assert_by_tables(triggers=True)

    def test_cursor_of_another_class(self) -> None:
        cursor = self.connection.cursor(sqlite3.Cursor)
        for _ in range(2):
            cursor.execute("INSERT INTO log VALUES ('x')")
            self.assert_by_tables()
            self.assertFalse(self.kept)
            cursor = self.connection.cursor(sqlite3.Cursor)

    def test_authorizer_of_the_application_is_asked_too(self) -> None:
        asked = []

        def authorize(action: int, *what: object) -> int:
            asked.append(what[0])
            return sqlite3.SQLITE_DENY if what[0] == "pairs" else sqlite3.SQLITE_OK

        self.connection.set_authorizer(authorize)
        with self.assertRaisesRegex(sqlite3.DatabaseError, "not authorized"):
            self.connection.execute("DELETE FROM pairs")
        self.change("INSERT INTO log VALUES ('x')")
        self.assertIn("log", asked)
        self.connection.set_authorizer(None)
        self.assert_by_tables()
        self.assertFalse(self.kept)

    def test_ddl(self) -> None:
        for statement in (
            "CREATE TABLE extra (id INTEGER)",
            "DROP TABLE children",
            "ALTER TABLE log ADD COLUMN extra",
            "DROP TRIGGER logged",
            "DROP INDEX partly",
            "CREATE VIRTUAL TABLE more USING fts5(body)",
        ):
            with self.subTest(statement):
                self.version = self.schema_version()
                self.change(statement)
                self.assert_by_copy()

    def test_ddl_that_is_undone(self) -> None:
        self.change("CREATE TABLE extra (id)", "DROP TABLE extra", ignored=True)
        self.assert_by_copy()

    def test_header(self) -> None:
        for name in ("user_version", "application_id"):
            with self.subTest(name):
                self.version = self.schema_version()
                self.change(f"PRAGMA {name} = 99")
                self.assert_by_copy()

    def test_analyze(self) -> None:
        self.change("ANALYZE")
        self.assert_by_copy()

    def test_analyze_again(self) -> None:
        self.committed.connection.execute("ANALYZE")
        self.copy.copy(self.committed)
        self.as_built = contents(self.committed.connection)
        self.version = self.schema_version()
        self.change("INSERT INTO without_key VALUES ('x')", "ANALYZE")
        self.assert_by_copy()

    def test_vacuum(self) -> None:
        self.connection.execute("DELETE FROM without_key WHERE rowid = 3")
        self.connection.commit()
        self.connection.isolation_level = None
        self.connection.execute("VACUUM")
        self.assert_by_copy()

    def test_schema_written_to_directly(self) -> None:
        self.connection.execute("PRAGMA writable_schema = ON")
        self.change("UPDATE sqlite_master SET sql = sql || ' ' WHERE name = 'names'")
        self.connection.execute("PRAGMA writable_schema = OFF")
        self.assert_by_copy()

    def test_blob(self) -> None:
        with self.connection.blobopen("exact", "x", 2) as blob:
            blob.write(b"!!")
        self.connection.commit()
        self.assertNotEqual(contents(self.copy.connection), self.as_built)
        self.assert_by_copy()

    def test_backup_from_elsewhere(self) -> None:
        with closing(sqlite3.connect(":memory:")) as other:
            other.execute("CREATE TABLE elsewhere (id)")
            other.backup(self.connection)
        self.assertNotEqual(contents(self.copy.connection), self.as_built)
        self.assert_by_copy()

    def test_another_process(self) -> None:
        [(_, _, path)] = self.connection.execute("PRAGMA database_list")
        for _ in range(2):  # from now on the file is known
            self.version = self.schema_version()
            code = (
                "import sqlite3, sys; c = sqlite3.connect(sys.argv[1])\n"
                "c.execute('DELETE FROM pairs'); c.commit()"
            )
            subprocess.run([sys.executable, "-c", code, path], check=True)
            self.assertNotEqual(contents(self.copy.connection), self.as_built)
            self.assert_by_copy()

    def test_locked_by_somebody_unknown(self) -> None:
        [(_, _, path)] = self.connection.execute("PRAGMA database_list")
        self.copy.connection.execute("PRAGMA busy_timeout = 0")
        with closing(sqlite3.connect(path)) as other:
            self.change("DELETE FROM pairs")
            other.execute("DELETE FROM log")
            self.assertFalse(self.copy.restore(self.committed, reset_sequences=False))

    def test_attached_under_another_name(self) -> None:
        [(_, _, path)] = self.connection.execute("SELECT * FROM pragma_database_list")
        self.connection.execute("ATTACH ? AS same", (path,))
        self.change("DELETE FROM same.pairs")
        self.assert_by_copy()

    def test_more_rows_than_pages_are_copied(self) -> None:
        many = range(self.connection.execute("PRAGMA page_count").fetchone()[0] + 1)
        self.committed.connection.executemany("INSERT INTO log VALUES (?)", [("x",) for _ in many])
        self.as_built = contents(self.committed.connection)
        self.change("DELETE FROM log")  # the original has changed: all is copied
        self.assert_by_copy()
        self.version = self.schema_version()
        self.change("DELETE FROM log")  # again, by its size
        self.assert_by_copy()
        self.version = self.schema_version()
        self.change("DELETE FROM pairs")
        self.assert_by_tables()

    def test_function_that_only_the_application_has(self) -> None:
        build = (
            "CREATE TABLE shouted (a TEXT); CREATE INDEX loud ON shouted (shout(a));"
            " INSERT INTO shouted VALUES ('a')"
        )
        with closing(self.committed.connect(is_async=False)) as own:
            own.create_function("shout", 1, str.upper, deterministic=True)
            own.executescript(build)
        copy = self.backend.create(self.committed, isolation="truncation")
        self.addCleanup(copy.drop)
        with closing(copy.connect(is_async=False)) as connection:
            connection.create_function("shout", 1, str.upper, deterministic=True)
            for _ in range(2):
                connection.execute("INSERT INTO shouted VALUES ('b')")
                connection.commit()
                copy.restore(self.committed, reset_sequences=False)
                rows = connection.execute("SELECT a FROM shouted").fetchall()
                self.assertEqual(rows, [("a",)])


class Reused(unittest.TestCase):
    """The next test has the connection of the last one, unless that was altered."""

    def passes(self, change: Any, *, kept: bool, engine: Any = app_engine) -> None:
        """Run tests of which one does ``change`` with the driver's connection."""
        seen: list[Any] = []

        class Case(DatabaseTestCase):
            database = "sqlite://"
            metadata = Base.metadata
            engines = [engine]
            isolation = "truncation"

            def raw(self) -> Any:
                with Session(app_engine) as session:
                    connection = session.connection().connection.driver_connection
                    seen.append(connection)
                    return connection

            def test_1_changes(self) -> None:
                register("bob")
                change(self.raw())

            def test_2_is_clean(self) -> None:
                self.assertDatabaseCount(User, 0)
                raw = self.raw()
                self.assertEqual(raw.execute("PRAGMA recursive_triggers").fetchone(), (0,))
                attached = [row[1] for row in raw.execute("PRAGMA database_list")]
                self.assertEqual(attached, ["main"])
                self.assertIsNone(raw.row_factory)
                self.assertEqual(raw.execute("SELECT count(*) FROM users").fetchone(), (0,))
                for statement in ("SELECT mine()", "SELECT * FROM mine"):
                    with self.assertRaisesRegex(sqlite3.OperationalError, "no such"):
                        raw.execute(statement)

        inner.passed(self, inner.run(Case), 2)
        self.assertEqual(seen[0] is seen[1], kept)

    def test_unaltered(self) -> None:
        self.passes(lambda raw: raw.execute("PRAGMA table_info(users)"), kept=True)

    def test_pragma(self) -> None:
        self.passes(lambda raw: raw.execute("PRAGMA recursive_triggers = ON"), kept=False)

    def test_attached(self) -> None:
        self.passes(lambda raw: raw.execute("ATTACH ':memory:' AS other"), kept=False)

    def test_temporary_table(self) -> None:
        self.passes(lambda raw: raw.execute("CREATE TEMP TABLE mine (id)"), kept=False)

    def test_function(self) -> None:
        self.passes(lambda raw: raw.create_function("mine", 0, lambda: 1), kept=False)

    def test_row_factory(self) -> None:
        self.passes(lambda raw: setattr(raw, "row_factory", sqlite3.Row), kept=False)

    def test_cursor_that_is_being_read(self) -> None:
        cursors = []

        def read(raw: Any) -> None:
            cursor = raw.execute(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                " LIMIT 1000) SELECT i, name FROM n, users"
            )
            cursor.fetchone()
            cursors.append(cursor)

        self.passes(read, kept=True)

    def test_listener_sets_up_a_connection_once(self) -> None:
        class Case(DatabaseTestCase):
            database = "sqlite://"
            metadata = Base.metadata
            engines = [app_engine]
            isolation = "truncation"

            def check(self) -> None:
                register("bob")
                with Session(app_engine) as session:
                    self.assertEqual(session.scalar(text("SELECT answer()")), 42)
                    self.assertEqual(session.scalar(text("PRAGMA recursive_triggers")), 1)

            test_1 = test_2 = check

        opened = []

        @event.listens_for(app_engine, "connect")
        def set_up(connection: Any, record: object) -> None:
            opened.append(connection)
            connection.create_function("answer", 0, lambda: 42)
            connection.execute("PRAGMA recursive_triggers = ON")

        self.addCleanup(event.remove, app_engine, "connect", set_up)
        inner.passed(self, inner.run(Case), 2)
        self.assertEqual(len(opened), 1)

    def test_async(self) -> None:
        class Case(AsyncDatabaseTestCase):
            database = "sqlite://"
            metadata = Base.metadata
            engines = [app_async_engine]
            isolation = "truncation"

            async def test_1_changes(self) -> None:
                await register_async("bob")
                await self.session.execute(text("PRAGMA recursive_triggers = ON"))

            async def test_2_is_clean(self) -> None:
                await self.assertDatabaseCount(User, 0)
                found = await self.session.scalar(text("PRAGMA recursive_triggers"))
                self.assertEqual(found, 0)
                await register_async("bob")

            async def test_3_is_clean(self) -> None:
                await self.assertDatabaseCount(User, 0)

        inner.passed(self, inner.run(Case), 3)

    def test_class_data_and_isolations_side_by_side(self) -> None:
        from dbtestcase import isolation

        class Case(DatabaseTestCase):
            database = "sqlite://"
            metadata = Base.metadata
            engines = [app_engine]

            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                session.execute(insert(User), [{"name": "alice"}, {"name": "carl"}])

            def check(self) -> None:
                self.assertDatabaseCount(User, 2)
                register("bob")
                with Session(app_engine) as session:
                    session.execute(text("DELETE FROM users WHERE name = 'alice'"))
                    session.commit()
                self.assertDatabaseCount(User, 2)

            @isolation("truncation")
            def test_1(self) -> None:
                self.check()

            def test_2(self) -> None:
                self.check()

            @isolation("template")
            def test_3(self) -> None:
                self.check()

            test_4 = test_1
            test_5 = test_1

        inner.passed(self, inner.run(Case), 5)
