"""What the ``migrations`` option promises, and what it says when that cannot be kept."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
import textwrap
import unittest
from argparse import Namespace
from pathlib import Path
from typing import Any
from unittest import mock

from alembic.config import Config
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, inspect, text

from dbtestcase import DatabaseTestCase, MigrationTestCase, OptionError, UsageError
from dbtestcase.lending import lending
from dbtestcase.migrations import MigrationsSchema, migrations_schema
from dbtestcase.migrations.source import MigrationSource

from . import inner
from .histories import History, library, write_library
from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql
from .test_postgres_server import needs_it, new_cache

CREATE_NOTES = "op.create_table('notes', sa.Column('id', sa.Integer, primary_key=True))"

CREATE_MORE = CREATE_NOTES.replace("notes", "more")

_CACHE = os.environ.get("XDG_CACHE_HOME", "")  # where embedded servers are kept


class WithHistory(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = self.enterContext(inner.directory())
        cache = str(self.directory / "cache")
        self.enterContext(mock.patch.dict(os.environ, XDG_CACHE_HOME=cache))
        self.history = History(self.directory)

    def edit_env(self, old: str, new: str) -> None:
        said = self.history.env_py.read_text()
        self.assertIn(old, said)
        self.history.env_py.write_text(said.replace(old, new))

    def case(self, **attributes: Any) -> type[DatabaseTestCase]:
        """Return a test class on SQLite that looks for a table ``notes``."""

        def test(self: DatabaseTestCase) -> None:
            self.assertDatabaseCount("notes", 0)

        options = {"database": "sqlite://", "migrations": self.history.ini, "test": test}
        return type("Case", (DatabaseTestCase,), {**options, **attributes})

    def check_passes(self, **attributes: Any) -> None:
        inner.passed(self, inner.run(self.case(**attributes)), 1)

    def check_refused(self, *messages: str, **attributes: Any) -> str:
        error = inner.only_error(self, inner.run(self.case(**attributes)))
        for message in messages:
            self.assertIn(message, error)
        return error


class Environments(WithHistory):
    """Ways in which an env.py comes to its connection."""

    def setUp(self) -> None:
        super().setUp()
        self.history.write("a1", None, CREATE_NOTES)

    def test_emptiness(self) -> None:
        """Alembic's own table, whatever its name, is none that a test means."""
        self.edit_env("connection=connection,", "connection=connection, version_table='deployed',")

        def test(case: DatabaseTestCase) -> None:
            case.assertDatabaseEmpty()
            with case.assertRaisesRegex(AssertionError, "deployed: 1 row\n"):
                case.assertDatabaseEmpty("deployed")
            case.assertDatabaseMissing("deployed", version_num="b1")

        self.check_passes(test=test)

    def test_engine_of_production(self) -> None:
        """Whatever URL env.py sets, it gets the test's database."""
        self.edit_env(
            "config = context.config\n",
            "config = context.config\n"
            "config.set_main_option('sqlalchemy.url', 'sqlite:////unreachable/production.db')\n",
        )
        self.check_passes()

    def test_engine_of_the_application(self) -> None:
        """So do engines that exist, of another driver, with connections in their pool."""
        self.edit_env("engine_from_config(", "application_engine(")
        self.edit_env(
            "from alembic import context\n", f"from alembic import context\n{_APPLICATION}"
        )
        self.check_passes()
        from tests.models import app_async_engine, app_engine

        for engine in (app_engine, app_async_engine.sync_engine):
            self.assertIn("unreachable", str(engine.url))
            self.assertNotEqual(engine.dialect.name, "dbtestcase")

    def test_raw_connection_and_begin(self) -> None:
        self.edit_env(
            "config = context.config\n",
            "config = context.config\n"
            "config.set_main_option('sqlalchemy.url', 'sqlite:////unreachable/production.db')\n",
        )
        self.edit_env(
            "    with connectable.connect() as connection:\n",
            "    raw = connectable.raw_connection()\n"
            "    raw.close()\n"
            "    with connectable.begin() as connection:\n",
        )
        self.check_passes()

    def test_connection_in_attributes(self) -> None:
        """As the cookbook of Alembic has it."""
        env = "from alembic import context\nconnection = context.config.attributes['connection']\n"
        env += "context.configure(connection=connection)\n"
        env += "with context.begin_transaction():\n    context.run_migrations()\n"
        self.history.env_py.write_text(env)
        self.check_passes()

    def test_awaited_statements(self) -> None:
        """A driver that never waits is beneath the async engine of env.py."""
        self.history = History(self.directory / "async", "async")
        self.history.write("a1", None, CREATE_NOTES)
        self.edit_env(
            "        await connection.run_sync(do_run_migrations)\n",
            "        await connection.exec_driver_sql('CREATE TABLE more (id INTEGER)')\n"
            "        await connection.commit()\n"
            "        await connection.run_sync(do_run_migrations)\n",
        )
        self.check_passes()

    def test_inside_a_running_loop(self) -> None:
        self.history = History(self.directory / "async", "async")
        self.history.write("a1", None, CREATE_NOTES)

        async def run() -> None:
            self.check_passes()

        asyncio.run(run())

    def test_config_object(self) -> None:
        config = Config(str(self.history.ini))
        self.check_passes(migrations=config)
        self.assertEqual(config.get_main_option("sqlalchemy.url"), _PLACEHOLDER)
        self.assertEqual(config.attributes, {})

    def test_pyproject(self) -> None:
        history = History(self.directory / "pyproject")
        history.write("a1", None, CREATE_NOTES)
        toml = history.ini.with_name("pyproject.toml")
        toml.write_text('[tool.alembic]\nscript_location = "%(here)s/scripts"\n')
        self.check_passes(migrations=str(toml))

    def test_pyproject_and_ini(self) -> None:
        """Each has its part, as ``alembic init -t pyproject`` has it."""
        toml = self.history.ini.with_name("pyproject.toml")
        toml.write_text('[tool.alembic]\nscript_location = "%(here)s/scripts"\n')
        said = self.history.ini.read_text()
        self.history.ini.write_text(said.replace("\nscript_location", "\ntenant = one\nlocation"))
        tenant = "config.get_main_option('tenant')"
        self.edit_env("target_metadata = None", f"assert {tenant} == 'one'\ntarget_metadata = None")
        for option in (toml, self.history.ini):
            with self.subTest(option.name):
                self.check_passes(migrations=option)

    def test_relative_to_where_tests_run(self) -> None:
        code = """
            import unittest
            from dbtestcase import DatabaseTestCase
            class Case(DatabaseTestCase):
                migrations = "alembic.ini"
                def test(self): self.assertDatabaseCount("notes", 0)
            unittest.main()
        """
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            cwd=self.directory,
            env={"PYTHONPATH": str(Path(__file__).parent.parent), "DBTESTCASE_DATABASE": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)

    def test_modules_beside_the_configuration(self) -> None:
        (self.directory / "dbtestcase_beside.py").write_text("target_metadata = None\n")
        ini = self.history.ini.read_text()
        self.history.ini.write_text(
            ini.replace("prepend_sys_path = .", "prepend_sys_path = %(here)s")
        )
        self.edit_env("target_metadata = None", "from dbtestcase_beside import target_metadata")
        before = list(sys.path)
        self.check_passes()
        self.assertEqual(sys.path, before)

    def test_several_version_locations(self) -> None:
        more = self.directory / "more"
        self.history.write("b1", "a1", "op.drop_table('notes')", directory=more)
        self.history.write("c1", "b1", CREATE_NOTES, directory=more)
        ini = self.history.ini.read_text()
        locations = "version_locations = %(here)s/scripts/versions:%(here)s/more\n"
        self.history.ini.write_text(ini.replace("\nprepend", f"\n{locations}prepend", 1))
        self.check_passes()

    def test_labelled_branches_and_dependencies(self) -> None:
        self.history.write("b1", None, "op.drop_table('notes')", label="other", depends_on="a1")
        self.history.write("b2", "b1", CREATE_NOTES)
        self.check_passes()

    def test_nothing_is_left_of_it(self) -> None:
        connect, raw_connection = Engine.connect, Engine.raw_connection
        self.check_passes()
        self.assertEqual((Engine.connect, Engine.raw_connection), (connect, raw_connection))


