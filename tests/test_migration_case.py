"""What ``MigrationTestCase`` finds in histories, and how it says so."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import unittest
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from dbtestcase import (
    AsyncMigrationTestCase,
    DatabaseTestCase,
    MigrationTestCase,
    OptionError,
    UsageError,
)

from . import inner
from .histories import History, library, write_library
from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql

CREATE = "op.create_table({!r}, sa.Column('id', sa.Integer, primary_key=True), {})"
NAME = "sa.Column('name', sa.String(20))"

HEAD = "test_history_has_a_single_head"
ORPHANS = "test_history_has_no_orphaned_revision"
UPGRADE = "test_every_revision_upgrades_from_empty"
DOWNGRADE = "test_every_revision_downgrades_and_upgrades_again"
ROWS = "test_every_revision_upgrades_tables_with_rows"
MODELS = "test_models_match_the_migrated_schema"
ALL = {HEAD, ORPHANS, UPGRADE, DOWNGRADE, ROWS, MODELS}


class WithHistory(unittest.TestCase):
    database = "sqlite://"

    def setUp(self) -> None:
        directory = self.enterContext(inner.directory())
        self.enterContext(mock.patch.dict(os.environ, XDG_CACHE_HOME=str(directory / "cache")))
        self.history = History(directory)
        self.options: dict[str, Any] = {
            "database": self.database,
            "migrations": self.history.ini,
            MODELS: None,
        }

    def run_all(self, **attributes: Any) -> unittest.TestResult:
        case = type("Case", (MigrationTestCase,), {**self.options, **attributes})
        return inner.run(case)

    def failures(self, **attributes: Any) -> dict[str, str]:
        """Return what the tests that fail say, by their names."""
        result = self.run_all(**attributes)
        return {
            re.sub(r" \(\w+\.[\w.]+\)", "", str(test)): message
            for test, message in result.failures + result.errors
        }


class Selection(unittest.TestCase):
    """Which tests a class has."""

    def names(self, case: type[unittest.TestCase]) -> set[str]:
        return set(unittest.defaultTestLoader.getTestCaseNames(case))

    def test_imported_class_has_none(self) -> None:
        self.assertEqual(self.names(MigrationTestCase), set())

    def test_class_without_migrations_has_none(self) -> None:
        class Base(MigrationTestCase):
            database = "sqlite://"

        class Case(Base):
            migrations = "alembic.ini"

        self.assertEqual(self.names(Base), set())
        self.assertEqual(self.names(Case), ALL)

    def test_several_databases_are_refused(self) -> None:
        """Which of them would be migrated, and tested, nobody could tell."""
        databases = {"default": {}, "ledger": {"migrations": "alembic.ini"}}
        for base in (MigrationTestCase, AsyncMigrationTestCase):
            with self.assertRaises(OptionError) as caught:
                type("Case", (base,), {"databases": databases, "__module__": "shop"})
            for message in (
                "shop.Case: ",
                "the class has ['default', 'ledger']",
                "To fix this, write a class for each",
                "databases = None",
            ):
                self.assertIn(message, str(caught.exception))

    def test_class_data_is_refused(self) -> None:
        """It would be in the database that a test leaves when it migrates."""

        def hook(cls: Any, session: Any) -> None: ...

        async def async_hook(cls: Any, session: Any) -> None: ...

        for base, name, function in (
            (MigrationTestCase, "setUpTestData", hook),
            (AsyncMigrationTestCase, "setUpTestData", hook),
            (AsyncMigrationTestCase, "asyncSetUpTestData", async_hook),
        ):
            with self.subTest(base.__name__, hook=name):
                with self.assertRaises(OptionError) as caught:
                    type("Case", (base,), {name: classmethod(function), "__module__": "shop"})
                self.assertIn(f"shop.Case: {name} ", str(caught.exception))
                self.assertIn("To fix this, ", str(caught.exception))

    def test_databases_of_a_mixin_can_be_undone(self) -> None:
        class Shop(DatabaseTestCase):
            databases = {"default": {}, "ledger": {}}

        class Case(MigrationTestCase, Shop):
            databases = None
            migrations = "alembic.ini"

        self.assertEqual(self.names(Case), ALL)

    def test_one_can_be_left_out_or_replaced(self) -> None:
        class Case(MigrationTestCase):
            migrations = "alembic.ini"
            test_every_revision_upgrades_tables_with_rows = None

            def test_models_match_the_migrated_schema(self) -> str:
                return "mine"

        self.assertEqual(self.names(Case), ALL - {ROWS})
        self.assertEqual(Case(MODELS).test_models_match_the_migrated_schema(), "mine")

    def test_all_can_be_left_out(self) -> None:
        class Case(MigrationTestCase):
            migrations = "alembic.ini"

        class OneMigration(Case):
            standard_tests = False

            def test(self) -> None: ...

        self.assertEqual(self.names(OneMigration), {"test"})
        self.assertEqual(self.names(Case), ALL)

    def test_asynchronous_class_has_none(self) -> None:
        class Case(AsyncMigrationTestCase):
            migrations = "alembic.ini"

        self.assertEqual(self.names(Case), set())

    def test_ids_are_readable(self) -> None:
        class Case(MigrationTestCase):
            migrations = "alembic.ini"

        self.assertEqual(str(Case(HEAD)), f"{HEAD} ({__name__}.{Case.__qualname__}.{HEAD})")
        self.assertTrue(Case(HEAD).shortDescription())


class History_(WithHistory):  # noqa: N801
    def test_everything_is_right(self) -> None:
        write_library(self.history)
        options = {"metadata": library, MODELS: MigrationTestCase}
        del options[MODELS], self.options[MODELS]
        self.assertEqual(self.failures(**options), {})

    def test_two_heads(self) -> None:
        self.history.write("a1", None)
        self.history.write("b1", "a1", doc="One")
        path = self.history.write("b2", "a1", doc="Other")
        found = self.failures()
        self.assertEqual(set(found), {HEAD})
        self.assertIn("2 revisions are heads", found[HEAD])
        self.assertIn(f'\n  b2 (Other), File "{path}"', found[HEAD])
        self.assertIn("alembic merge heads", found[HEAD])

    def test_two_heads_of_labelled_branches(self) -> None:
        self.history.write("a1", None)
        self.history.write("b1", "a1", label="one")
        self.history.write("b2", "a1", label="other")
        self.assertEqual(self.failures(), {})

    def test_two_beginnings(self) -> None:
        self.history.write("a1", None)
        self.history.write("a2", None)
        self.history.write("b1", ("a1", "a2"))
        found = self.failures()
        self.assertEqual(set(found), {ORPHANS})
        self.assertIn("2 revisions have down_revision = None", found[ORPHANS])

    def test_revision_that_nobody_reads(self) -> None:
        self.history.write("a1", None)
        forgotten = self.history.scripts / "versions" / "old"
        path = self.history.write("a0", None, directory=forgotten)
        found = self.failures()
        self.assertEqual(set(found), {ORPHANS})
        self.assertIn(f'"{path.resolve()}" looks like a revision', found[ORPHANS])

    def test_revision_that_follows_nothing_there_is(self) -> None:
        self.history.write("a1", None)
        self.history.write("b1", "a0")
        found = self.failures()
        self.assertIn("a0", found[ORPHANS])

    def test_revision_that_is_there_twice(self) -> None:
        self.history.write("a1", None)
        path = self.history.scripts / "versions" / "a1.py"
        path.with_name("copy.py").write_text(path.read_text())
        self.assertIn("2 files have revision = 'a1'", self.failures()[ORPHANS])


class Failing(WithHistory):
    """Histories that fail on each kind of server as they do on SQLite."""

    def test_upgrade_fails(self) -> None:
        self.history.write("a1", None, CREATE.format("notes", NAME), "op.drop_table('notes')")
        path = self.history.write("b1", "a1", "op.execute('ALTER TABLE noes ADD x INT')", doc="Bad")
        found = self.failures()
        failing = f"{DOWNGRADE} (revision='b1 (Bad)')"
        self.assertEqual(set(found), {UPGRADE, failing, ROWS})
        for message in found.values():
            self.assertIn("Raised by the upgrade of revision b1 (Bad)", message)
            self.assertIn(f'File "{path.resolve()}", line 13, in upgrade: op.execute', message)
            self.assertIn("by the SQL:\n    ALTER TABLE noes ADD x INT", message)

    def test_downgrades_fail_and_the_others_are_tried(self) -> None:
        self.history.write("a1", None, CREATE.format("notes", NAME), "op.drop_table('notes')")
        self.history.write("b1", "a1", CREATE.format("one", NAME), "op.drop_table('two')")
        self.history.write("c1", "b1", CREATE.format("three", NAME), "op.drop_table('three')")
        self.history.write("d1", "c1", CREATE.format("four", NAME), "pass")
        check = "assert op.get_context().get_current_heads() == ('d1',)\n"
        self.history.write("e1", "d1", check + CREATE.format("five", NAME), "op.drop_table('five')")
        found = self.failures()
        names = [f"{DOWNGRADE} (revision='{name}')" for name in ("b1", "d1")]
        self.assertEqual(list(found), names)
        self.assertIn("Raised by the downgrade of revision b1", found[names[0]])
        self.assertNotIn("its downgrade has left", found[names[0]])
        self.assertIn("Raised by the upgrade of revision d1", found[names[1]])
        self.assertIn("its downgrade has left something", found[names[1]])
        self.assertIn("To fix this, let downgrade() undo", found[names[1]])

    def test_rows_that_cannot_be_made_up(self) -> None:
        column = "sa.Column('state', sa.String(9), sa.CheckConstraint(\"state = 'open'\"))"
        self.history.write("a1", None, CREATE.format("orders", column), "op.drop_table('orders')")
        self.history.write("b1", "a1")
        found = self.failures()
        self.assertEqual(set(found), {ROWS})
        self.assertIn("Cannot make up a row for the table orders: ", found[ROWS])
        self.assertIn("sample_rows = {'orders': {\"column\": value}}", found[ROWS])
        self.assertEqual(self.failures(sample_rows={"orders": {"state": "open"}}), {})
        self.assertEqual(self.failures(sample_rows={"orders": None}), {})

    def test_models_that_differ(self) -> None:
        write_library(self.history)
        self.history.write(
            "d1", "c1", CREATE.format("legacy_notes", NAME), "op.drop_table('legacy_notes')"
        )
        del self.options[MODELS]
        found = self.failures(metadata=library)
        self.assertEqual(set(found), {MODELS})
        self.assertIn("op.drop_table('legacy_notes')", found[MODELS])
        self.assertEqual(self.failures(metadata=library, compare_exclude=["legacy_*"]), {})

    def test_column_without_a_default(self) -> None:
        """What an empty database does not show."""
        self.history.write("a1", None, CREATE.format("notes", NAME), "op.drop_table('notes')")
        self.history.write(
            "b1",
            "a1",
            "with op.batch_alter_table('notes') as notes:\n"
            "    notes.add_column(sa.Column('more', sa.String(5), nullable=False))",
            "with op.batch_alter_table('notes') as notes:\n    notes.drop_column('more')",
        )
        found = self.failures()
        self.assertEqual(set(found), {ROWS})
        self.assertIn("Raised by the upgrade of revision b1", found[ROWS])
        self.assertIn("not null", found[ROWS].lower().replace("-", " "))

    def test_downgrade_that_gives_up(self) -> None:
        """What cannot be taken back is said of that revision, and of no other."""
        self.history.write("a1", None, CREATE.format("notes", NAME), "op.drop_table('notes')")
        path = self.history.write("b1", "a1", "pass", "raise NotImplementedError('no way back')")
        self.history.write("c1", "b1", CREATE.format("more", NAME), "op.drop_table('more')")
        found = self.failures()
        failing = f"{DOWNGRADE} (revision='b1')"
        self.assertEqual(set(found), {failing})
        self.assertIn("NotImplementedError: no way back", found[failing])
        self.assertIn("Raised by the downgrade of revision b1", found[failing])
        self.assertIn(f'File "{path.resolve()}", line 17, in downgrade', found[failing])


@needs_postgresql
class FailingOnPostgreSQL(Failing):
    database = POSTGRESQL


@needs_mysql
class FailingOnMariaDB(Failing):
    """Where DDL commits, so that a revision that fails has been done in part."""

    database = MYSQL

    def test_column_without_a_default(self) -> None:
        """Which has one by itself here; what that refers to is not there."""
        self.history.write("a1", None, CREATE.format("notes", NAME), "op.drop_table('notes')")
        self.history.write(
            "b1",
            "a1",
            "column = sa.Column('parent', sa.Integer, nullable=False)\n"
            "op.add_column('notes', column)\n"
            "op.create_foreign_key('parent_of', 'notes', 'notes', ['parent'], ['id'])",
            "op.drop_constraint('parent_of', 'notes', type_='foreignkey')\n"
            "op.drop_column('notes', 'parent')",
        )
        found = self.failures()
        self.assertEqual(set(found), {ROWS})
        self.assertIn("Raised by the upgrade of revision b1", found[ROWS])
        self.assertIn("a foreign key constraint fails", found[ROWS])


class Running(WithHistory):
    def test_rows_refer_to_each_other(self) -> None:
        self.history.write(
            "a1",
            None,
            CREATE.format("parent", NAME)
            + "\n"
            + CREATE.format("child", "sa.Column('p', sa.Integer, sa.ForeignKey('parent.id'))"),
            "op.drop_table('child')\nop.drop_table('parent')",
        )
        check = (
            "op.execute('CREATE TABLE seen AS SELECT p FROM child JOIN parent ON p = parent.id')"
        )
        count = "assert len(op.get_bind().execute(sa.text('SELECT * FROM seen')).all()) == rows"
        self.history.write(
            "b1",
            "a1",
            "rows = op.get_bind().execute(sa.select(sa.func.count(sa.column('p')))"
            ".select_from(sa.table('child'))).scalar()\n"
            f"{check}\n{count}",
            "op.drop_table('seen')",
        )
        self.assertEqual(self.failures(), {})

    @needs_postgresql
    def test_type_that_a_downgrade_has_left(self) -> None:
        """As autogenerate leaves it; in one run, Alembic would not create it again."""
        state = "sa.Column('state', sa.Enum('open', 'paid', name='state'))"
        self.history.write("a1", None, CREATE.format("orders", state), "op.drop_table('orders')")
        self.history.write("b1", "a1", CREATE.format("more", NAME), "op.drop_table('more')")
        found = self.failures(database=POSTGRESQL)
        failing = f"{DOWNGRADE} (revision='a1')"
        self.assertEqual(set(found), {failing})
        self.assertIn('type "state" already exists', found[failing])
        self.assertIn("its downgrade has left something", found[failing])

    @needs_postgresql
    def test_type_that_a_downgrade_drops(self) -> None:
        state = "sa.Column('state', sa.Enum('open', 'paid', name='state'))"
        drop = "op.drop_table('orders')\nsa.Enum(name='state').drop(op.get_bind())"
        self.history.write("a1", None, CREATE.format("orders", state), drop)
        self.history.write("b1", "a1", CREATE.format("more", NAME), "op.drop_table('more')")
        self.assertEqual(self.failures(database=POSTGRESQL), {})

    @needs_postgresql
    def test_rows_in_other_schemas(self) -> None:
        """Tables of the same name may be in several, and refer to each other."""
        parent = CREATE.format("parent", NAME)
        reference = "sa.Column('p', sa.Integer, sa.ForeignKey('billing.parent.id'))"
        child = CREATE.format("child", reference)
        self.history.write(
            "a1",
            None,
            "op.execute('CREATE SCHEMA billing')\n"
            f"{parent}\n{parent[:-1]}, schema='billing')\n{child[:-1]}, schema='billing')",
            "op.execute('DROP SCHEMA billing CASCADE')\nop.drop_table('parent')",
        )
        column = "sa.Column('more', sa.Integer, nullable=False)"
        self.history.write(
            "b1",
            "a1",
            f"op.add_column('child', {column}, schema='billing')",
            "op.drop_column('child', 'more', schema='billing')",
        )
        found = self.failures(database=POSTGRESQL)
        self.assertEqual(set(found), {ROWS})
        self.assertIn('column "more" of relation "child" contains null values', found[ROWS])

    @needs_postgresql
    def test_table_of_alembic_in_another_schema_has_no_row_of_ours(self) -> None:
        self.history.write("a1", None, CREATE.format("notes", NAME), "op.drop_table('notes')")
        rows = "op.get_bind().execute(sa.text('SELECT * FROM ops.alembic_version')).all()"
        self.history.write("b1", "a1", f"assert {rows} == [('a1',)]")
        said = self.history.env_py.read_text()
        old = "        context.configure(\n            connection=connection, "
        self.assertIn(old, said)
        new = (
            "        connection.exec_driver_sql('CREATE SCHEMA IF NOT EXISTS ops')\n"
            f"        connection.commit()\n{old}version_table_schema='ops', "
        )
        self.history.env_py.write_text(said.replace(old, new))
        self.assertEqual(self.failures(database=POSTGRESQL), {})

    @needs_postgresql
    def test_rows_that_cannot_be_made_up_in_another_schema(self) -> None:
        column = "sa.Column('state', sa.String(9), sa.CheckConstraint(\"state = 'open'\"))"
        create = CREATE.format("orders", column)
        self.history.write(
            "a1",
            None,
            f"op.execute('CREATE SCHEMA billing')\n{create[:-1]}, schema='billing')",
            "op.execute('DROP SCHEMA billing CASCADE')",
        )
        self.history.write("b1", "a1")
        found = self.failures(database=POSTGRESQL)
        self.assertEqual(set(found), {ROWS})
        self.assertIn("Cannot make up a row for the table billing.orders: ", found[ROWS])
        self.assertIn("sample_rows = {'billing.orders': {\"column\": value}}", found[ROWS])
        rows = {"billing.orders": {"state": "open"}}
        self.assertEqual(self.failures(database=POSTGRESQL, sample_rows=rows), {})

    def test_env_py_that_fails(self) -> None:
        self.history.write("a1", None)
        self.history.env_py.write_text("missing")
        failures = self.failures()
        self.assertEqual(set(failures), {UPGRADE, DOWNGRADE, ROWS})
        where = (
            f'Raised by env.py, at\nFile "{self.history.env_py}", line 1, in <module>: missing\n'
        )
        for message in failures.values():
            self.assertIn(where, message)

    @needs_postgresql
    def test_statements_outside_of_transactions(self) -> None:
        self.history.write("a1", None, CREATE.format("notes", NAME), "op.drop_table('notes')")
        self.history.write(
            "b1",
            "a1",
            "with op.get_context().autocommit_block():\n"
            "    op.create_index('ix', 'notes', ['name'], postgresql_concurrently=True)",
            "op.drop_index('ix', 'notes')",
        )
        self.assertEqual(self.failures(database=POSTGRESQL), {})

    @needs_postgresql
    def test_each_revision_has_a_transaction_of_its_own(self) -> None:
        """As if it were deployed by itself, whatever env.py says."""
        txid = "op.get_bind().execute(sa.text('SELECT txid_current()')).scalar()"
        save = f"op.execute(f\"COMMENT ON TABLE notes IS '{{{txid}}}'\")"
        self.history.write(
            "a1", None, CREATE.format("notes", NAME) + f"\n{save}", "op.drop_table('notes')"
        )
        saved = "sa.inspect(op.get_bind()).get_table_comment('notes')['text']"
        other = f"assert {saved} != str({txid})\n{save}"
        self.history.write("b1", "a1", other, other)
        self.assertEqual(self.failures(database=POSTGRESQL, **{UPGRADE: None}), {})


class Using(WithHistory):
    """What a test may do, and what it is told when it may not."""

    def setUp(self) -> None:
        super().setUp()
        write_library(self.history)
        self.options["standard_tests"] = False

    def error(self, test: Any) -> str:
        return inner.only_error(self, self.run_all(test=test))

    def test_session_first(self) -> None:
        def test(case: MigrationTestCase) -> None:
            _ = case.session
            case.migrate_to("a1")

        self.assertIn("migrate_to() was called after self.session", self.error(test))

    def test_no_migrations(self) -> None:
        self.options["migrations"] = None
        self.assertIn("migrations is not set", self.error(lambda case: case.migrate_to("a1")))

    def test_unknown_revision(self) -> None:
        error = self.error(lambda case: case.migrate_to("c11"))
        self.assertIn("UsageError", error)
        self.assertIn("'c11'; did you mean 'c1'?", error)

    def test_revision_without_a_function(self) -> None:
        wrong = [("d1", "c1", "downgrade"), ("e1", "d1", "upgrade")]
        for revision, after, missing in wrong:
            path = self.history.write(revision, after, doc="Nothing")
            path.write_text(path.read_text().replace(f"def {missing}()", "def other()"))
        for revision, _, missing in wrong:

            def test(case: MigrationTestCase, revision: str = revision) -> None:
                case.migrate_to(revision)
                case.migrate_to("-1")

            error = self.error(test)
            self.assertIn(f"revision {revision} (Nothing) has no {missing}(), in\nFile ", error)
            self.assertIn(f'/{revision}.py"\n  To fix this, write it', error)
            self.assertNotIn("Raised by env.py", error)

    def test_several_revisions(self) -> None:
        begin = "UsageError: migrations = .*alembic.ini': "
        for wrong, first, second in (("a1+2", "a1", "+2"), ("a1:c1", "a1", "c1")):
            error = self.error(lambda case, wrong=wrong: case.migrate_to(wrong))
            self.assertRegex(
                error, f"{begin}migrate_to takes one .*, and {re.escape(repr(wrong))} has two"
            )
            calls = f"write two calls: migrate_to({first!r}) and migrate_to({second!r})"
            self.assertIn(calls, error)
        error = self.error(lambda case: case.migrate_to("b"))
        self.assertRegex(error, f"{begin}2 revisions begin with 'b': b[12], b[12]; write more")

    def test_what_is_no_revision(self) -> None:
        for wrong in (1, None, "", ["a1"]):
            error = self.error(lambda case, wrong=wrong: case.migrate_to(wrong))
            self.assertIn(f"UsageError: migrate_to() was given {wrong!r}, which is no", error)
            self.assertIn('To fix this, name one by a string, such as "ae1027a6acf"', error)

    def test_unknown_table(self) -> None:
        for wrong, hint in [
            ("author", "there is no table 'author'; did you mean 'authors'?"),
            (library.tables["books"], 'write the name of a table, such as "users"'),
        ]:

            def test(case: MigrationTestCase, wrong: Any = wrong) -> None:
                case.migrate_to("a1")
                case.table(wrong)

            error = self.error(test)
            self.assertIn("UsageError: ", error)
            self.assertIn(hint, error)

    def test_names_of_tables(self) -> None:
        """A name is of the table as it is now, whatever today's models know of it."""

        def test(case: MigrationTestCase) -> None:
            case.migrate_to("a1")
            with case.assertNoQueries():
                authors = case.table("authors")
            with case.assertDatabaseChanges({"authors": 1}):
                case.connection.execute(authors.insert().values(name="Ann Lee"))
                case.connection.commit()
            case.assertDatabaseHas("authors", name="Ann Lee")
            case.assertDatabaseMissing("authors", name="Bob")
            case.assertDatabaseCount("main.authors", 1, name="Ann Lee")
            case.migrate_to("b2")
            case.assertDatabaseHas("authors", first_name="Ann")
            with case.assertRaisesRegex(UsageError, "no table 'other.authors'"):
                case.assertDatabaseHas("other.authors")

        inner.passed(self, self.run_all(test=test, metadata=library), 1)

    def test_lock_that_another_connection_holds(self) -> None:
        """The revision, and who holds the lock, are told in the same error."""
        self.history.write(
            "d1", "c1", "op.execute('PRAGMA busy_timeout = 0')\nop.execute('CREATE TABLE t (a)')"
        )

        def test(case: MigrationTestCase) -> None:
            case.migrate_to("c1")
            with case.engine.connect() as other:
                other.execute(case.table("authors").insert().values(first_name="Ann"))
                case.migrate_to("d1")

        async def async_test(case: AsyncMigrationTestCase) -> None:
            await case.migrate_to("c1")
            async with case.engine.connect() as other:
                authors = await case.table("authors")
                await other.execute(authors.insert().values(first_name="Ann"))
                await case.migrate_to("d1")

        for base, function in ((MigrationTestCase, test), (AsyncMigrationTestCase, async_test)):
            case: Any = type("Case", (base,), {**self.options, "test": function})
            error = inner.only_error(self, inner.run(case))
            self.assertIn("Raised by the upgrade of revision d1", error)
            self.assertRegex(
                error,
                r"Case.test: at .*test_migration_case.py:\d+, this statement could not have .*:\n"
                r" +CREATE TABLE t \(a\)\n.* has executed:\n +INSERT INTO authors .*\n"
                r" +on the connection opened at .*test_migration_case.py:\d+\n  To fix this, end",
            )

    def test_before_set_up(self) -> None:
        case = type("Case", (MigrationTestCase,), {**self.options, "test": print})
        with self.assertRaisesRegex(RuntimeError, "migrate_to is not there yet"):
            case("test").migrate_to("a1")

    def test_foreign_keys_are_off_while_tables_are_rebuilt(self) -> None:
        """As they are where Alembic runs; the test has them on again."""

        def test(case: MigrationTestCase) -> None:
            case.migrate_to("b1")
            case.connection.execute(case.table("authors").insert().values(id=1, name="Ann Lee"))
            case.connection.execute(case.table("books").insert().values(title="x", author_id=1))
            case.migrate_to("c1")
            case.assertDatabaseCount("books", 1)
            enforced = case.connection.exec_driver_sql("PRAGMA foreign_keys").scalar()
            case.assertEqual(enforced, 1)

        inner.passed(self, self.run_all(test=test), 1)

    def test_inside_a_running_loop(self) -> None:
        history = History(Path(self.history.ini.parent, "async"), "async")
        write_library(history)

        def test(case: MigrationTestCase) -> None:
            case.migrate_to("b2")
            case.migrate_to("base")

        async def run() -> None:
            inner.passed(self, self.run_all(test=test, migrations=history.ini), 1)

        asyncio.run(run())

    def test_application_engine(self) -> None:
        """The application's own code runs on the database that the test has migrated."""
        from .models import app_engine

        def test(case: MigrationTestCase) -> None:
            for name in ("Ann", "Bob"):
                case.migrate_to("b2" if name == "Ann" else "c1")
                with app_engine.begin() as connection:
                    connection.exec_driver_sql(
                        "INSERT INTO authors (first_name) VALUES (?)", (name,)
                    )
            case.assertDatabaseCount("authors", 2)

        inner.passed(self, self.run_all(test=test, test_again=test, engines=[app_engine]), 2)


class Runners(WithHistory):
    def test_module(self) -> None:
        """A module that imports the base class has the tests of its own class only."""
        module = ModuleType("tests_of_migrations")
        vars(module)["MigrationTestCase"] = MigrationTestCase
        options = {**self.options, "__module__": module.__name__}
        vars(module)["Case"] = type("Case", (MigrationTestCase,), options)
        suite = unittest.defaultTestLoader.loadTestsFromModule(module)
        self.assertEqual(suite.countTestCases(), len(ALL) - 1)
        self.assertNotIn(module.__name__, sys.modules)
