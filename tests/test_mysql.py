"""Databases on a MariaDB or MySQL server: never dirty, left by nobody, never anyone else's."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import socket
import subprocess
import sys
import unittest
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    delete,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects.mysql.base import MySQLDialect
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only, greenlet_spawn

from dbtestcase import DatabaseTestCase, TransactionEndedError, isolation
from dbtestcase.backends import backend_for, mysql_errors, mysql_tables
from dbtestcase.backends.mysql import MySQLBackend
from dbtestcase.backends.mysql_catalog import Catalog
from dbtestcase.backends.mysql_statements import autocommit_in, controls, kind_of
from dbtestcase.exceptions import BackendError
from dbtestcase.provision import provisioner

from . import inner
from .faults import reporting, tried
from .models import Base, Post, User
from .mysql import (
    ADD,
    Cases,
    databases,
    drivers,
    drop_what_is_kept,
    execute,
    nothing,
    only_alice,
    query,
    registered,
    server,
    understood,
    url_of,
)
from .servers import MYSQL, needs_mysql
from .waiting import until

tearDownModule = drop_what_is_kept

ROOT = Path(__file__).parent.parent

SCRIPT = """
import os, signal, sys, unittest
from sqlalchemy import Column, Integer, MetaData, Table, make_url, text
from dbtestcase import DatabaseTestCase
from dbtestcase.backends.mysql import MySQLBackend

metadata = MetaData()
table = Table(sys.argv[1], metadata, Column("id", Integer, primary_key=True))
BEFORE

class Case(DatabaseTestCase):
    metadata = metadata
    isolation = os.environ.get("ISOLATION", "transaction")
    @classmethod
    def setUpDatabase(cls, connection):
        print("built", flush=True)
        super().setUpDatabase(connection)
        connection.execute(text(
            f"CREATE PROCEDURE p() BEGIN INSERT INTO {table} VALUES (7); COMMIT; END"))
        MIDDLE
    def test(self):
        self.assertDatabaseEmpty()
        self.session.execute(table.insert())
        self.session.commit()
        END

result = unittest.TestResult()
unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
print(*[text for _, text in result.errors + result.failures], sep="")
"""
KILL = "os.kill(os.getpid(), signal.SIGKILL)"
# The process is killed when it is about to execute, or has executed, a statement.
KILLED = """
def killed(self, sql, *parameters, execute=MySQLBackend._execute):
    if sql.startswith("{what}"):
        name = sql.replace("`", "").split("DATABASE ")[1].split()[-1 if "IF" in sql else 0]
        print(name, flush=True)
        {send}
        os.kill(os.getpid(), signal.SIGKILL)
    return execute(self, sql, *parameters)
MySQLBackend._execute = killed
"""
SEND = "self.door.connection.driver_connection._execute_command(3, sql)"  # and await no answer
CALL = "self.session.execute(text('CALL p()'))"
ASYNC = {"DatabaseTestCase": "AsyncDatabaseTestCase", "def test": "async def test"}
ASYNC |= {
    name: f"await {name}" for name in ("self.assert", "self.session.execute", "self.session.commit")
}
COMMIT = """
        connection = await self.session.connection()
        raw = await connection.get_raw_connection()
        async with raw.driver_connection.cursor() as cursor:
            await cursor.execute("COMMIT")
