"""What migrations have built on MariaDB or MySQL is copied, where that is exact."""

from __future__ import annotations

import contextlib
import unittest
from typing import Any

from sqlalchemy.engine import Connection

from dbtestcase.backends import backend_for
from dbtestcase.backends.mysql_catalog import Catalog
from dbtestcase.backends.mysql_copies import all_of, restoring
from dbtestcase.backends.server import Target

from .mysql import drop_what_is_kept, understood
from .servers import MYSQL, needs_mysql

tearDownModule = drop_what_is_kept

EVERYTHING = [
    "CREATE TABLE authors (id INTEGER PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50) NOT NULL"
    " DEFAULT 'a''b' COMMENT 'it''s', CONSTRAINT named CHECK (name <> ''), UNIQUE (name))"
    " COMMENT 'those who write' DEFAULT CHARSET utf8mb3",
    "CREATE TABLE books (id INTEGER PRIMARY KEY AUTO_INCREMENT, author INTEGER NOT NULL,"
    " title TEXT, letters INTEGER AS (length(title)) STORED, added DATETIME(3) DEFAULT now(3),"
    " FOREIGN KEY (author) REFERENCES authors (id) ON DELETE CASCADE, FULLTEXT (title))",
    "CREATE TABLE `odd ``name` (`a.b` INTEGER) PARTITION BY HASH (`a.b`) PARTITIONS 3",
    "INSERT INTO authors (name) VALUES ('Ann'), ('Bob'), ('%s')",
    "DELETE FROM authors WHERE name = 'Bob'",
    "INSERT INTO books (author, title) VALUES (1, 'one')",
    "INSERT INTO `odd ``name` VALUES (1), (2), (NULL)",
    "CREATE VIEW second_ AS SELECT id, name FROM authors",
    "CREATE VIEW first AS SELECT * FROM second_",
    "CREATE TRIGGER loud BEFORE INSERT ON authors FOR EACH ROW SET NEW.name = upper(NEW.name)",
    "CREATE PROCEDURE adds() INSERT INTO authors (name) VALUES ('new')",
    "CREATE FUNCTION twice(x INTEGER) RETURNS INTEGER DETERMINISTIC RETURN 2 * x",
    "CREATE EVENT weekly ON SCHEDULE EVERY 1 WEEK DISABLE DO DELETE FROM books",
]

# What is not copied, as nobody could tell whether the copy is the same.
UNCOPIED = {
    "a sequence that is used up": "CREATE SEQUENCE extra5 MAXVALUE 2 NOCACHE;"
    "SELECT NEXT VALUE FOR extra5; SELECT NEXT VALUE FOR extra5",
    "history": "CREATE TABLE extra5 (id INTEGER) WITH SYSTEM VERSIONING",
    "of the database": "ALTER DATABASE DEFAULT CHARACTER SET ucs2",
    "the session of a trigger": "SET NAMES cp850;"
    "CREATE TRIGGER other BEFORE INSERT ON notes FOR EACH ROW SET NEW.id = 1",
    "refused by the server": "SET SESSION check_constraint_checks = 0;"
    "CREATE TABLE extra5 (id INTEGER CHECK (id > 1)); INSERT INTO extra5 VALUES (1)",
}

COUNTING = [
    "CREATE TABLE notes (id INTEGER PRIMARY KEY AUTO_INCREMENT)",
    "INSERT INTO notes VALUES (7)",
    "DELETE FROM notes",
    "CREATE TABLE letters (id INTEGER PRIMARY KEY AUTO_INCREMENT)",
    "ALTER TABLE letters AUTO_INCREMENT = 70",
    "CREATE SEQUENCE unused START WITH 3",
    "CREATE SEQUENCE used",
    "SELECT NEXT VALUE FOR used",
]
COUNTING_FURTHER = [
    "INSERT INTO notes VALUES (), ()",
    "SELECT NEXT VALUE FOR unused",
    "SELECT NEXT VALUE FOR used",
]

# What comes next in a database that was built by these.
COUNTED = {
    "INSERT INTO notes VALUES () RETURNING id": 8,
    "INSERT INTO letters VALUES () RETURNING id": 70,
    "SELECT NEXT VALUE FOR unused": 3,
    "SELECT NEXT VALUE FOR used": 2,
}

_ROWS = "SELECT * FROM {}"


class Built:
    """What executes ``statements``, and counts how often it does."""

    def __init__(self, *statements: str) -> None:
        self.count = 0
        self._statements = statements

    def __call__(self, connection: Connection) -> None:
        self.count += 1
        with connection.connection.cursor() as cursor:
            for statement in self._statements:
                cursor.execute(statement)