class Logging(WithHistory):
    def test_is_as_before(self) -> None:
        self.history.write("a1", None, CREATE_NOTES)
        self.edit_env(
            "target_metadata = None",
            "import logging\ntarget_metadata = None\n"
            "logging.getLogger('dbtestcase.tests').setLevel('CRITICAL')\n"
            "logging.root.addHandler(logging.NullHandler())",
        )
        log = self.directory / "log"
        handler = logging.FileHandler(log, mode="w")
        self.addCleanup(handler.close)
        logger = logging.getLogger("dbtestcase.tests")
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        before = list(logging.root.handlers), logging.root.level, logger.level
        self.check_passes()
        self.assertEqual((list(logging.root.handlers), logging.root.level, logger.level), before)
        self.assertFalse(logger.disabled)
        logger.warning("still here")
        self.assertEqual(log.read_text(), "still here\n")


class AfterMigrations(WithHistory):
    def test_foreign_keys_are_enforced_again(self) -> None:
        self.history.write("a1", None, CREATE_NOTES)
        seen = []

        def set_up_database(cls: Any, connection: Any) -> None:
            super(case, cls).setUpDatabase(connection)
            seen.append(connection.exec_driver_sql("PRAGMA foreign_keys").scalar())

        case = self.case(setUpDatabase=classmethod(set_up_database))
        inner.passed(self, inner.run(case), 1)
        self.assertEqual(seen, [1])