"""
WAIT = "print('waiting', flush=True); sys.stdin.read()"


@needs_mysql
@reporting
class Provisioning(unittest.TestCase):
    title = "MariaDB"

    def setUp(self) -> None:
        self.table = f"t{secrets.token_hex(6)}"
        self.addCleanup(self.drop_new)

    def drop_new(self) -> None:
        for name in self.new():
            query(f"DROP DATABASE IF EXISTS {name}")
            query("DELETE FROM dbtestcase_registry.databases WHERE name = %s", name)

    def start(
        self, *, before: str = "", middle: str = "pass", end: str = "pass", **environment: str
    ) -> Any:
        script = SCRIPT.replace("BEFORE", before).replace("MIDDLE", middle)
        for old, new in ASYNC.items() if "await" in end else ():
            script = script.replace(old, new)
        script = script.replace("END\n\nr", end + "\n\nr")
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script, self.table],
            cwd=ROOT,
            env={**os.environ, "DBTESTCASE_DATABASE": MYSQL, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def backend(self) -> MySQLBackend:
        """Return what another process would work with."""
        backend = MySQLBackend(make_url(MYSQL))
        self.addCleanup(backend.close)
        return backend

    def build(self, connection: Connection) -> None:
        connection.execute(text(f"CREATE TABLE {self.table} (id INTEGER)"))

    def run_script(self, **arguments: str) -> str:
        process = self.start(**arguments)
        said: str = process.communicate()[0].strip()
        return said

    def new(self) -> set[str]:
        """Return the databases that were made for this test."""
        tables = "SELECT table_schema FROM information_schema.tables WHERE table_name = %s"
        return {name for (name,) in query(tables, self.table)}

    def age(self, name: str, days: int) -> None:
        """Let ``name`` have been used that many days ago."""
        query(
            "UPDATE dbtestcase_registry.databases SET used = UTC_DATE() - INTERVAL %s DAY"
            " WHERE name = %s",
            *(days, name),
        )

    def waiting(self, **environment: str) -> Any:
        process = self.start(end=WAIT, **environment)
        self.addCleanup(process.communicate)
        self.addCleanup(process.terminate)
        while process.stdout.readline() != "waiting\n":
            self.assertIsNone(process.poll())
        return process

    def test_the_second_run_builds_nothing(self) -> None:
        self.assertEqual(self.run_script(), "built")
        self.assertEqual(self.run_script(), "")
        [template] = self.new()
        self.assertRegex(template, r"^dbtestcase_template_[0-9a-f]{16}_1$")
        self.assertEqual(registered()[template], "ready")

    def test_nor_where_tests_commit(self) -> None:
        self.assertEqual(set(self.run_script(ISOLATION="truncation").split()), {"built"})
        self.assertEqual(self.run_script(ISOLATION="truncation"), "")
        template, *copies = sorted(self.new(), reverse=True)
        stem = template.replace("template", "copy").removesuffix("1")
        self.assertEqual(copies, [f"{stem}2", f"{stem}1"])
        self.assertEqual({registered()[name] for name in copies}, {"ready"})
        left = {one.name.split()[0]: one for one in self.backend().leftovers()}
        self.assertEqual([left[name].kind for name in copies], ["copy", "copy"])
        left[copies[0]].remove()
        self.assertEqual(self.new(), {template, copies[1]})

    def test_rebuild_while_another_process_has_them(self) -> None:
        process = self.waiting(ISOLATION="truncation")
        copies = {name for name in self.new() if "copy" in name}
        self.run_script(ISOLATION="truncation", DBTESTCASE_REBUILD="1")
        process.communicate()
        self.assertEqual({registered()[name] for name in copies}, {"unfinished"})

    def test_several_processes_have_one_each(self) -> None:
        self.waiting()
        self.assertEqual(self.run_script(), "built")
        self.assertEqual(self.run_script(), "")
        self.assertEqual({name[-2:] for name in self.new()}, {"_1", "_2"})

    @tried("four runs at once", "building a template", "built for each")
    def test_processes_that_start_together_share_what_is_free(self) -> None:
        processes = [self.start() for _ in range(4)]
        for process in processes:
            self.assertIn(process.communicate()[0].strip(), {"", "built"})
        self.assertEqual(self.run_script(), "")

    def test_rebuild_by_a_variable(self) -> None:
        self.run_script()
        self.assertEqual(self.run_script(DBTESTCASE_REBUILD="1"), "built")
        self.assertEqual(self.run_script(DBTESTCASE_REBUILD="0"), "")

    def test_rebuild_what_this_process_has_used(self) -> None:
        built = []

        def build(connection: Connection) -> None:
            connection.execute(text(f"CREATE TABLE {self.table} (id INTEGER)"))
            built.append(connection)

        backend = backend_for(MYSQL)
        for rebuild, count in [(False, 1), (False, 1), (True, 2)]:
            backend.create(backend.template(self.table, build, rebuild=rebuild)).drop()
            self.assertEqual(len(built), count)
        self.assertEqual(len(self.new()), 1)
        backend.close()

    def test_rebuild_is_not_forgotten_when_those_who_have_them_commit(self) -> None:
        backend, other = self.backend(), self.backend()
        lent = backend.create(backend.template(self.table, self.build))
        other.template(self.table, self.build, rebuild=True)
        backend.suspect(lent.target.name)
        lent.drop()
        self.assertEqual(registered()[lent.target.name], "unfinished")

    def test_what_was_lent_when_the_door_was_lost_is_not_lent_again(self) -> None:
        backend, other = self.backend(), self.backend()
        template = backend.template(self.table, self.build)
        first, second = (backend.create(template) for _ in range(2))
        names = {first.target.name, second.target.name}
        backend.suspect(second.target.name)
        [(number,)] = backend.door.exec_driver_sql("SELECT CONNECTION_ID()")
        query(f"KILL {number}")
        with self.assertRaises(DBAPIError):
            list(backend.leftovers())
        third = backend.create(template)
        self.assertNotIn(third.target.name, names)
        self.assertEqual(backend.losses, 1)
        theirs = other.create(other.template(self.table, self.build))
        self.assertNotIn(theirs.target.name, {*names, third.target.name})
        first.drop()
        backend.give_back(second.target.name, broken=True)
        self.assertEqual(registered()[second.target.name], "suspect")
        self.assertEqual(backend.create(template).target.name, first.target.name)

    def test_another_hook_is_another_template(self) -> None:
        self.run_script()
        self.assertEqual(self.run_script(middle="connection.execute(text('SELECT 1'))"), "built")
        self.assertEqual(len(self.new()), 2)

    @tried("kill -9", "building a template", "made anew")
    def test_killed_while_building(self) -> None:
        middle = f"if os.environ.get('KILL'): {KILL}"
        self.assertEqual(self.run_script(middle=middle, KILL="1"), "built")
        [left] = self.new()
        self.assertEqual(registered()[left], "unfinished")
        self.assertEqual(self.run_script(middle=middle), "built")
        self.assertEqual(registered()[left], "ready")

    def await_end(self, name: str) -> None:
        """Wait until the server knows that a process is gone that had ``name``."""
        self.assertTrue(until(lambda: query("SELECT IS_FREE_LOCK(%s)", name) == [(1,)]))

    @tried("kill -9", "creating a database", "made anew")
    def test_killed_while_creating_a_database(self) -> None:
        for send in ("pass", "execute(self, sql)", SEND):
            with self.subTest(send):
                self.table = f"t{secrets.token_hex(6)}"
                name = self.run_script(before=KILLED.format(what="CREATE DATABASE `", send=send))
                self.assertEqual(registered()[name], "unfinished")
                self.await_end(name)
                self.assertEqual(self.run_script(), "built")
                self.assertEqual(self.new(), {name})
                self.assertEqual(registered()[name], "ready")
                self.drop_new()

    @tried("kill -9", "dropping a database", "made anew")
    def test_killed_while_dropping_a_database(self) -> None:
        """As ``python -m dbtestcase clean`` does, with what is ready for the next run."""
        half = "execute(self, f'DROP TABLE {name}.{table}')"
        clean = (
            "backend = MySQLBackend(make_url(os.environ['DBTESTCASE_DATABASE']))\n"
            "for left in list(backend.leftovers()):\n"
            "    if left.name.split()[0] == os.environ['NAME']: left.remove()\n"
        )
        for send in ("pass", half, "execute(self, sql)", SEND):
            with self.subTest(send):
                self.table = f"t{secrets.token_hex(6)}"
                self.run_script()
                [name] = self.new()
                killed = KILLED.format(what="DROP DATABASE", send=send) + clean
                self.assertEqual(self.run_script(before=killed, NAME=name), name)
                self.await_end(name)
                self.assertEqual(self.run_script(), "built")
                self.assertEqual(self.run_script(), "")
                self.drop_new()

    def test_killed_in_a_test(self) -> None:
        self.assertEqual(self.run_script(end=KILL), "built")
        self.assertEqual(self.run_script(), "")

    def test_killed_after_something_was_committed(self) -> None:
        self.run_script()
        self.run_script(end=f"{CALL.replace('self.', 'unsafe = self.')}; {KILL}")
        self.assertEqual(self.run_script(), "built")
        self.assertEqual(self.run_script(), "")

    def test_killed_before_that_was_noticed(self) -> None:
        self.run_script()
        never = "from dbtestcase.sandbox import Sandbox; Sandbox.check_intact = lambda self: None"
        self.run_script(end=f"{never}; {CALL}; {KILL}")
        [template] = self.new()
        self.assertEqual(registered()[template], "suspect")
        self.assertEqual(self.run_script(), "built")

    def test_killed_after_a_commit_on_the_drivers_own_connection(self) -> None:
        self.assertEqual(self.run_script(end=f"{COMMIT}        {KILL}"), "built")
        [template] = self.new()
        self.assertEqual(query(f"SELECT count(*) FROM {template}.{self.table}"), [(1,)])  # noqa: S608
        self.assertEqual(registered()[template], "suspect")
        self.assertEqual(self.run_script(end=COMMIT.replace("COMMIT", "DO 0")), "built")
        self.assertNotIn(template, registered())  # as nobody knows what was executed

    def test_databases_that_a_killed_run_has_committed_in_are_built_anew(self) -> None:
        self.run_script(end=KILL, ISOLATION="truncation")
        copies = {name for name in self.new() if "copy" in name}
        self.assertEqual({registered()[name] for name in copies}, {"suspect"})
        self.assertEqual(self.run_script(ISOLATION="truncation"), "built\nbuilt")
        self.assertEqual({registered()[name] for name in copies}, {"ready"})

    def test_what_another_process_has_written_to_is_built_anew(self) -> None:
        process = self.waiting(ISOLATION="truncation")
        stem = next(name for name in self.new() if "copy" in name)[:-1]
        query(f"INSERT INTO {stem}1.{self.table} VALUES (7)")  # noqa: S608
        process.communicate()
        self.assertEqual(self.run_script(ISOLATION="truncation"), "built")

    def test_what_a_living_process_has_is_left_alone(self) -> None:
        self.waiting(ISOLATION="truncation")
        there = self.new()
        self.assertGreater(len(there), 1)
        self.run_script()
        self.assertLessEqual(there, databases())

    @tried("the clock is set back", "templates on a server", "swept")
    def test_old_templates_are_dropped(self) -> None:
        self.run_script()
        [template] = self.new()
        age = (
            "UPDATE dbtestcase_registry.databases SET used = used - INTERVAL %s DAY WHERE name = %s"
        )
        query(age, 14, template)
        self.assertEqual(self.run_script(), "")
        for days in (15, -2):  # the server's clock was set back since
            query(age, days, template)
            self.assertEqual(self.run_script(), "built")

    def test_an_old_template_that_is_in_use_is_kept(self) -> None:
        self.waiting()
        [template] = self.new()
        query(
            "UPDATE dbtestcase_registry.databases SET used = '2000-01-01' WHERE name = %s", template
        )
        self.run_script()
        self.assertIn(template, self.new())

    def test_databases_of_others_are_left_alone(self) -> None:
        token = secrets.token_hex(4)
        names = {
            f"dbtestcase_copy_{token}{token}_1": None,  # not registered
            f"dbtestcase_template_{token}{token}_1": None,
            f"dbtestcase_copy_{token}{token}_2": "template",  # of another kind
            f"dbtestcase_template_{token}{token}_2": "copy",
            f"dbtestcase_shop_{token}": "shop",  # not our names
            f"shop_{token}": "copy",
            f"dbtestcase_{token}_3": "template",
            f"dbtestcase_template_{token}_4": "template",
        }
        for name, kind in names.items():
            query(f"CREATE DATABASE {name}")
            self.addCleanup(query, f"DROP DATABASE IF EXISTS {name}")
            if kind is not None:
                query(
                    "INSERT INTO dbtestcase_registry.databases"
                    " VALUES (%s, %s, 'ready', %s, 'test', '2000-01-01', '0')",
                    *(name, kind, token),
                )
                delete_row = "DELETE FROM dbtestcase_registry.databases WHERE name = %s"
                self.addCleanup(query, delete_row, name)
        self.run_script()
        there = {name for (name,) in query("SHOW DATABASES")}
        self.assertLessEqual(names.keys(), there)

    def test_a_name_that_somebody_else_has_taken_is_passed_over(self) -> None:
        self.run_script()
        [template] = self.new()
        query("DELETE FROM dbtestcase_registry.databases WHERE name = %s", template)
        query(f"CREATE TABLE {template}.precious (id INTEGER)")
        self.assertEqual(self.run_script(), "built")
        self.assertEqual(self.run_script(), "")
        self.assertTrue(query(f"SHOW TABLES IN {template} LIKE 'precious'"))
        self.assertEqual({name[-2:] for name in self.new()}, {"_1", "_2"})

    def test_an_error_while_building_leaves_nothing(self) -> None:
        say = "print(connection.scalar(text('SELECT DATABASE()')))"
        said = self.run_script(middle=f"{say}; connection.execute(text('CREATE NONSENSE'))")
        self.assertIn("CREATE NONSENSE", said)
        name = said.splitlines()[1]
        self.assertRegex(name, "^dbtestcase_template_")
        self.assertNotIn(name, databases())
        self.assertNotIn(name, registered())


@needs_mysql
class Rights(unittest.TestCase):
    def setUp(self) -> None:
        self.user = f"dbtestcase_{secrets.token_hex(4)}"
        query(f"CREATE USER {self.user} IDENTIFIED BY 'secret'")
        self.addCleanup(query, f"DROP USER {self.user}")
        self.addCleanup(provisioner.close)
        url = make_url(MYSQL).set(username=self.user, password="secret", database="")  # noqa: S106
        self.url = url.render_as_string(hide_password=False)

    def run_case(self, name: str) -> unittest.TestResult:
        def test(case: Any) -> None:
            case.assertDatabaseEmpty()
            case.session.add(User(name="bob"))
            case.session.commit()

        attributes = {"database": self.url, "metadata": Base, "isolation": name}
        return inner.run(type("Case", (DatabaseTestCase,), {**attributes, "t": 1, "test": test}))

    def test_who_may_not_create_databases_is_told_what_to_do(self) -> None:
        message = inner.only_error(self, self.run_case("transaction"))
        self.assertIn(f"The user {self.user} may not", message)
        self.assertIn("GRANT ALL PRIVILEGES ON `dbtestcase\\_%`.* TO ", message)
        self.assertIn(f"TO `{self.user}`@", message)
        self.assertNotIn("secret", message)

    def test_what_it_says_is_enough(self) -> None:
        query(f"GRANT ALL PRIVILEGES ON `dbtestcase\\_%%`.* TO {self.user}")
        for name in ("transaction", "truncation"):
            inner.passed(self, self.run_case(name), 1)

    def test_a_door_that_is_closed(self) -> None:
        query(f"GRANT ALL PRIVILEGES ON `dbtestcase\\_%%`.* TO {self.user}")
        url = make_url(self.url).set(database="mysql")
        self.url = url.render_as_string(hide_password=False)
        message = inner.only_error(self, self.run_case("transaction"))
        self.assertIn("may not use the database in", message)
        self.assertIn("leave it out", message)
        self.assertNotIn("secret", message)

    def test_a_wrong_password(self) -> None:
        self.url = self.url.replace("secret", "secret2")
        message = inner.only_error(self, self.run_case("transaction"))
        self.assertIn("cannot be reached", message)
        self.assertNotIn("secret2", message)


class Counters(unittest.TestCase):
    """What AUTO_INCREMENT is asked for, which takes long for all tables of a database."""

    def test_only_tables_that_were_written_to_are_looked_up(self) -> None:
        asked: list[str] = []

        def execute(sql: str) -> list[Any]:
            asked.append(sql)
            return [("a", 3, "BASE TABLE", 2), ("b{}", None, "BASE TABLE", None)]

        catalog = Catalog("things", execute)
        self.assertEqual(catalog.sizes_of([]), {})
        self.assertEqual(asked, [])
        self.assertEqual(catalog.sizes_of(["a", "b{}"]), {"a": (3, 2), "b{}": (1, 0)})
        [looks] = asked
        self.assertEqual(looks.count("table_schema = 'things' AND table_name = '"), 2)


@needs_mysql
class Versions(unittest.TestCase):
    """What servers call themselves."""

    def refusal(self, scheme: str = "") -> str:
        url = make_url(MYSQL)
        backend = MySQLBackend(url.set(drivername=scheme or url.drivername))
        with self.assertRaises(BackendError) as raised:
            _ = backend.door
        return str(raised.exception)

    def test_a_server_that_is_too_old(self) -> None:
        with mock.patch.object(mysql_errors, "OLDEST", {"MariaDB": (98, 7), "MySQL": (98, 7)}):
            said = self.refusal()
        self.assertRegex(said, r"The server at .* is (MariaDB|MySQL) \d+\.\d+\.\d+")
        self.assertIn(", which is too old for dbtestcase.\n", said)
        self.assertRegex(said, "name a server of (MariaDB|MySQL) 98.7 or later in the option")

    def test_which_are_too_old(self) -> None:
        for written, is_too_old in {
            "5.7.44-log": True,
            "8.0.46-0ubuntu0.24.04.1": False,
            "9.7.4-2": False,
            "10.4.34-MariaDB": True,
            "10.5.29-MariaDB-log": False,
            "11.8.3-MariaDB": False,
        }.items():
            with self.subTest(written):
                try:
                    mysql_errors.check_version(written, make_url(MYSQL))
                except BackendError:
                    self.assertTrue(is_too_old)
                else:
                    self.assertFalse(is_too_old)

    def test_a_server_of_the_other_kind(self) -> None:
        def is_mysql(dialect: MySQLDialect, _: str) -> tuple[int, ...]:
            return parse(dialect, "8.0.46-0ubuntu0.24.04.1")

        parse = MySQLDialect._parse_server_version
        with mock.patch.object(MySQLDialect, "_parse_server_version", is_mysql):
            said = self.refusal("mariadb")
        self.assertIn("write mysql:// instead of mariadb:// in the option database", said)


class OtherServer(unittest.TestCase):
    """Something that waits for us to speak first, as PostgreSQL does."""

    def setUp(self) -> None:
        listening = self.enterContext(socket.create_server(("127.0.0.1", 0)))
        self.url = f"mariadb://root@127.0.0.1:{listening.getsockname()[1]}/test"

    def test_it_is_not_waited_for_without_end(self) -> None:
        for driver in sorted({"pymysql", "mysqldb"} & set(drivers())):
            backend = backend_for(f"{self.url}?connect_timeout=1".replace(":", f"+{driver}:", 1))
            with (
                self.subTest(driver),
                self.assertRaisesRegex(BackendError, "MariaDB or MySQL which listens there"),
            ):
                backend.door  # type: ignore[attr-defined]  # noqa: B018

    def test_how_long_it_is_waited_for(self) -> None:
        for url, seconds in ((self.url, 10), (f"{self.url}?connect_timeout=3", None)):
            for is_async in (False, True):
                backend = MySQLBackend(make_url(url))
                dialect = backend.source(is_async=is_async).dialect
                arguments = backend.connect_arguments(dialect)
                with self.subTest(url, is_async=is_async):
                    self.assertEqual(arguments.get("connect_timeout"), seconds)


@needs_mysql
class Commits(Cases):
    """Statements that commit as a side effect are not executed in a transaction that is shared."""

    #: Harmless ones, which the server is asked about too.
    COMMITTING = [
        "CREATE TABLE extra (id INTEGER)",
        "create or replace table extra (id INTEGER)",
        "/* a comment */ CREATE TABLE extra2 AS SELECT 1 AS id",
        "/*!40101 CREATE TABLE extra3 (id INTEGER) */",
        "# a comment\n ALTER TABLE extra ADD COLUMN more INTEGER",
        "CREATE INDEX extra_id ON extra (id)",
        "DROP INDEX extra_id ON extra",
        "RENAME TABLE extra2 TO extra4",
        "TRUNCATE TABLE extra",
        "TRUNCATE extra",
        "CREATE VIEW seen AS SELECT 1 AS id",
        "ALTER VIEW seen AS SELECT 2 AS id",
        "DROP VIEW seen",
        "CREATE TRIGGER tr BEFORE INSERT ON extra FOR EACH ROW SET NEW.id = 1",
        "DROP TRIGGER tr",
        "CREATE PROCEDURE p2() SELECT 1",
        "ALTER PROCEDURE p2 COMMENT 'x'",
        "DROP PROCEDURE p2",
        "CREATE FUNCTION f2() RETURNS INTEGER DETERMINISTIC RETURN 1",
        "DROP FUNCTION f2",
        "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DISABLE DO SELECT 1",
        "ALTER EVENT e COMMENT 'x'",
        "DROP EVENT e",
        "ANALYZE TABLE extra",
        "ANALYZE LOCAL TABLE extra",
        "OPTIMIZE TABLE extra",
        "CHECK TABLE extra",
        "REPAIR TABLE extra",
        "LOCK TABLES extra WRITE",
        "UNLOCK TABLES",
        "FLUSH TABLES extra",
        "CREATE DATABASE IF NOT EXISTS dbtestcase_commits",
        "ALTER DATABASE dbtestcase_commits CHARACTER SET utf8mb4",
        "DROP DATABASE dbtestcase_commits",
        "CREATE USER dbtestcase_commits",
        "RENAME USER dbtestcase_commits TO dbtestcase_commits2",
        "GRANT SELECT ON test.* TO dbtestcase_commits2",
        "REVOKE ALL PRIVILEGES, GRANT OPTION FROM dbtestcase_commits2",
        "SET PASSWORD FOR dbtestcase_commits2 = ''",
        "DROP USER dbtestcase_commits2",
        "SET STATEMENT max_statement_time = 100 FOR CREATE TABLE extra5 (id INTEGER)",
        "DROP TABLE extra5",
        "DROP TABLE extra, extra3, extra4",
    ]
    #: Those that change the server, or that it lacks.
    OTHERS = [
        "START SLAVE",
        "STOP SLAVE",
        "CHANGE MASTER TO MASTER_HOST = 'nowhere.invalid'",
        "START REPLICA",
        "LOAD INDEX INTO CACHE users",
        "CACHE INDEX users IN hot",
        "RESET QUERY CACHE",
        "INSTALL PLUGIN x SONAME 'x'",
        "UNINSTALL PLUGIN x",
        "CREATE ROLE r",
        "DROP SEQUENCE s",
        "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x')",
        "SHUTDOWN",
        "BACKUP STAGE START",
        "SET @a = 1, autocommit = 1",
        "COMMIT RELEASE",
        "INSERT INTO users (name) VALUES ('x'); COMMIT",
        "XA START 'x'",
    ]
    KEEPING = [
        "CREATE TEMPORARY TABLE brief (id INTEGER)",
        "INSERT INTO brief VALUES (1)",
        "DROP TEMPORARY TABLE brief",
        "CREATE OR REPLACE TEMPORARY TABLE brief (id INTEGER)",
        "DROP TEMPORARY TABLE IF EXISTS brief",
        "ANALYZE SELECT 1",
        "CHECKSUM TABLE users",
        "SELECT 'CREATE TABLE x; COMMIT'",
        "SELECT 1 -- ; COMMIT",
        "PREPARE s FROM 'SELECT 1'",
        "DEALLOCATE PREPARE s",
        "DO 1",
        "SET @a = 1",
        "SHOW CREATE TABLE users",
        "EXPLAIN DELETE FROM users",
    ]

    def test_they_are_refused(self) -> None:
        committing = [*self.COMMITTING, *self.OTHERS]

        def test(case: Any) -> None:
            for statement in committing:
                with case.subTest(statement), case.own_engine.connect() as connection:
                    connection.exec_driver_sql(ADD)
                    with case.assertRaises(TransactionEndedError) as raised:
                        connection.exec_driver_sql(statement)
                    case.assertIn(statement.strip(), str(raised.exception))
                    case.assertIn(case.id(), str(raised.exception))
                    case.assertIn('isolation("truncation")', str(raised.exception))
            only_alice(case)

        self.each_driver(test, only_alice)

    def test_others_are_not(self) -> None:
        keeping = understood(self.KEEPING)
        self.each_driver(
            lambda case: execute(case, ADD, *keeping, ADD.replace("bob", "x")), only_alice
        )

    def test_the_server_agrees(self) -> None:
        """A savepoint is gone when the transaction has been committed."""
        scratch, own = (f"dbtestcase_{what}_{secrets.token_hex(4)}" for what in ("scratch", "own"))
        query(f"CREATE DATABASE {scratch}")
        self.addCleanup(query, f"DROP DATABASE {scratch}")
        self.addCleanup(query, f"DROP DATABASE IF EXISTS {own}")
        self.addCleanup(query, f"DROP USER IF EXISTS {own}, {own}2")
        with server() as connection:
            connection.exec_driver_sql(f"USE {scratch}")
            connection.exec_driver_sql("CREATE TABLE users (id INTEGER)")
            for statements, stays in [(self.KEEPING, True), (self.COMMITTING, False)]:
                for general in understood(statements):
                    statement = general.replace("dbtestcase_commits", own)
                    if statement != "UNLOCK TABLES":  # BEGIN unlocks them
                        connection.exec_driver_sql("BEGIN")
                        connection.exec_driver_sql("SAVEPOINT before_it")
                        result = connection.exec_driver_sql(statement.replace("%", "%%"))
                        if result.returns_rows:
                            result.all()
                        self.assertEqual(self.is_there(connection), stays, statement)

    @staticmethod
    def is_there(connection: Connection) -> bool:
        try:
            connection.exec_driver_sql("RELEASE SAVEPOINT before_it")
        except DBAPIError:
            return False
        return True

    PROCEDURES = [
        "CREATE PROCEDURE adds() INSERT INTO users (name) VALUES ('bob')",
        "CREATE PROCEDURE fails_late() BEGIN"
        " INSERT INTO users (name) VALUES ('bob'); INSERT INTO users (name) VALUES ('alice'); END",
        "CREATE PROCEDURE commits() BEGIN INSERT INTO users (name) VALUES ('bob'); COMMIT; END",
        "CREATE PROCEDURE creates() BEGIN CREATE TABLE extra (id INTEGER); END",
        "CREATE PROCEDURE restarts() BEGIN START TRANSACTION; END",
        "CREATE PROCEDURE fails() BEGIN TRUNCATE posts; INSERT INTO users (id) VALUES (NULL); END",
        "CREATE PROCEDURE looks() BEGIN SELECT name FROM users; SELECT 2; END",
        "CREATE PROCEDURE shows() BEGIN SELECT 1; CREATE TABLE extra (id INTEGER); END",
        "CREATE FUNCTION add_user() RETURNS INTEGER DETERMINISTIC MODIFIES SQL DATA"
        " BEGIN INSERT INTO users (name) VALUES ('bob'); RETURN 1; END",
    ]

    def test_what_hides_a_commit_is_found_out(self) -> None:
        hidden = [
            "CALL commits()",
            "CALL creates()",
            "CALL restarts()",
            "CALL fails()",
            "EXECUTE IMMEDIATE 'CREATE TABLE extra (id INTEGER)'",
            "BEGIN NOT ATOMIC COMMIT; BEGIN NOT ATOMIC END; END",
        ]

        def ends(statement: str) -> Callable[[Any], None]:
            def test(case: Any) -> None:
                only_alice(case)
                with case.assertRaises(TransactionEndedError) as raised:
                    execute(case, ADD.replace("bob", "carl"), statement)
                case.assertIn(case.id(), str(raised.exception))
                case.assertIn("rebuilt before the next test", str(raised.exception))

            return test

        tests = [ends(statement) for statement in understood(hidden)]
        self.each_driver(*tests, only_alice, setUpDatabase=self.hook(*self.PROCEDURES))

    def test_what_is_found_out_late_is_not_lost(self) -> None:
        """After the first result of several."""

        def test(case: Any) -> None:
            only_alice(case)
            execute(case, "CALL shows()")

        for driver in drivers():
            with self.subTest(driver):
                hook = self.hook(*self.PROCEDURES)
                case = self.case(test, only_alice, driver=driver, setUpDatabase=hook)
                result = inner.run(case)
                self.assertEqual(len(result.errors), 1)
                self.assertIn("TransactionEndedError", result.errors[0][1])

    def test_a_commit_on_the_drivers_own_connection_hides_behind_a_begin(self) -> None:
        def test(case: Any) -> None:
            case.assertEqual(case.names(), [])
            execute(case, ADD)
            with case.own_engine.connect() as connection:
                await_only(connection.connection.driver_connection.begin())

        for driver in {"asyncmy", "aiomysql"} & set(drivers()):
            nobody = classmethod(lambda cls, session: None)
            cases = [self.case(test, test, driver=driver, setUpTestData=nobody) for _ in range(2)]
            with self.subTest(driver):
                inner.passed(self, inner.run(*cases), 4)

    def test_procedures_that_do_not_commit(self) -> None:
        def test(case: Any) -> None:
            execute(case, "CALL adds()")
            case.assertEqual(case.names(), ["alice", "bob"])
            with case.own_engine.connect() as connection:
                names = connection.exec_driver_sql("CALL looks()").all()
                connection.rollback()
            case.assertEqual(names, [("alice",), ("bob",)])

        def rolled_back(case: Any) -> None:
            with case.own_engine.connect() as connection:
                with case.assertRaises(IntegrityError):
                    connection.exec_driver_sql("CALL fails_late()")
                case.register("carl")
            case.assertEqual(case.names(), ["alice", "carl"])

        def by_function(case: Any) -> None:
            with case.own_engine.connect() as connection:
                connection.exec_driver_sql("SELECT add_user()")
            case.assertEqual(case.names(), ["alice"])

        hook = self.hook(*self.PROCEDURES)
        self.each_driver(test, by_function, only_alice, setUpDatabase=hook)

        for driver in drivers():
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                result = inner.run(self.case(rolled_back, driver=driver, setUpDatabase=hook))
                self.assertIn("InterleavedTransactionsError", inner.only_error(self, result))
                del result
                gc.collect()
                self.assertEqual([str(each.message) for each in warned], [])

    def test_callproc(self) -> None:
        def test(case: Any) -> None:
            connection = case.own_engine.raw_connection()
            with connection.cursor() as cursor:
                cursor.callproc("adds")
            connection.close()
            case.assertEqual(case.names(), ["alice"])

        for driver in {"pymysql", "mysqldb"} & set(drivers()):
            case = self.case(test, driver=driver, setUpDatabase=self.hook(*self.PROCEDURES))
            inner.passed(self, inner.run(case), 1)

    def test_a_connection_that_the_server_has_closed(self) -> None:
        def test(case: Any) -> None:
            with case.own_engine.connect() as connection:
                connection.exec_driver_sql(ADD)
                [(number,)] = connection.exec_driver_sql("SELECT CONNECTION_ID()")
                query(f"KILL {number}")
                with case.assertRaises((TransactionEndedError, DBAPIError)):
                    connection.exec_driver_sql(ADD)

        for driver in drivers():
            with self.subTest(driver):
                result = inner.run(self.case(test, only_alice, driver=driver))
                errors = [message for _, message in result.errors + result.failures]
                self.assertNotIn("only_alice", "".join(errors))
                self.assertEqual(result.testsRun, 2)


@needs_mysql
class Connections(Cases):
    """What applications do to a driver's connection by themselves."""

    def test_autocommit(self) -> None:
        def test(case: Any) -> None:
            connection = case.own_engine.raw_connection()
            real = connection.dbapi_connection
            case.assertFalse(real.get_autocommit())
            cursor = connection.cursor()
            cursor.execute(ADD)
            cursor.execute("SET autocommit = 1")
            case.assertTrue(real.get_autocommit())
            connection.rollback()
            cursor.execute("SET @@session.autocommit = OFF")
            cursor.execute(ADD.replace("bob", "carl"))
            connection.rollback()
            real.autocommit(True)
            cursor.execute(ADD.replace("bob", "dora"))
            connection.rollback()
            real.ping()
            cursor.close()
            connection.close()
            case.assertEqual(case.names(), ["alice", "bob", "dora"])

        self.each_driver(test, only_alice)

    def test_transaction_control(self) -> None:
        def test(case: Any) -> None:
            connection = case.own_engine.raw_connection()
            cursor = connection.cursor()
            for statement in [
                "START TRANSACTION READ WRITE",
                ADD,
                "COMMIT AND CHAIN",
                "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
                ADD.replace("bob", "carl"),
                "ROLLBACK WORK AND NO CHAIN NO RELEASE",
                ADD.replace("bob", "dora"),
                "COMMIT WORK",
            ]:
                cursor.execute(statement)
            cursor.close()
            connection.close()
            case.assertEqual(case.names(), ["alice", "bob", "dora"])

        self.each_driver(test, only_alice)

    def test_an_executemany_that_failed_halfway_can_be_rolled_back(self) -> None:
        def test(case: Any) -> None:
            connection = case.own_engine.raw_connection()
            cursor = connection.cursor()
            update = "UPDATE users SET name = %s WHERE name = %s"
            with case.assertRaisesRegex(Exception, "name"):
                cursor.executemany(update, [("bob", "alice"), (None, "bob")])
            case.assertEqual(case.names(), ["bob"])
            connection.rollback()
            connection.close()
            only_alice(case)

        self.each_driver(test)

    def test_cursor_classes(self) -> None:
        def test(case: Any) -> None:
            import pymysql.cursors

            for cursor_class in (pymysql.cursors.DictCursor, pymysql.cursors.SSDictCursor):
                connection = case.own_engine.raw_connection()
                with connection.dbapi_connection.cursor(cursor_class) as cursor:
                    cursor.execute("SELECT name FROM users")
                    case.assertEqual(case.names(), ["alice"])
                    case.assertEqual(list(cursor), [{"name": "alice"}])
                connection.close()

        inner.passed(self, inner.run(self.case(test, driver="pymysql")), 1)

    def test_a_task_that_is_cancelled(self) -> None:
        async def test(case: Any) -> None:
            slow = text("INSERT INTO users (name) SELECT CONCAT('bob', SLEEP(2))")
            with case.assertRaises(TimeoutError):
                await asyncio.wait_for(case.session.execute(slow), 0.05)
            await case.session.rollback()
            await greenlet_spawn(only_alice, case)

        for driver in {"asyncmy", "aiomysql"} & set(drivers()):
            inner.passed(self, inner.run(self.case(test, only_alice, driver=driver)), 2)

    def test_unix_socket(self) -> None:
        [(path,)] = query("SELECT @@socket")
        if not (
            os.path.exists(path) and make_url(MYSQL).host in {None, "", "127.0.0.1", "localhost"}
        ):
            self.skipTest("the server has no socket here")
        for driver in drivers():
            url = make_url(url_of(driver)).set(host="localhost", query={"unix_socket": path})
            case = self.case(only_alice, driver=driver)
            case.database = url.render_as_string(hide_password=False)
            with self.subTest(driver):
                inner.passed(self, inner.run(case), 1)

    def test_reset_sequences(self) -> None:
        def test(case: Any) -> None:
            with Session(case.app_engine) as session:
                user = User(name="bob")
                session.add(user)
                session.commit()
                case.assertEqual(user.id, 2)

        for name in ("transaction", "truncation", "template"):
            self.each_driver(test, test, isolation=name, reset_sequences=True)


