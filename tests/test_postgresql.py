"""Databases on a PostgreSQL server: made once, left behind by nobody, and never anyone else's."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import FunctionType
from typing import Any
from unittest import mock

from psycopg import DataError
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, event, make_url, text
from sqlalchemy.exc import IntegrityError

import dbtestcase
from dbtestcase import (
    AsyncDatabaseTestCase,
    DatabaseTestCase,
    IsolationError,
    TransactionEndedError,
)
from dbtestcase.backends import backend_for
from dbtestcase.backends.postgresql import PostgreSQLBackend

from . import inner
from .faults import reporting, tried
from .servers import POSTGRESQL, needs_postgresql, postgresql_database_for, postgresql_role
from .servers import postgresql_server as server
from .waiting import PATIENCE, until

ROOT = Path(__file__).parent.parent

SCRIPT = """
import os, signal, sys, unittest
from sqlalchemy import Column, Integer, MetaData, Table, text
from dbtestcase import DatabaseTestCase
from dbtestcase.backends.postgresql import PostgreSQLBackend
from dbtestcase.backends.postgresql_ownership import OwnedDatabases

metadata = MetaData()
table = Table(sys.argv[1], metadata, Column("id", Integer, primary_key=True))

BEFORE

class Case(DatabaseTestCase):
    metadata = metadata
    @classmethod
    def setUpDatabase(cls, connection):
        print("built", flush=True)
        MIDDLE
    def test(self):
        self.session.execute(table.insert())
        self.session.commit()
        END