class Refusals(WithHistory):
    """What cannot be, and what is said of it."""

    def test_no_file(self) -> None:
        self.check_refused(
            "OptionError: tests.test_migrations.Case: migrations = 'no.ini': there is no file",
            "To fix this, name it from where the tests run",
            migrations="no.ini",
        )

    def test_directory_without_env_py(self) -> None:
        self.check_refused("is a directory without env.py", migrations=str(self.directory))

    def test_script_directory_that_is_not_there(self) -> None:
        shutil.rmtree(self.history.scripts)
        self.check_refused("Path doesn't exist", "script_location = %(here)s/…")

    def test_script_directory_without_env_py(self) -> None:
        self.history.env_py.unlink()
        self.check_refused("has no env.py")

    def test_no_revision(self) -> None:
        self.check_refused("there is no revision in", "alembic revision --autogenerate")

    def test_multidb(self) -> None:
        self.history = History(self.directory / "multi", "multidb")
        self.check_refused('as "alembic init -t multidb" has it')

    def test_offline(self) -> None:
        self.history.write("a1", None)
        self.edit_env("if context.is_offline_mode():", "if True:")
        self.edit_env('url = config.get_main_option("sqlalchemy.url")', 'url = "sqlite://"')
        self.check_refused(
            f"{self.history.env_py} calls context.configure() without a connection, as for offline"
        )

    def test_env_py_that_migrates_nothing(self) -> None:
        self.history.write("a1", None)
        self.history.env_py.write_text("")
        self.check_refused(f"{self.history.env_py} did not call context.run_migrations()")

    def test_thread_that_fails(self) -> None:
        """The reason is told where it can be seen, whatever becomes of the thread."""
        self.history.write("a1", None, CREATE_NOTES)
        self.edit_env(
            "if context.is_offline_mode():",
            "from threading import Thread\n"
            "def online():\n"
            "    thread = Thread(target=migrate_online)\n"
            "    thread.start(); thread.join()\n"
            "migrate_online, run_migrations_online = run_migrations_online, online\n"
            "if context.is_offline_mode():",
        )
        with mock.patch("threading.excepthook") as hook:
            self.check_refused("OptionError: ", "env.py makes an engine in a thread that it starts")
        error = hook.call_args.args[0].exc_value
        self.assertIsInstance(error, OptionError)
        self.assertIn("use config.attributes['connection']", str(error))

    def test_connection_of_another_thread(self) -> None:
        """Which could be to production: nothing is done on it."""
        self.history.write("a1", None, CREATE_NOTES)
        other = self.directory / "production.db"
        self.edit_env(
            "if context.is_offline_mode():",
            f"config.set_main_option('sqlalchemy.url', 'sqlite:///{other}')\n"
            "from threading import Thread\n"
            "def online():\n"
            "    thread = Thread(target=attempt)\n"
            "    thread.start(); thread.join()\n"
            "    raise raised[0]\n"
            "raised = []\n"
            "def attempt():\n"
            "    try:\n"
            "        migrate_online()\n"
            "    except Exception as error:\n"
            "        raised.append(error)\n"
            "migrate_online, run_migrations_online = run_migrations_online, online\n"
            "if context.is_offline_mode():",
        )
        self.check_refused("in a thread of its own", "config.attributes['connection']")
        engine = create_engine(f"sqlite:///{other}")
        self.assertEqual(inspect(engine).get_table_names(), [])
        engine.dispose()

    def test_alembic_is_not_installed(self) -> None:
        with mock.patch("dbtestcase.schema.find_spec", return_value=None):
            self.check_refused("migrations needs the package alembic", "'dbtestcase[alembic]'")

    def test_no_models_to_compare_with(self) -> None:
        def compare(case: DatabaseTestCase) -> None:
            case.assertSchemaMatchesModels()

        self.history.write("a1", None, CREATE_NOTES)
        self.check_refused("There are no models to compare with", "target_metadata", test=compare)
        self.check_refused("There are no models to compare with", test=compare, migrations=None)

    def test_failing_migration(self) -> None:
        failing = "op.execute('INSERT INTO nowhere VALUES (1)')"
        path = self.history.write(
            "a1",
            None,
            f"op.execute('SELECT 1')\n{failing}",
            doc="X",
        )
        error = self.check_refused(
            "sqlalchemy.exc.OperationalError",
            "Raised by the upgrade of revision a1 (X)",
            f'File "{path.resolve()}", line 14, in upgrade: {failing}',
            "by the SQL:\n    INSERT INTO nowhere VALUES (1)",
        )
        self.assertEqual(error.count("Raised by"), 1)

    def test_failing_env_py(self) -> None:
        self.history.write("a1", None)
        self.edit_env("target_metadata = None", "target_metadata = missing")
        self.check_refused("NameError", f'Raised by env.py, at\nFile "{self.history.env_py}", line')