@needs_mysql
class OtherDatabases(unittest.TestCase):
    def test_tables_in_other_databases_are_refused(self) -> None:
        metadata = MetaData()
        Table("orders", metadata, Column("id", Integer, primary_key=True), schema="production")
        attributes = {"database": MYSQL, "metadata": metadata, "test": print}
        message = inner.only_error(self, inner.run(type("Case", (DatabaseTestCase,), attributes)))
        self.assertIn("metadata has production.orders", message)

    def test_a_door_with_a_hostile_name(self) -> None:
        name = f"""A `b` "c" 'd'; 100% %s %(x)s \\ é {secrets.token_hex(4)}"""
        quoted = "`{}`".format(name.replace("`", "``").replace("%", "%%"))
        query(f"CREATE DATABASE {quoted}")
        self.addCleanup(query, f"DROP DATABASE {quoted}")
        self.addCleanup(provisioner.close)
        url = make_url(MYSQL).set(database=name).render_as_string(hide_password=False)
        for kind in ("transaction", "truncation", "template"):
            attributes = {"database": url, "metadata": Base.metadata, "isolation": kind}
            case = type("Case", (DatabaseTestCase,), {**attributes, "test": only_register})
            with self.subTest(kind):
                inner.passed(self, inner.run(case), 1)