result = unittest.TestResult()
unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
print(*[text for _, text in result.errors + result.failures], sep="")
"""
KILL = "os.kill(os.getpid(), signal.SIGKILL)"


def databases() -> dict[str, int]:
    """Return the databases that look like ours, and the mark they were born with, if any."""
    with server() as connection:
        rows = connection.exec_driver_sql(
            "SELECT datname, datconnlimit FROM pg_database WHERE datname LIKE 'dbtestcase%%'"
        )
        return {name: limit for name, limit in rows}  # noqa: C416


@needs_postgresql
@reporting
class Provisioning(unittest.TestCase):
    title = "PostgreSQL"

    def setUp(self) -> None:
        self.table = f"t{secrets.token_hex(6)}"
        self.door = f"door_{secrets.token_hex(6)}"
        url = make_url(POSTGRESQL).set(database=self.door)
        self.url = url.render_as_string(hide_password=False)
        with server() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {self.door}")
        backend = PostgreSQLBackend(url)
        self.birthmark = backend.birthmark
        backend.close()
        self.addCleanup(self.drop_databases)

    def drop_databases(self, names: set[str] | None = None) -> None:
        for name in names or [self.door, *self.new()]:
            self.drop(name)

    def drop(self, name: str) -> None:
        with server() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def note_use(self, template: str, days: int) -> None:
        """Let the comment on ``template`` say that it was used so many days from now."""
        used = int(time.time() // 86400) + days
        with server() as connection:
            comment = f'{{"dbtestcase": "0.1.0", "used": {used}}}'
            connection.exec_driver_sql(f"COMMENT ON DATABASE {template} IS '{comment}'")

    def await_departures(self) -> None:
        """Wait until the server is done with what a killed process asked it for."""
        busy = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :door")
        with server() as connection:
            self.assertTrue(until(lambda: not connection.scalar(busy, {"door": self.door})))

    def start(
        self, *, before: str = "", middle: str = "pass", end: str = "pass", **environment: str
    ) -> Any:
        return subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error",
                "-c",
                SCRIPT.replace("BEFORE", before).replace("MIDDLE", middle).replace("END", end),
                self.table,
            ],
            cwd=ROOT,
            env={**os.environ, "DBTESTCASE_DATABASE": self.url, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run_script(self, **arguments: str) -> str:
        process = self.start(**arguments)
        said: str = process.communicate()[0].strip()
        if process.returncode < 0:
            self.await_departures()
        return said

    def new(self) -> set[str]:
        """Return what was made through the door of this test."""
        return {name for name, mark in databases().items() if mark == self.birthmark}

    def test_the_second_run_builds_nothing(self) -> None:
        self.assertEqual(self.run_script(), "built")
        self.assertEqual(self.run_script(), "")
        [template] = self.new()
        self.assertRegex(template, "dbtestcase_template_[0-9a-f]{16}")

    @tried("four runs at once", "building a template", "built once")
    def test_several_processes_build_once(self) -> None:
        processes = [self.start() for _ in range(4)]
        said = [process.communicate()[0].strip() for process in processes]
        self.assertEqual(sorted(said), ["", "", "", "built"])
        self.assertEqual(len(self.new()), 1)

    def test_rebuild_by_a_variable(self) -> None:
        self.run_script()
        self.assertEqual(self.run_script(DBTESTCASE_REBUILD="1"), "built")
        self.assertEqual(self.run_script(DBTESTCASE_REBUILD="0"), "")

    def test_another_hook_is_another_template(self) -> None:
        self.run_script()
        self.assertEqual(self.run_script(middle="connection.execute(text('SELECT 1'))"), "built")
        self.assertEqual(len(self.new()), 2)

    @tried("kill -9", "building a template", "made anew")
    def test_killed_while_building(self) -> None:
        self.assertEqual(self.run_script(middle=KILL), "built")
        [left] = self.new()
        self.assertEqual(self.run_script(), "built")
        self.assertNotIn(left, databases())

    def test_killed_in_a_test(self) -> None:
        self.run_script(end=KILL)
        self.assertEqual(len(self.new()), 2)
        self.assertEqual(self.run_script(), "")
        self.assertEqual(len(self.new()), 1)

    def test_what_a_living_process_has_is_left_alone(self) -> None:
        process = self.start(end="print('waiting', flush=True); sys.stdin.read()")
        self.addCleanup(process.communicate)
        self.addCleanup(process.terminate)
        self.assertEqual(
            [process.stdout.readline(), process.stdout.readline()], ["built\n", "waiting\n"]
        )
        there = self.new()
        self.run_script()
        self.assertEqual(self.new(), there)

    @tried("the clock is set back", "templates on a server", "swept")
    def test_old_templates_are_dropped(self) -> None:
        self.run_script()
        [template] = self.new()
        for days, said in ((-15, "built"), (2, "built"), (1, "")):  # of clocks set back, too
            self.note_use(template, days)
            self.assertEqual(self.run_script(), said)

    def test_databases_of_others_are_left_alone(self) -> None:
        other = self.enterContext(postgresql_role("")).username
        run = secrets.token_hex(4)
        old = '{"dbtestcase": "0.1.0", "used": 1}'
        made = {
            f"dbtestcase_{run}_1": ("", "NULL"),
            f"dbtestcase_{run}_2": ("", f"'{old}'"),  # a comment is no mark
            f"dbtestcase_{run}_3": ("CONNECTION LIMIT 5", f"'{old}'"),
            f"dbtestcase_{run}_4": (f"CONNECTION LIMIT {self.birthmark - 1}", "NULL"),
            f"dbtestcase_{run}_5": (f"CONNECTION LIMIT {self.birthmark} OWNER {other}", "NULL"),
            f"dbtestcase_{run}_x": (f"CONNECTION LIMIT {self.birthmark}", "NULL"),
            f"dbtestcase_template_{run}0": (f"CONNECTION LIMIT {self.birthmark}", "NULL"),
            f"dbtestcase_template_{run}1": (f"CONNECTION LIMIT {self.birthmark}", "'[1]'"),
            f"dbtestcase_template_{run}2": ("", f"'{old}'"),
        }
        with server() as connection:
            for name, (options, comment) in made.items():
                connection.exec_driver_sql(f"CREATE DATABASE {name} {options}")
                self.addCleanup(self.drop, name)
                connection.exec_driver_sql(f"COMMENT ON DATABASE {name} IS {comment}")
        self.run_script()
        self.assertLessEqual(set(made), set(databases()))

    def test_the_name_of_a_template_that_is_not_ours(self) -> None:
        self.run_script()
        [template] = self.new()
        with server() as connection:
            connection.exec_driver_sql(f"ALTER DATABASE {template} CONNECTION LIMIT -1")
        self.addCleanup(self.drop, template)
        said = self.run_script()
        self.assertIn(f"The database {template} at", said)
        self.assertIn("To fix this, drop or rename it", said)
        self.assertEqual(self.new(), set())
        self.assertIn(template, databases())

    @tried("kill -9", "creating a database", "swept")
    def test_killed_while_creating_a_database(self) -> None:
        for send in ("connection.exec_driver_sql(sql)", "raw(connection).send_query(sql.encode())"):
            with self.subTest(send):
                self.run_script(
                    before="""