@needs_mysql
class Copies(unittest.TestCase):
    def setUp(self) -> None:
        self.backend: Any = backend_for(MYSQL)
        self.backend.source(is_async=False)

    def template(self, build: Built) -> Any:
        return self.backend.lasting_template(self.id(), build, rebuild=True)

    def copied(self, template: Any) -> Any:
        """Return a database that is dropped at the end of the test, unless it was before."""
        copy = self.backend.create(template, isolation="transaction")
        self.addCleanup(lambda: copy.target.name in self.backend._pool.in_use() and copy.drop())
        return copy

    def content(self, database: Any) -> object:
        """Return all that the server says of a database, and its rows."""
        connection: Any = self.backend.open(database.target, is_async=False)
        try:
            catalog = Catalog(database.target.name, restoring(connection))
            rows = {
                table: sorted(map(repr, catalog.execute(_ROWS.format(catalog.quoted(table)))))
                for table in catalog.columns
            }
            return all_of(catalog), rows
        finally:
            connection.close()

    def scalar(self, database: Any, statement: str) -> Any:
        """Return what ``statement`` does, which is undone."""
        connection: Any = self.backend.open(database.target, is_async=False)
        with contextlib.closing(connection), contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0]

    def execute(self, database: Any, *statements: str) -> None:
        connection = database.connect(is_async=False)
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()
        connection.commit()

    def test_everything_is_copied(self) -> None:
        build = Built(*EVERYTHING)
        template = self.template(build)
        copy = self.copied(template)
        self.assertEqual(build.count, 1)
        self.assertNotEqual(copy.target.name, template.target.name)
        self.maxDiff = None
        self.assertEqual(self.content(copy), self.content(template))

    def test_what_a_test_has_altered_is_put_back(self) -> None:
        build = Built(*EVERYTHING)
        template = self.template(build)
        copy = self.copied(template)
        before = self.content(copy)
        self.execute(
            copy,
            "ALTER TABLE books ADD COLUMN more INTEGER",
            "DROP VIEW first",
            "DROP TABLE `odd ``name`",
            "CREATE TABLE added (id INTEGER, FOREIGN KEY (id) REFERENCES authors (id))",
            "INSERT INTO authors (name) VALUES ('x')",
            "DROP TRIGGER loud",
        )
        self.assertNotEqual(self.content(copy), before)
        copy.drop()
        again = self.copied(template)
        self.assertEqual((again.target.name, build.count), (copy.target.name, 1))
        self.assertEqual(self.content(again), before)

    def test_what_was_altered_for_good_is_dropped(self) -> None:
        build = Built("CREATE TABLE notes (id INTEGER)")
        template = self.template(build)
        copy = self.copied(template)
        before = self.content(copy)
        name = f"`{copy.target.name}`"
        self.execute(copy, f"ALTER DATABASE {name} DEFAULT CHARACTER SET ucs2")
        copy.drop()
        self.assertEqual(self.content(self.copied(template)), before)
        self.assertEqual(build.count, 1)

    def test_what_others_write_meanwhile_is_not_copied(self) -> None:
        build = Built("CREATE TABLE notes (id INTEGER)", "INSERT INTO notes VALUES (1)")
        template = self.template(build)
        connection: Any = self.backend.open(Target(template.target.name), is_async=False)
        self.addCleanup(connection.close)
        cursor = connection.cursor()
        cursor.execute("UPDATE notes SET id = 2")
        copy = self.copied(template)
        connection.rollback()
        self.assertEqual(self.content(copy), self.content(template))
        self.assertEqual(build.count, 1)

    def test_what_sequences_and_counters_go_on_with(self) -> None:
        build = Built(*understood(COUNTING))
        template = self.template(build)
        copies = [self.copied(template) for _ in range(2)]
        self.assertEqual(build.count, 1)
        for database in (template, *copies):
            for statement, number in COUNTED.items():
                if understood([statement]):
                    self.assertEqual(self.scalar(database, statement), number)

    def test_what_tests_that_were_undone_have_counted_is_not_copied(self) -> None:
        build = Built(*understood(COUNTING))
        template = self.template(build)
        before = self.content(template)
        lent = self.backend.create(template)
        connection: Any = self.backend.open(lent.target, is_async=False)
        self.addCleanup(connection.close)
        cursor = connection.cursor()
        for statement in understood(COUNTING_FURTHER):
            cursor.execute(statement)
        connection.rollback()
        lent.drop()
        self.assertNotEqual(self.content(template), before)
        copy = self.copied(template)
        self.assertEqual(self.content(copy), before)
        self.execute(copy, "ALTER TABLE notes ADD COLUMN more INTEGER")
        copy.drop()
        self.assertEqual(self.content(self.copied(template)), before)
        self.assertEqual(build.count, 1)

    def test_what_may_not_be_as_it_was_built_is_not_copied(self) -> None:
        build = Built("CREATE TABLE notes (id INTEGER)")
        template = self.template(build)
        lent = self.backend.create(template)
        self.assertEqual(lent.target.name, template.target.name)
        self.backend.suspect(lent.target.name)
        self.copied(template)
        self.assertEqual(build.count, 2)
        self.backend.give_back(lent.target.name, broken=True)

    def test_what_cannot_be_copied_is_built_again(self) -> None:
        for what, statements in UNCOPIED.items():
            with self.subTest(what):
                if not understood([statements]):
                    continue
                build = Built("CREATE TABLE notes (id INTEGER)", *statements.split(";"))
                template = self.template(build)
                copy = self.copied(template)
                self.assertEqual(build.count, 2)
                self.assertEqual(len(self.content(copy)[1]), len(self.content(template)[1]))  # type: ignore[index]
                copy.drop()