class Fingerprints(WithHistory):
    def setUp(self) -> None:
        super().setUp()
        write_library(self.history)
        self.dialect = create_engine("sqlite://").dialect

    def fingerprint(self, revision: str = "heads", ini: Path | None = None) -> str:
        schema = MigrationsSchema(MigrationSource(str(ini or self.history.ini)))
        return schema.at(revision).fingerprint(self.dialect)

    def test_every_byte_counts(self) -> None:
        versions = self.history.scripts / "versions"
        (versions / "data.sql").write_text("SELECT 1")
        for path in (versions / "a1.py", versions / "data.sql", self.history.env_py):
            with self.subTest(path.name):
                before = self.fingerprint()
                said = path.read_text()
                path.write_text(said + " ")
                self.assertNotEqual(self.fingerprint(), before)
                path.write_text(said)
                self.assertEqual(self.fingerprint(), before)

    def test_a_schema_in_use_notices(self) -> None:
        schema = migrations_schema(str(self.history.ini), "heads")
        self.assertEqual(schema.source.scripts.get_heads(), ["c1"])
        before = schema.fingerprint(self.dialect)
        self.assertEqual(schema.fingerprint(self.dialect), before)
        self.history.write("d1", "c1")
        self.assertNotEqual(schema.fingerprint(self.dialect), before)
        self.assertEqual(schema.source.scripts.get_heads(), ["d1"])

    def test_options_of_env_py_count_and_others_do_not(self) -> None:
        before = self.fingerprint()
        said = self.history.ini.read_text()
        for old, new, counts in (
            ("prepend_sys_path = .", "prepend_sys_path = .\ntenant = one", True),
            (_PLACEHOLDER, "sqlite://", False),
            ("level = WARNING", "level = INFO", False),
        ):
            with self.subTest(new):
                self.assertIn(old, said)
                self.history.ini.write_text(said.replace(old, new))
                self.assertEqual(self.fingerprint() != before, counts)

    def test_what_a_config_hands_to_env_py_counts(self) -> None:
        found = set()
        for tenant, x in (("one", "a"), ("two", "a"), ("two", "b"), ("two", "b")):
            config = Config(str(self.history.ini), attributes={"tenant": tenant})
            config.cmd_opts = Namespace(x=[x])
            found.add(MigrationsSchema(MigrationSource(config)).fingerprint(self.dialect))
        self.assertEqual(len(found), 3)

    def test_is_the_same_elsewhere(self) -> None:
        with inner.directory() as directory:
            shutil.copytree(self.directory, directory / "copy")
            ini = directory / "copy" / "alembic.ini"
            self.assertEqual(self.fingerprint(ini=ini), self.fingerprint())

    def test_of_a_revision_is_that_of_what_it_needs(self) -> None:
        before = [self.fingerprint(name) for name in ("a1", "b1", "b2", "heads")]
        path = self.history.scripts / "versions" / "b1.py"
        path.write_text(path.read_text() + "\n")
        after = [self.fingerprint(name) for name in ("a1", "b1", "b2", "heads")]
        changed = [one != other for one, other in zip(before, after, strict=True)]
        self.assertEqual(changed, [False, True, False, True])