def only_register(case: Any) -> None:
    case.assertDatabaseEmpty()
    case.session.add(User(name="bob"))
    case.session.commit()


@needs_mysql
class Truncation(Cases):
    def refilled(self, case: Any) -> list[list[str]]:
        """Run ``case`` and return which tables were emptied, after each test."""
        found = []
        refill = mysql_tables.refill

        def spy(copy: Any, original: Any, tables: Any) -> set[str]:
            found.append(sorted(tables))
            return refill(copy, original, tables)

        with mock.patch("dbtestcase.backends.mysql_database.refill", spy):
            inner.passed(self, inner.run(case), len([n for n in dir(case) if n[:5] == "test_"]))
        return found[1:-2]  # the first is the copy, the last are for the next class

    def test_only_what_was_written_to_is_restored(self) -> None:
        def update(case: Any) -> None:
            execute(case, "UPDATE posts SET title = 'x' WHERE title = 'one'")

        case = self.case(only_alice, update, only_alice, isolation="truncation")
        self.assertEqual(self.refilled(case), [[], ["posts"], []])

    def test_tables_are_truncated_only_where_keys_were_used_up(self) -> None:
        refill = mysql_tables.refill
        done: list[str] = []

        def spy(copy: Any, *others: Any) -> set[str]:
            def note(sql: str) -> Any:
                done.append(sql)
                return execute_there(sql)

            execute_there = copy.execute
            with mock.patch.object(copy, "execute", note):
                return refill(copy, *others)

        def finds(case: Any, truncated: list[str], deleted: list[str]) -> None:
            only_alice(case)
            for verb, tables in [("TRUNCATE TABLE", truncated), ("DELETE FROM", deleted)]:
                found = [sql.split("`")[-2] for sql in done if sql.startswith(verb)]
                case.assertEqual(found, tables)

        def update(case: Any) -> None:
            execute(case, "UPDATE posts SET title = 'x'")
            done.clear()

        def add(case: Any) -> None:
            finds(case, [], ["posts"])
            execute(case, ADD)
            done.clear()

        def last(case: Any) -> None:
            finds(case, ["users"], [])

        with mock.patch("dbtestcase.backends.mysql_database.refill", spy):
            inner.passed(self, inner.run(self.case(update, add, last, isolation="truncation")), 3)

    def test_auto_increment_is_restored(self) -> None:
        def setUpTestData(cls: Any, session: Any) -> None:
            session.add_all([User(name="alice"), User(name="x")])
            session.flush()
            session.execute(delete(User).where(User.name == "x"))

        def test(case: Any) -> None:
            case.assertEqual(case.names(), ["alice"])
            with Session(case.app_engine) as session:
                session.add_all([User(name="bob"), User(name="carl")])
                session.commit()
                ids = session.scalars(select(User.id).order_by(User.id)).all()
            case.assertEqual(ids, [1, 3, 4])
            execute(case, "INSERT INTO posts (title, author_id) VALUES ('first', 1)")
            with case.own_engine.connect() as connection:
                case.assertEqual(connection.scalar(select(Post.id)), 1)

        data = classmethod(setUpTestData)
        for name in ("truncation", "template"):
            self.each_driver(test, test, isolation=name, setUpTestData=data)

    def test_foreign_keys_carry_changes_on(self) -> None:
        hook = self.hook(
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, author INTEGER,"
            " FOREIGN KEY (author) REFERENCES users (id) ON DELETE CASCADE)",
            "CREATE TABLE marks (note INTEGER,"
            " FOREIGN KEY (note) REFERENCES notes (id) ON DELETE SET NULL)",
            "INSERT INTO users (id, name) VALUES (7, 'carl')",
            "INSERT INTO notes VALUES (1, 7)",
            "INSERT INTO marks VALUES (1)",
        )

        def test(case: Any) -> None:
            with case.own_engine.connect() as connection:
                notes = connection.exec_driver_sql("SELECT * FROM notes").all()
                marks = connection.exec_driver_sql("SELECT * FROM marks").all()
            case.assertEqual((notes, marks), ([(1, 7)], [(1,)]))
            execute(case, "DELETE FROM users WHERE name = 'carl'")

        case = self.case(test, test, isolation="truncation", setUpDatabase=hook)
        self.assertEqual(self.refilled(case)[0], ["marks", "notes", "users"])

    def test_views_triggers_and_routines_write_anywhere(self) -> None:
        hooks = {
            "INSERT INTO people (name) VALUES ('bob')": "CREATE VIEW people AS SELECT * FROM users",
            "CALL adds()": Commits.PROCEDURES[0],
            "SELECT add_user()": Commits.PROCEDURES[-1],
            "EXECUTE IMMEDIATE CONCAT('INSERT INTO us', 'ers (name) VALUES (1)')": "DO 1",
            "INSERT INTO tags (word) VALUES ('x')": "CREATE TRIGGER tr AFTER INSERT ON tags"
            " FOR EACH ROW INSERT INTO users (name) VALUES (NEW.word)",
        }
        for statement, definition in hooks.items():

            def test(case: Any, statement: str = statement) -> None:
                before = case.names()
                case.assertIn("alice", before)
                execute(case, statement)
                case.assertEqual(len(case.names()), len(before) + 1)

            with self.subTest(statement):
                if not understood([statement]):
                    continue
                hook = self.hook(definition)
                self.each_driver(test, test, isolation="truncation", setUpDatabase=hook)

    def test_triggers_do_not_fire_while_rows_are_put_back(self) -> None:
        hook = self.hook(
            "CREATE TRIGGER loud BEFORE INSERT ON users FOR EACH ROW"
            " SET NEW.name = CONCAT(NEW.name, '!')"
        )

        def test(case: Any) -> None:
            case.assertEqual(case.names(), ["alice!"])
            execute(case, ADD)
            case.assertEqual(case.names(), ["alice!", "bob!"])

        self.each_driver(test, test, isolation="truncation", setUpDatabase=hook)

    def test_generated_columns_and_odd_names(self) -> None:
        hook = self.hook(
            "CREATE TABLE `odd ``name` (id INTEGER, `the key` INTEGER AS (id + 1) STORED)",
            "INSERT INTO `odd ``name` (id) VALUES (0)",
        )

        def test(case: Any) -> None:
            with case.own_engine.begin() as connection:
                rows = connection.exec_driver_sql("SELECT * FROM `odd ``name`").all()
                case.assertEqual(rows, [(0, 1)])
                connection.exec_driver_sql("DELETE FROM `odd ``name`")

        self.each_driver(test, test, isolation="truncation", setUpDatabase=hook)

    def test_a_key_that_is_zero(self) -> None:
        hook = self.hook(
            "CREATE TABLE zeros (id INTEGER PRIMARY KEY AUTO_INCREMENT)",
            "INSERT INTO zeros VALUES (5)",
            "UPDATE zeros SET id = 0",
        )

        def test(case: Any) -> None:
            with case.own_engine.begin() as connection:
                rows = connection.exec_driver_sql("SELECT * FROM zeros").all()
                case.assertEqual(rows, [(0,)])
                connection.exec_driver_sql("INSERT INTO zeros VALUES (NULL)")
                case.assertEqual(connection.exec_driver_sql("SELECT LAST_INSERT_ID()").scalar(), 6)

        self.each_driver(test, test, isolation="truncation", setUpDatabase=hook)

    def test_ddl_in_a_procedure(self) -> None:
        def test(case: Any) -> None:
            case.assertNotIn("extra", case.tables())
            execute(case, "CALL creates()")
            case.assertIn("extra", case.tables())

        hook = self.hook(*Commits.PROCEDURES)
        self.each_driver(test, test, isolation="truncation", setUpDatabase=hook)

    def test_what_bypasses_the_recording_connection(self) -> None:
        def test(case: Any) -> None:
            only_alice(case)
            raw = case.own_engine.raw_connection()
            await_only(raw.driver_connection.query(ADD))
            raw.commit()
            raw.close()
            case.assertEqual(case.names(), ["alice", "bob"])

        for driver in {"asyncmy", "aiomysql"} & set(drivers()):
            case = self.case(test, test, driver=driver, isolation="truncation")
            inner.passed(self, inner.run(case), 2)

    def test_the_next_class_finds_databases_as_they_were_built(self) -> None:
        built = []
        hook = self.hook(
            "INSERT INTO tags (word) VALUES ('x')", "INSERT INTO users VALUES (9, 'z', 1)"
        )

        def setUpDatabase(cls: Any, connection: Any) -> None:
            built.append(cls)
            hook.__func__(cls, connection)

        def test(case: Any) -> None:
            case.assertEqual(case.names(), ["alice", "z"])
            execute(case, "DELETE FROM tags", "DELETE FROM posts", ADD)
            with case.own_engine.connect() as connection:
                ids = connection.scalars(select(User.id).order_by(User.id)).all()
            case.assertEqual(ids, [9, 10, 11])

        for driver in drivers():
            built.clear()
            attributes = {"isolation": "truncation", "setUpDatabase": classmethod(setUpDatabase)}
            cases = [self.case(test, test, driver=driver, **attributes) for _ in range(3)]
            with self.subTest(driver):
                inner.passed(self, inner.run(*cases), 6)
                self.assertLessEqual(len(built), 3)  # the template, what is committed, its copy

    def test_the_next_class_finds_auto_increment_where_it_was(self) -> None:
        hook = self.hook("CREATE TABLE notes (id INTEGER PRIMARY KEY AUTO_INCREMENT)")

        @isolation("transaction")
        def in_vain(case: Any) -> None:
            execute(case, "INSERT INTO notes VALUES (NULL)")

        def test(case: Any) -> None:
            with case.own_engine.begin() as connection:
                connection.exec_driver_sql("INSERT INTO notes VALUES (NULL)")
                ids = connection.exec_driver_sql("SELECT id FROM notes").all()
            case.assertEqual(ids, [(1,)])

        attributes = {"isolation": "truncation", "setUpDatabase": hook}
        cases = [self.case(test, in_vain, **attributes), self.case(test, **attributes)]
        inner.passed(self, inner.run(*cases), 3)

    def test_what_was_altered_is_not_kept_for_the_next_class(self) -> None:
        def setUpTestData(cls: Any, session: Any) -> None:
            session.execute(text("CREATE TABLE extra (id INTEGER)"))

        def alter(case: Any) -> None:
            execute(case, "CALL creates()")
            case.assertIn("extra", case.tables())

        def test(case: Any) -> None:
            case.assertNotIn("extra", case.tables())

        attributes = {"isolation": "truncation", "setUpDatabase": self.hook(*Commits.PROCEDURES)}
        by_data = self.case(nothing, **attributes, setUpTestData=classmethod(setUpTestData))
        for altering in (self.case(alter, **attributes), by_data):
            inner.passed(self, inner.run(altering, self.case(test, **attributes)), 2)

    def test_transaction_and_truncation_in_one_class(self) -> None:
        def test(case: Any) -> None:
            only_alice(case)
            case.register("bob")

        @isolation("truncation")
        def truncated(case: Any) -> None:
            test(case)

        self.each_driver(test, truncated, test, truncated)