def create(self, name, original):
    connection, sql = self.door, (
        f"CREATE DATABASE {name} TEMPLATE {original} CONNECTION LIMIT {self.birthmark}"
    )
    SEND
    os.kill(os.getpid(), signal.SIGKILL)
def raw(connection):
    return connection.connection.driver_connection.pgconn
PostgreSQLBackend._create = create
""".replace("SEND", send)
                )
                [left] = self.new()
                self.assertEqual(self.run_script(), "built")
                self.assertNotIn(left, databases())
                self.drop_databases(self.new())

    @tried("kill -9", "dropping a database", "swept")
    def test_killed_while_dropping_a_database(self) -> None:
        """PostgreSQL leaves a limit of -2 then, and nobody can connect to the database again."""
        broken = "UPDATE pg_database SET datconnlimit = -2 WHERE datname = :name"
        self.run_script()
        [template] = self.new()
        self.run_script(end=KILL)
        there = self.new()
        with server() as connection:
            for name in there:
                connection.execute(text(broken), {"name": name})
        self.assertEqual(self.run_script(), "built")
        self.assertEqual(self.new(), {template})
        self.assertFalse((there - {template}) & set(databases()))
        process = self.start_and_find_template()
        with server() as connection:
            connection.execute(text(broken), {"name": template})
        self.assertEqual(process.communicate("go on\n")[0].strip(), "built")
        self.assertEqual(self.new(), {template})

    def test_killed_before_a_template_has_its_name(self) -> None:
        self.run_script(
            before="PostgreSQLBackend._note_use = lambda self, name: ("
            f" OwnedDatabases._note_use(self, name), {KILL})"
        )
        [left] = self.new()
        self.assertEqual(self.run_script(), "built")
        self.assertNotIn(left, databases())

    def start_and_find_template(self) -> Any:
        """Start a run that has its template, and clones it when it is told to go on."""
        process = self.start(
            before="""
def template(self, *arguments, template=PostgreSQLBackend.template, **options):
    found = template(self, *arguments, **options)
    print("found", flush=True)
    sys.stdin.readline()
    return found
PostgreSQLBackend.template = template
"""
        )
        self.assertEqual(process.stdout.readline(), "found\n")
        return process

    def test_a_template_that_is_dropped_before_it_is_cloned(self) -> None:
        self.run_script()
        process = self.start_and_find_template()
        [template] = self.new()
        self.drop(template)
        self.assertEqual(process.communicate("go on\n")[0].strip(), "built")
        self.assertEqual(self.new(), {template})

    def test_a_template_that_is_built_anew_before_it_is_cloned(self) -> None:
        self.run_script()
        process = self.start_and_find_template()
        other = self.start(
            before="""
def build(self, *arguments, build=PostgreSQLBackend._build):
    print("dropped", flush=True)
    sys.stdin.readline()
    build(self, *arguments)