class Runs(WithHistory):
    """How often migrations are applied: they leave a line in a file when they are."""

    def setUp(self) -> None:
        super().setUp()
        self.applied = self.directory / "applied"
        self.applied.write_text("")
        self.note = f"with open({str(self.applied)!r}, 'a') as file: file.write('x')"
        self.path = self.history.write("a1", None, f"{self.note}\n{CREATE_NOTES}")

    def test_once_for_all_classes(self) -> None:
        inner.passed(self, inner.run(self.case(), self.case(), self.case()), 3)
        self.assertEqual(self.applied.read_text(), "x")

    @needs_postgresql
    def test_once_for_all_runs_on_a_server(self) -> None:
        self.check_runs(POSTGRESQL)

    @needs_mysql
    def test_once_for_all_runs_on_mariadb(self) -> None:
        self.check_runs(MYSQL)

    def test_once_for_all_runs_on_pglite(self) -> None:
        self.check_runs("pglite://", XDG_CACHE_HOME=_CACHE)

    @needs_it
    def test_once_for_all_runs_on_pgserver(self) -> None:
        os.environ["XDG_CACHE_HOME"] = str(new_cache(self.directory))
        self.check_runs("pgserver://")

    def test_once_for_all_runs_on_sqlite(self) -> None:
        self.check_runs("sqlite://")
        self.run_in_a_process("sqlite://", DBTESTCASE_REBUILD="1")
        self.assertEqual(self.applied.read_text(), "xxx")
        [directory] = (self.directory / "cache" / "dbtestcase").iterdir()
        self.assertEqual(directory.stat().st_mode & 0o77, 0)
        for path in directory.iterdir():
            path.write_bytes(b"broken")
        self.run_in_a_process("sqlite://")
        self.assertEqual(self.applied.read_text(), "xxxx")

    def test_each_step_once_on_sqlite(self) -> None:
        self.check_steps("sqlite://")

    @needs_postgresql
    def test_each_step_once_on_a_server(self) -> None:
        self.check_steps(POSTGRESQL)

    @needs_mysql
    def test_each_step_once_on_mariadb(self) -> None:
        """Which cannot clone what has been built."""
        self.check_steps(MYSQL)

    def check_steps(self, database: str) -> None:
        """Check that a test of migrations applies nothing that it was not asked for."""
        self.history.write("b1", "a1", f"{self.note}\n{CREATE_MORE}", "op.drop_table('more')")
        seen = []

        def test(case: MigrationTestCase) -> None:
            for revision in ("a1", "a1", "head", "heads", "b1", "a1", "+1"):
                before = self.applied.read_text()
                case.migrate_to(revision)
                seen.append(len(self.applied.read_text()) - len(before))
            case.assertDatabaseCount("more", 0)

        options = {"database": database, "migrations": self.history.ini, "standard_tests": False}
        inner.passed(
            self, inner.run(type("Case", (MigrationTestCase,), {**options, "test": test})), 1
        )
        self.assertEqual(seen, [1, 0, 1, 0, 0, 0, 1])

    @needs_postgresql
    def test_once_for_all_runs_with_schema_isolation(self) -> None:
        self.check_limit(POSTGRESQL, "schema", first=1, later=0)

    @needs_mysql
    def test_once_for_all_runs_on_mariadb_where_tests_commit(self) -> None:
        self.check_limit(MYSQL, "truncation", first=1, later=0)

    def check_limit(self, database: str, isolation: str, *, first: int, later: int) -> None:
        """Check how often two classes with ``isolation`` need it, in one process and in another.

        It is documented where that is more than none.
        """
        for expected in (first, later):
            self.applied.write_text("")
            self.run_in_a_process(database, isolation, XDG_CACHE_HOME=_CACHE)
            self.assertEqual(self.applied.read_text(), expected * "x")

    def check_runs(self, database: str, **variables: str) -> None:
        for applied in ("x", "x"):
            self.run_in_a_process(database, **variables)
            self.assertEqual(self.applied.read_text(), applied)
        self.path.write_text(self.path.read_text() + "#")
        for applied in ("xx", "xx"):
            self.run_in_a_process(database, **variables)
            self.assertEqual(self.applied.read_text(), applied)

    def run_in_a_process(
        self, database: str, isolation: str = "transaction", **variables: str
    ) -> None:
        code = f"""
            import unittest
            from sqlalchemy import MetaData
            from dbtestcase import DatabaseTestCase
            class Case(DatabaseTestCase):
                database = {database!r}
                migrations = {str(self.history.ini)!r}
                isolation = {isolation!r}
                def test(self): self.assertDatabaseCount("notes", 0)
            class Other(Case): metadata = MetaData()
            unittest.main()
        """
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            cwd=Path(__file__).parent.parent,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)