class Statements(unittest.TestCase):
    """What the text of a statement says; no server is needed."""

    def test_what_reads(self) -> None:
        for sql, reads in {
            "SELECT 1": True,
            "(SELECT 1) UNION (SELECT 2)": True,
            "SELECT * FROM t FOR UPDATE": True,
            "SELECT 'INTO; DELETE'": True,
            "SELECT LAST_INSERT_ID()": True,
            "WITH a AS (SELECT 1) SELECT * FROM a FOR UPDATE": True,
            "EXPLAIN SELECT 1": True,
            "SHOW CREATE TABLE t": True,
            "DESC t": True,
            "SELECT 1 INTO @a": False,
            "SELECT GET_LOCK('a', 1)": False,
            "SELECT NEXTVAL(s)": False,
            "SELECT NEXT VALUE FOR s": False,
            "SELECT other.function(1)": False,
            "SELECT `other`.`function`(1)": False,
            "WITH a AS (SELECT 1) UPDATE t SET id = 1": False,
            "EXPLAIN ANALYZE DELETE FROM t": False,
            "ANALYZE UPDATE t SET id = 1": False,
            "SELECT 1; DELETE FROM t": False,
            "/*! DELETE FROM t */": False,
            "CALL p()": False,
            "FROBNICATE": False,
        }.items():
            with self.subTest(sql):
                self.assertEqual(kind_of(sql).reads, reads)

    def test_what_is_known(self) -> None:
        for sql in ("CALL p()", "EXECUTE s", "BEGIN NOT ATOMIC DROP TABLE t; END", "FROBNICATE"):
            with self.subTest(sql):
                self.assertFalse(kind_of(sql).known)

    def test_transaction_control(self) -> None:
        self.assertEqual(controls("start transaction with consistent snapshot"), ("BEGIN",))
        self.assertEqual(controls("/* x */ COMMIT WORK AND CHAIN;"), ("COMMIT", "BEGIN"))
        self.assertEqual(controls("SET TRANSACTION READ ONLY"), ())
        self.assertIsNone(controls("SET GLOBAL TRANSACTION READ ONLY"))
        self.assertIsNone(controls("COMMIT; SELECT 1"))
        self.assertIsNone(controls("ROLLBACK TO SAVEPOINT a"))
        self.assertIs(autocommit_in("SET LOCAL autocommit = TRUE"), True)
        self.assertIs(autocommit_in("set @@autocommit := 0;"), False)
        self.assertIsNone(autocommit_in("SET GLOBAL autocommit = 1"))