PostgreSQLBackend._build = build
""",
            DBTESTCASE_REBUILD="1",
        )
        self.assertEqual(other.stdout.readline(), "dropped\n")
        process.stdin.write("go on\n")
        process.stdin.flush()
        self.assertEqual(other.communicate("go on\n")[0].strip(), "built")
        self.assertEqual(process.communicate()[0].strip(), "")
        self.assertEqual(len(self.new()), 1)

    def test_what_a_superuser_looks_at_is_left_to_a_later_run(self) -> None:
        url = self.enterContext(postgresql_role())
        self.url = url.set(database=self.door).render_as_string(hide_password=False)
        backend = PostgreSQLBackend(make_url(self.url))
        birthmark = backend.birthmark
        backend.close()
        self.run_script(end=KILL)
        ours = [name for name, limit in databases().items() if limit == birthmark]
        [left] = [name for name in ours if "template" not in name]
        with server(make_url(POSTGRESQL).set(database=left)) as looking:
            name = looking.exec_driver_sql("SELECT current_database()").scalar()
            self.assertEqual(self.run_script(), "")
            self.assertIn(name, databases())
        self.run_script()
        self.assertNotIn(name, databases())

    def test_an_older_version_of_dbtestcase_has_other_templates(self) -> None:
        old = "from dbtestcase import _version; _version.VERSION = '0.0.1'"
        self.assertEqual(self.run_script(before=old), "built")
        [template] = self.new()
        self.assertEqual(self.run_script(), "built")
        self.assertEqual(len(self.new()), 2)
        self.note_use(template, -15)
        self.run_script()
        self.assertNotIn(template, self.new())

    def test_an_error_while_building_leaves_nothing(self) -> None:
        said = self.run_script(middle="connection.execute(text('CREATE NONSENSE'))")
        self.assertIn("CREATE NONSENSE", said)
        self.assertEqual(self.new(), set())


@needs_postgresql
class Door(unittest.TestCase):
    def test_it_is_not_closed_for_being_idle(self) -> None:
        """A server or user may be set up so; then others would take this process for dead."""
        setting = "current_setting('idle_session_timeout', true)"
        with server() as connection:
            if connection.exec_driver_sql(f"SELECT {setting}").scalar() is None:
                self.skipTest("before version 14, servers do not do that")
        url = make_url(POSTGRESQL).update_query_dict({"options": "-c idle_session_timeout=1h"})
        with server(url) as connection:
            self.assertEqual(connection.exec_driver_sql(f"SELECT {setting}").scalar(), "1h")
        backend = PostgreSQLBackend(url)
        self.addCleanup(backend.close)
        self.assertEqual(backend.door.exec_driver_sql(f"SELECT {setting}").scalar(), "0")


@needs_postgresql
class Rights(unittest.TestCase):
    def setUp(self) -> None:
        self.url = self.enterContext(postgresql_role(""))
        self.role = self.url.username

    def case(self, url: Any, **attributes: Any) -> type[DatabaseTestCase]:
        metadata = MetaData()
        table = Table("things", metadata, Column("id", Integer, primary_key=True))

        def test(self: Any) -> None:
            self.assertDatabaseEmpty()
            with self.engine.begin() as connection:
                connection.execute(table.insert())

        attributes = {"metadata": metadata, "test_1": test, "test_2": test, **attributes}
        database = url.render_as_string(hide_password=False)
        return type("Case", (DatabaseTestCase,), {"database": database, **attributes})

    def test_in_place(self) -> None:
        database = self.enterContext(postgresql_database_for(self.url))
        url = self.url.set(database=database).update_query_dict({"in_place": "on"})
        inner.passed(self, inner.run(self.case(url)), 2)

    def test_a_server_that_is_not_there(self) -> None:
        url = self.url.set(host="127.0.0.1", port=1, query={})
        message = inner.only_error(self, inner.run(self.case(url)))
        self.assertIn("PostgreSQL cannot be reached at", message)
        self.assertNotIn("secret", message)


@needs_postgresql
class Schema(unittest.TestCase):
    """What the database does by itself: functions, triggers, sequences, COPY."""

    database = POSTGRESQL

    @classmethod
    def case(cls, **attributes: Any) -> type[DatabaseTestCase]:
        metadata = MetaData()
        Table("things", metadata, Column("id", Integer, primary_key=True), Column("n", Integer))

        def add(self: Any, number: int = 1) -> int:
            with self.engine.begin() as connection:
                query = text("INSERT INTO things (n) VALUES (:n) RETURNING id")
                return int(connection.scalar(query, {"n": number}))

        attributes = {"metadata": metadata, "add": add, **attributes}
        return type("Case", (DatabaseTestCase,), {"database": cls.database, **attributes})

    def test_sequences_start_again_where_that_is_asked_for(self) -> None:
        def test(self: Any) -> None:
            self.assertEqual([self.add(), self.add()], [2, 3])

        def set_up(cls: Any, session: Any) -> None:
            session.execute(text("INSERT INTO things (n) VALUES (0)"))

        tests = {"test_1": test, "test_2": test, "setUpTestData": classmethod(set_up)}
        for isolation in ("transaction", "truncation", "template", "schema"):
            with self.subTest(isolation):
                first = self.case(reset_sequences=True, isolation=isolation, **tests)
                again = type("Again", (first,), {})
                inner.passed(self, inner.run(first, again), 4)

    def test_a_query_that_writes_by_a_function_is_undone(self) -> None:
        def set_up(cls: Any, connection: Any) -> None:
            connection.execute(
                text(
                    "CREATE FUNCTION add_thing() RETURNS integer LANGUAGE sql AS"
                    " 'INSERT INTO things (n) VALUES (7) RETURNING n'"
                )
            )

        def test(self: Any) -> None:
            self.session.scalar(text("SELECT add_thing()"))
            self.session.rollback()
            self.assertDatabaseEmpty()
            self.session.scalar(text("SELECT add_thing()"))
            self.session.commit()
            self.assertDatabaseCount("things", 1)

        def set_up_database(cls: Any, connection: Any) -> None:
            super(type_of[0], cls).setUpDatabase(connection)
            set_up(cls, connection)

        type_of: list[Any] = []
        case = self.case(setUpDatabase=classmethod(set_up_database), test_1=test, test_2=test)
        type_of.append(case)
        inner.passed(self, inner.run(case), 2)

    def test_deferred_constraints_stay_deferred(self) -> None:
        def test(self: Any) -> None:
            with self.engine.begin() as connection:
                connection.execute(
                    text(
                        "CREATE TABLE pairs (id integer PRIMARY KEY, other integer"
                        " REFERENCES pairs DEFERRABLE INITIALLY DEFERRED)"
                    )
                )
            for _ in range(2):
                with self.engine.begin() as connection:
                    connection.execute(text("DELETE FROM pairs"))
                    connection.execute(text("INSERT INTO pairs VALUES (1, 2), (2, 1)"))
            with self.engine.connect() as connection:
                connection.execute(text("INSERT INTO pairs VALUES (3, 4)"))
                with self.assertRaises(IntegrityError):
                    connection.commit()
            self.assertDatabaseCount("pairs", 2)

        inner.passed(self, inner.run(self.case(test=test)), 1)

    def test_connections_forget_what_an_earlier_test_set_on_them(self) -> None:
        def test(self: Any) -> None:
            with self.engine.begin() as connection:
                backends.append(connection.scalar(text("SELECT pg_backend_pid()")))
                path = connection.scalar(text("SHOW search_path"))
                self.assertNotIn("elsewhere", path)
                locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77"
                self.assertEqual(connection.scalar(text(locks)), 0)
                connection.execute(text("SET search_path TO elsewhere, public"))
                connection.execute(text("CREATE TEMPORARY TABLE mine (id integer)"))
                connection.execute(text("SELECT pg_advisory_lock(77)"))

        for isolation in ("truncation", "template", "schema"):
            backends: list[int] = []
            with self.subTest(isolation):
                case = self.case(isolation=isolation, test_1=test, test_2=test, test_3=test)
                inner.passed(self, inner.run(case), 3)
                self.assertEqual(len(set(backends)), 1)

    def test_a_connection_that_is_left_open_keeps_nobody_waiting(self) -> None:
        left = []

        def test(self: Any) -> None:
            connection = self.engine.connect()
            left.append(connection)
            connection.execute(text("LOCK TABLE things"))

        case = self.case(isolation="truncation", test_1=test, test_2=test)
        inner.passed(self, inner.run(case), 2)
        for connection in left:
            connection.invalidate()
            connection.close()

    def test_threads_that_connect_at_once_never_reach_the_door(self) -> None:
        def test(self: Any) -> None:
            source = backend_for(self.database).source(is_async=False)  # type: ignore[attr-defined]
            open_one = source.raw_connection
            both = Barrier(2, timeout=PATIENCE)

            def open_together() -> Any:
                both.wait()  # both threads have said where they want to go
                return open_one()

            def look(number: int) -> str:
                with self.engine.connect() as connection:
                    return str(connection.scalar(text("SELECT current_database()")))

            with (
                mock.patch.object(source, "raw_connection", open_together),
                ThreadPoolExecutor(2) as pool,
            ):
                found = list(pool.map(look, range(2)))
            self.assertEqual(found[0], found[1])
            self.assertRegex(found[0], "^dbtestcase_")

        inner.passed(self, inner.run(self.case(isolation="template", test=test)), 1)

    def test_what_passes_by_the_stand_in_is_undone(self) -> None:
        def test(self: Any) -> None:
            self.assertDatabaseEmpty()
            raw = self.engine.raw_connection().dbapi_connection
            raw.execute("INSERT INTO things (n) VALUES (1)")
            raw.commit()
            with raw.transaction():
                raw.cursor().execute("INSERT INTO things (n) VALUES (2)")
            raw.commit()
            self.assertDatabaseCount("things", 2)

        inner.passed(self, inner.run(self.case(test_1=test, test_2=test)), 2)

    def test_the_drivers_connection_of_asyncpg(self) -> None:
        metadata = MetaData()
        Table("things", metadata, Column("id", Integer, primary_key=True), Column("n", Integer))

        async def raw(self: Any) -> Any:
            connection = await self.session.connection()
            return (await connection.get_raw_connection()).driver_connection

        async def test_1(self: Any) -> None:
            with self.assertRaisesRegex(IsolationError, "execute a statement .* before"):
                await raw(self)

        async def test_2(self: Any) -> None:
            await self.assertDatabaseEmpty()
            await (await raw(self)).copy_records_to_table("things", records=[(1, 1)])
            await self.assertDatabaseCount("things", 1)

        tests = {"test_1": test_1, "test_2": test_2, "test_3": test_2}
        attributes = {"database": self.database, "metadata": metadata, **tests}
        inner.passed(self, inner.run(type("Case", (AsyncDatabaseTestCase,), attributes)), 3)

    def test_several_statements_in_one_string(self) -> None:
        def test(self: Any) -> None:
            self.assertDatabaseEmpty()
            self.add()
            with self.engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1; DELETE FROM things")
                connection.rollback()
                with self.assertRaises(TransactionEndedError):
                    connection.exec_driver_sql("DELETE FROM things; COMMIT; BEGIN")
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
                connection.exec_driver_sql("SELECT pg_advisory_lock(78)")
                connection.exec_driver_sql(
                    "DO $$ BEGIN DELETE FROM things; END; $$; SELECT ';COMMIT'"
                )
                connection.rollback()
            self.assertDatabaseCount("things", 1)
            locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 78"
            counts.append(self.session.scalar(text(locks)))

        counts: list[int] = []
        case = self.case(test_1=test, test_2=test)
        inner.passed(self, inner.run(case), 2)
        self.assertEqual(counts, [1, 1])

    def test_all_isolations_in_one_class(self) -> None:
        def set_up(cls: Any, connection: Any) -> None:
            for statement in [
                "CREATE TYPE mood AS ENUM ('good', 'bad')",
                "CREATE TABLE moods (id serial, mood mood, moods mood[])",
                "ALTER SEQUENCE moods_id_seq RESTART WITH 1000",
                "CREATE TABLE parents (id integer)",
                "CREATE TABLE kids (toy text) INHERITS (parents)",
                "CREATE TABLE empty ()",
            ]:
                connection.exec_driver_sql(statement)

        def set_up_data(cls: Any, session: Any) -> None:
            session.execute(text("INSERT INTO moods (mood, moods) VALUES ('good', '{bad}')"))
            session.execute(text("INSERT INTO kids VALUES (1, 'car')"))

        def test(self: Any) -> None:
            with self.engine.begin() as connection:
                moods = connection.execute(text("SELECT id, mood FROM moods")).all()
                kids = connection.execute(text("SELECT * FROM kids")).all()
                parents = connection.scalar(text("SELECT count(*) FROM ONLY parents"))
                new = "INSERT INTO moods (mood) VALUES ('bad') RETURNING id"
                ids.append(connection.scalar(text(new)))
                connection.execute(text("UPDATE parents SET id = 2"))
                if connection.scalar(text("SHOW is_superuser")) == "on":
                    connection.execute(text("SET LOCAL session_replication_role = replica"))
                connection.execute(text("INSERT INTO parents VALUES (3)"))
            found = ([tuple(row) for row in moods], [tuple(row) for row in kids], parents)
            self.assertEqual(found, ([(1000, "good")], [(1, "car")], 0))

        ids: list[int] = []
        tests = {
            f"test_{number}": dbtestcase.isolation(name)(
                FunctionType(test.__code__, globals(), "t", None, test.__closure__)
            )
            for number, name in enumerate(
                ["transaction", "schema", "truncation", "template", "schema", "truncation"] * 2
            )
        }
        case = self.case(
            setUpDatabase=classmethod(set_up), setUpTestData=classmethod(set_up_data), **tests
        )
        inner.passed(self, inner.run(case), 12)
        self.assertEqual(set(ids[1:]), {1001})

    def test_listeners_of_the_application_set_up_each_connection(self) -> None:
        engine = create_engine(make_url(POSTGRESQL).set(drivername="postgresql+psycopg"))

        @event.listens_for(engine, "connect")
        def connected(connection: Any, record: object) -> None:
            cursor = connection.cursor()
            cursor.execute("SET TIME ZONE 'Pacific/Apia'")
            cursor.close()
            connection.commit()

        def test(self: Any) -> None:
            with engine.connect() as connection:
                self.assertEqual(connection.scalar(text("SHOW timezone")), "Pacific/Apia")

        for name in ("transaction", "truncation"):
            case = self.case(isolation=name, engines=[engine], test_1=test, test_2=test)
            with self.subTest(name):
                inner.passed(self, inner.run(case), 2)

    def test_a_door_that_was_lost_is_opened_again(self) -> None:
        def test(self: Any) -> None:
            self.assertDatabaseEmpty()

        first = self.case(isolation="truncation", test=test)
        inner.passed(self, inner.run(first), 1)
        backend: Any = backend_for(self.database)
        pid = backend.door.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        with server() as connection:
            connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            there = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
            self.assertTrue(until(lambda: connection.scalar(there, {"pid": pid}) == 0))
        inner.run(first)
        inner.passed(self, inner.run(self.case(isolation="truncation", test=test)), 1)

    def test_schema_isolation_of_tables_that_name_a_schema(self) -> None:
        metadata = MetaData(schema="public")
        Table("things", metadata, Column("id", Integer, primary_key=True))
        case = self.case(isolation="schema", metadata=metadata, test=print)
        self.assertIn("metadata has public.things", inner.only_error(self, inner.run(case)))

    def test_options_in_the_url(self) -> None:
        options = {"options": "-cTimeZone=Asia/Tokyo -clock_timeout=60s"}
        url = make_url(self.database).update_query_dict(options)

        def test(self: Any) -> None:
            show = [
                self.session.scalar(text(f"SHOW {name}")) for name in ("timezone", "lock_timeout")
            ]
            self.assertEqual(show, ["Asia/Tokyo", "1min"])

        for isolation in ("transaction", "schema"):
            database = url.render_as_string(hide_password=False)
            case = self.case(database=database, isolation=isolation, test=test)
            inner.passed(self, inner.run(case), 1)

    def test_copy(self) -> None:
        def test(self: Any) -> None:
            self.assertDatabaseEmpty()
            raw = self.engine.raw_connection()
            with raw.cursor() as cursor, cursor.copy("COPY things (n) FROM STDIN") as copy:
                copy.write_row([5])
            raw.commit()
            copying = raw.cursor().copy("COPY things (n) FROM STDIN")
            with self.assertRaises(DataError), copying as copy:
                copy.write_row(["five"])
            raw.rollback()
            raw.close()
            self.assertDatabaseCount("things", 1, n=5)

        inner.passed(self, inner.run(self.case(test_1=test, test_2=test)), 2)

    def test_restored_are_triggers_partitions_and_generated_columns(self) -> None:
        def set_up(cls: Any, connection: Any) -> None:
            for statement in _RICH_SCHEMA:
                connection.exec_driver_sql(statement)

        def set_up_data(cls: Any, session: Any) -> None:
            session.execute(text("INSERT INTO parts (n) VALUES (1), (11)"))

        def test(self: Any) -> None:
            with self.engine.begin() as connection:
                count = connection.scalar(text("SELECT count(*) FROM log"))
                rows = connection.execute(text("SELECT id, n, double FROM parts ORDER BY n")).all()
                connection.execute(text("INSERT INTO parts (n) VALUES (2), (12)"))
                connection.execute(text("DELETE FROM parts_low WHERE n = 1"))
            self.assertEqual((count, [tuple(row) for row in rows]), (2, [(1, 1, 2), (2, 11, 22)]))

        tests = {"test_1": test, "test_2": test, "test_3": test}
        for isolation in ("transaction", "truncation", "template", "schema"):
            with self.subTest(isolation):
                case = self.case(
                    isolation=isolation,
                    setUpDatabase=classmethod(set_up),
                    setUpTestData=classmethod(set_up_data),
                    **tests,
                )
                inner.passed(self, inner.run(case), 3)


@needs_postgresql
class SchemaWithoutSuperuser(Schema):
    """The same for a user that may do no more than create databases."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        url = cls.enterClassContext(postgresql_role())
        cls.database = url.render_as_string(hide_password=False)


_RICH_SCHEMA = [
    "CREATE TABLE log (n integer)",
    "CREATE TABLE parts (id integer GENERATED ALWAYS AS IDENTITY, n integer,"
    " double integer GENERATED ALWAYS AS (n * 2) STORED) PARTITION BY RANGE (n)",
    "CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10)",
    "CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (10) TO (20)",
    "CREATE FUNCTION write_log() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN INSERT INTO log VALUES (NEW.n); RETURN NULL; END'",
    "CREATE TRIGGER log AFTER INSERT ON parts FOR EACH ROW EXECUTE FUNCTION write_log()",
]