class Lending(unittest.TestCase):
    def test_engines_are_as_before(self) -> None:
        lender, borrower = create_engine("sqlite://"), create_engine("sqlite:////unreachable/x")
        pool, dialect = borrower.pool, borrower.dialect
        with lender.connect() as connection, lending(connection) as loan:
            with borrower.begin() as borrowed:
                borrowed.execute(text("CREATE TABLE notes (id INTEGER)"))
                self.assertTrue(loan.is_of(borrowed))
            borrower.dispose()
            with borrower.connect() as borrowed:
                self.assertEqual(inspect(borrowed).get_table_names(), ["notes"])
        self.assertIs(borrower.pool, pool)
        self.assertIs(borrower.dialect, dialect)
        lender.dispose()

    def test_what_was_open_is_committed(self) -> None:
        lender = create_engine("sqlite://")
        with lender.connect() as connection:
            connection.execute(text("CREATE TABLE notes (id INTEGER)"))
            connection.execute(text("INSERT INTO notes VALUES (1)"))
            with lending(connection) as loan, loan.connect() as borrowed:
                borrowed.execute(text("INSERT INTO notes VALUES (2)"))
                borrowed.rollback()
            rows = connection.execute(text("SELECT id FROM notes")).all()
            self.assertEqual(rows, [(1,)])
        lender.dispose()


class Comparing(WithHistory):
    def test_models_of_env_py_and_what_it_leaves_out(self) -> None:
        models = MetaData()
        Table("notes", models, Column("id", Integer, primary_key=True), Column("more", Integer))
        self.history.write(
            "a1", None, f"{CREATE_NOTES}\nop.execute('CREATE TABLE legacy (id INT)')"
        )
        self.edit_env("target_metadata = None", f"from {__name__} import LEGACY as target_metadata")
        LEGACY.clear()
        models.tables["notes"].to_metadata(LEGACY)
        self.edit_env(
            "connection=connection, target_metadata=target_metadata",
            "connection=connection, target_metadata=target_metadata,\n"
            "            include_name=lambda name, *_: name != 'legacy'",
        )

        def compare(case: DatabaseTestCase) -> None:
            case.assertSchemaMatchesModels()

        error = self.check_refused(
            "op.add_column('notes', sa.Column('more', sa.Integer(), nullable=True))", test=compare
        )
        self.assertNotIn("legacy", error)

    def test_queries_are_not_counted(self) -> None:
        write_library(self.history)

        def compare(case: DatabaseTestCase) -> None:
            with case.assertNumQueries(0):
                case.assertSchemaMatchesModels()

        self.check_passes(metadata=library, test=compare)

    def test_unknown_revision(self) -> None:
        write_library(self.history)
        schema = migrations_schema(str(self.history.ini), "heads")
        with self.assertRaisesRegex(UsageError, "'c12'; did you mean 'c1'?"):
            schema.at("c12")

    def test_contradiction(self) -> None:
        with self.assertRaisesRegex(OptionError, "databases and migrations"):
            self.case(database=None, databases={"default": {}})


LEGACY = MetaData()
_PLACEHOLDER = "driver://user:pass@localhost/dbname"
_APPLICATION = """
import asyncio
from tests.models import app_async_engine, app_engine
def application_engine(*args, **kwargs):
    async def connect():
        async with app_async_engine.connect() as connection:
            await connection.exec_driver_sql("CREATE TABLE more (id INTEGER)")
    asyncio.run(connect())
    return app_engine
"""
