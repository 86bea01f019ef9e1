"""Data directories that outlast their servers: which are lent again, and what is in them then."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from sqlalchemy import make_url

from dbtestcase.backends import clusters
from dbtestcase.backends.clusters import Cluster, idle, lend, remove
from dbtestcase.exceptions import BackendError

from . import inner
from .faults import reporting, tried
from .test_postgres_server import MISSING, needs_it, new_cache
from .waiting import PATIENCE, until

if not MISSING:
    from dbtestcase.backends import pgserver
    from dbtestcase.backends.pgserver import PGServerBackend
    from dbtestcase.backends.postgresql_use import today

ROOT = Path(__file__).parent.parent
RUNNING, SHUT_DOWN = 6, 1


@reporting
class Lending(unittest.TestCase):
    def setUp(self) -> None:
        self.parent = self.enterContext(inner.directory()) / "clusters"

    def lend(self, version: str = "18.1", *, owner: int = os.geteuid()) -> Cluster:
        cluster = lend(self.parent, version, owner)
        self.addCleanup(cluster.give_back)
        return cluster

    def used(self, *, state: int = SHUT_DOWN) -> Path:
        """Return the data directory of a cluster that a server has answered from."""
        cluster = self.lend()
        (cluster.data / "global").mkdir(mode=0o700, parents=True)
        cluster.data.chmod(0o700)
        control = bytes(16) + state.to_bytes(4, sys.byteorder) + bytes(100)
        (cluster.data / "global" / "pg_control").write_bytes(control)
        cluster.note_answer()
        cluster.give_back()
        return cluster.data

    def test_to_one_at_a_time(self) -> None:
        first, second = self.lend(), self.lend()
        self.assertNotEqual(first.data, second.data)
        self.assertEqual(idle(self.parent), [])
        with self.assertRaises(BlockingIOError):
            remove(first.data.parent)
        second.give_back()
        first.give_back()
        self.assertEqual(self.lend().data, first.data)
        other = self.lend("17.9")
        self.assertNotIn(other.data, (first.data, second.data))
        self.assertEqual(idle(self.parent), [second.data.parent])

    def test_not_while_a_process_lives_that_was_given_the_lock(self) -> None:
        cluster = self.lend()
        assert cluster.lock is not None
        with subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[cluster.lock]
        ) as process:
            cluster.give_back()
            self.assertNotEqual(self.lend().data, cluster.data)
            process.kill()
        self.assertEqual(self.lend().data, cluster.data)

    def test_as_it_was_left(self) -> None:
        data = self.used()
        self.assertFalse(self.lend().is_new)
        self.assertTrue(data.exists())

    def test_anew_if_its_server_answers_after_something_is_found_in_it(self) -> None:
        cluster = self.lend()
        for _ in range(2):
            cluster.note_answer()
            cluster.distrust()
        cluster.note_answer()
        self.assertTrue(cluster.is_new)

    @tried("what is in it is broken", "the cache", "made anew", "pgserver")
    def test_anew_if_it_was_not_left_in_order(self) -> None:
        def distrust(data: Path) -> None:
            Cluster(data.parent).distrust()

        def truncate(data: Path) -> None:
            (data / "global" / "pg_control").write_bytes(bytes(10))

        def open_to_all(data: Path) -> None:
            data.chmod(0o755)

        def restart_the_machine(data: Path) -> None:
            self.enterContext(mock.patch.object(clusters, "_boot", return_value="another"))

        def know_of_no_restart(data: Path) -> None:
            self.enterContext(mock.patch.object(clusters, "_boot", return_value=""))
            (data.parent / "boot").write_text("")

        def nothing(data: Path) -> None: ...

        happenings = {
            **dict.fromkeys((distrust, truncate, open_to_all, restart_the_machine), SHUT_DOWN),
            know_of_no_restart: SHUT_DOWN,
            nothing: RUNNING,
        }
        for happening, state in happenings.items():
            with self.subTest(happening.__name__):
                data = self.used(state=state)
                happening(data)
                cluster = self.lend()
                self.assertEqual((cluster.data, cluster.is_new), (data, True))
                self.assertFalse(data.exists())
                cluster.give_back()
        self.used()
        self.assertTrue(self.lend(owner=os.geteuid() + 1).is_new)  # the data is another user's

    def test_anew_if_its_removal_did_not_come_to_an_end(self) -> None:
        data = self.used()
        with mock.patch("shutil.rmtree", side_effect=OSError), self.assertRaises(OSError):
            remove(data.parent)
        self.assertTrue(data.exists())
        self.assertTrue(self.lend().is_new)

    def test_the_machine_s_boot_is_known_where_there_is_no_proc(self) -> None:
        commands = self.enterContext(inner.directory())
        sysctl = commands / "sysctl"
        self.enterContext(mock.patch.object(clusters, "_BOOT_ID", commands / "none"))
        self.enterContext(mock.patch.dict(os.environ, PATH=str(commands)))
        self.assertEqual(clusters._boot(), "")
        for known in ("kern.boottime", "kern.bootsessionuuid"):
            sysctl.write_text(f'#!/bin/sh\ncase "$2" in {known}) echo "$2";; *) exit 1;; esac\n')
            sysctl.chmod(0o700)
            self.assertEqual(clusters._boot(), f"{known}\n")

    def test_not_what_is_somebody_else_s(self) -> None:
        data = self.used()
        elsewhere = self.parent.parent / "elsewhere"
        data.parent.rename(elsewhere)
        data.parent.symlink_to(elsewhere)
        self.assertNotEqual(self.lend().data, data)
        data.parent.unlink()
        elsewhere.rename(data.parent)
        data.parent.chmod(0o750)
        self.assertNotEqual(self.lend().data, data)
        self.assertTrue((data / "global").exists())

    def test_nothing_where_others_can_write(self) -> None:
        self.parent.mkdir()
        self.parent.chmod(0o777)
        with self.assertRaisesRegex(PermissionError, "Other users may write to it"):
            self.lend()
        self.assertEqual(list(self.parent.iterdir()), [])

    def test_nothing_where_no_directory_is_private(self) -> None:
        """As in a file system that has no permissions."""
        with (
            mock.patch.object(clusters, "_is_private", return_value=False),
            self.assertRaisesRegex(PermissionError, r"not private: '.*/clusters'$"),
        ):
            self.lend()
        self.assertEqual(list(self.parent.iterdir()), [])

    def test_one_that_is_not_used_for_weeks_is_removed(self) -> None:
        for moment in (0.0, time.time() + 2 * 86_400):  # by a clock that was set back
            old = self.used().parent
            os.utime(old, (moment, moment))
            new = self.lend("17.9").data.parent
            self.assertFalse(old.exists())
        os.utime(new, (0, 0))  # while it is lent
        self.lend()
        self.assertTrue(new.exists())


@needs_it
class Templates(unittest.TestCase):
    """Another backend stands for that of another process."""

    def setUp(self) -> None:
        home = new_cache(self.enterContext(inner.directory()))
        self.enterContext(mock.patch.dict(os.environ, XDG_CACHE_HOME=str(home)))

    @contextmanager
    def backend(self) -> Iterator[PGServerBackend]:
        backend = PGServerBackend(make_url("pgserver://"))
        with contextlib.closing(backend):
            yield backend

    def test_one_whose_files_are_lost_is_made_anew_by_the_next_run(self) -> None:
        built = mock.Mock()
        with self.backend() as backend:
            backend.template("some", built)
            data = backend.server.data_directory
        newest = max((path.name for path in (data / "base").iterdir()), key=int)
        shutil.rmtree(data / "base" / newest)
        with self.backend() as backend:
            template = backend.template("some", built)
            with self.assertRaisesRegex(BackendError, "(?s)does not exist.*run the tests again"):
                backend.create(template, isolation="truncation")
        built.assert_called_once()
        with self.backend() as backend:
            backend.create(backend.template("some", built), isolation="truncation").drop()
            self.assertEqual(backend.server.data_directory, data)
        self.assertEqual(built.call_count, 2)

    def test_so_many_stay_that_were_used_last(self) -> None:
        with self.backend() as backend:
            oldest, older, newer = (
                backend.template(name, mock.Mock()) for name in ("oldest", "older", "newer")
            )
            names = {database.target.name for database in (oldest, newer)}
            for database, day in ((oldest, today()), (older, today() - 1)):
                comment = json.dumps({"used": day})
                backend._execute(f"COMMENT ON DATABASE {database.target.name} IS '{comment}'")
        with mock.patch.object(pgserver, "_MOST_TEMPLATES", 2), self.backend() as backend:
            _ = backend.door
            self.assertEqual(backend._ours().keys(), names)
        with mock.patch.object(pgserver, "_MOST_TEMPLATES", 1), self.backend() as backend:
            _ = backend.door
            self.assertEqual(backend._ours().keys(), {newer.target.name})


SCRIPT = """
import os, signal, sys, unittest
from sqlalchemy import Column, Integer, MetaData, Table, event, text
from dbtestcase import DatabaseTestCase
from dbtestcase.backends import backend_for

metadata = MetaData()
table = Table("notes", metadata, Column("id", Integer, primary_key=True))
event.listen(metadata, "after_create", lambda *_, **__: print("built", flush=True))
server = backend_for("pgserver://").server

class Case(DatabaseTestCase):
    database = "pgserver://"
    metadata = metadata
    def test(self):
        self.assertDatabaseEmpty()
        self.session.execute(table.insert())
        self.session.commit()
        names = set(self.session.scalars(text(
            "SELECT datname FROM pg_database WHERE datname ~ '^dbtestcase_'")))
        print(len(names), server.data_directory, flush=True)
        exec(sys.argv[1])

unittest.main(argv=sys.argv[:1])
"""
KILL = "os.kill(os.getpid(), signal.SIGKILL)"
KILL_SERVER = """
os.kill(int((server.socket_directory / "process").read_text().split()[0]), signal.SIGKILL)
self.session.execute(text("SELECT pg_sleep(600)"))  # until it notices
"""
MAKE_ROLE = """
with backend_for("pgserver://").open(is_async=False) as door:
    door.execute("CREATE ROLE other")
"""


DOOR = """
backend = backend_for("pgserver://")
name, door = sorted(names)[0], backend.door.connection.driver_connection
"""
CREATE = "f'CREATE DATABASE {name}0 CONNECTION LIMIT {backend.birthmark}'.encode()"
DROP = "f'DROP DATABASE {name} WITH (FORCE)'.encode()"
BEGIN_TO_DROP = (
    "f\"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{name}'\".encode()"  # as it does
)


@needs_it
@reporting
class Runs(unittest.TestCase):
    """What one run builds, the next one has: a template, of which the class has a copy."""

    def setUp(self) -> None:
        self.directory = self.enterContext(inner.directory())
        self.cache = new_cache(self.directory)
        self.clusters = self.cache / "dbtestcase" / "pgserver" / "clusters"

    @contextmanager
    def running(self, code: str = "", **environment: str) -> Iterator[subprocess.Popen[str]]:
        """Start a run, whose test does ``code`` at last."""
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SCRIPT, code],
            cwd=ROOT,
            env={**os.environ, "XDG_CACHE_HOME": str(self.cache), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            yield process

    def run_one(self, code: str = "", *, status: int = 0, **environment: str) -> list[str]:
        """Return what a run says: whether it builds, the number of databases, and where."""
        with self.running(code, **environment) as process:
            said, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, status, errors)
        return said.split()

    def directories(self) -> list[Path]:
        return [path for path in self.clusters.iterdir() if path.is_dir()]

    def await_end(self) -> None:
        """Wait until the server of a process that was killed has ended."""
        self.assertTrue(until(lambda: len(idle(self.clusters)) == 1))

    def test_the_second_builds_nothing(self) -> None:
        built, *first = self.run_one()
        self.assertEqual((built, first[0]), ("built", "2"))
        left = [path for path in (Path(first[1]) / "base").iterdir() if path.name.isdigit()]
        self.assertEqual(len(left), 3 + 1)  # PostgreSQL's own, and the template
        self.assertEqual(self.run_one(), first)
        with self.subTest("after one that was killed"):
            self.assertEqual(self.run_one(KILL, status=-signal.SIGKILL), first)
            self.await_end()
            self.assertEqual(self.run_one(), first)
        with self.subTest("after what it has made is there in all databases"):
            self.assertEqual(self.run_one(MAKE_ROLE), first)
            self.assertEqual(self.run_one(), ["built", *first])
        with self.subTest("after one that has made that was killed"):
            self.run_one(MAKE_ROLE + KILL, status=-signal.SIGKILL)
            self.await_end()
            self.assertEqual(self.run_one(), ["built", *first])
        with self.subTest("after its server was killed"):
            self.run_one(KILL_SERVER, status=1)
            self.await_end()
            self.assertEqual(self.run_one(), ["built", *first])
        with self.subTest("after files were lost"):
            (Path(first[1]) / "global" / "pg_filenode.map").unlink()
            self.assertEqual(self.run_one(), ["built", *first])
            self.assertEqual(self.run_one(), first)

    def check_killed(self, *code: str) -> None:
        """Check that another run finds what a run has left that was killed after ``code``."""
        _, *first = self.run_one()
        for one in code:
            with self.subTest(one):
                self.assertEqual(self.run_one(DOOR + one + KILL, status=-signal.SIGKILL), first)
                self.await_end()
                self.assertEqual(self.run_one(), first)

    @tried("kill -9", "creating a database", "swept", "pgserver")
    def test_killed_while_creating_a_database(self) -> None:
        self.check_killed(f"door.execute({CREATE});", f"door.pgconn.send_query({CREATE});")

    @tried("kill -9", "dropping a database", "swept", "pgserver")
    def test_killed_while_dropping_a_database(self) -> None:
        self.check_killed(f"door.execute({BEGIN_TO_DROP});", f"door.pgconn.send_query({DROP});")

    def test_two_at_once(self) -> None:
        for builds in (["built"], []):
            with self.running("input()") as first:
                assert first.stdout is not None
                said = [first.stdout.readline().strip() for _ in (*builds, "where")]
                other = self.run_one()
                first.communicate("\n", timeout=PATIENCE)
            self.assertEqual(first.returncode, 0)
            self.assertEqual(said[:-1], builds)
            self.assertEqual(other[:-2], builds)
            self.assertNotEqual(said[-1].split()[1], other[-1])
        with self.subTest("all is to be built anew"):
            built, _, data = self.run_one(DBTESTCASE_REBUILD="1")
            self.assertEqual((built, self.directories()), ("built", [Path(data).parent]))
        ran = subprocess.run(
            [sys.executable, "-m", "dbtestcase", "clean", "pgserver://", "--yes"],
            cwd=ROOT,
            env={**os.environ, "XDG_CACHE_HOME": str(self.cache)},
            check=True,
            capture_output=True,
            text=True,
        )
        self.assertIn(f" templates     {Path(data).parent}\n", ran.stdout)
        self.assertEqual(self.directories(), [])

    def test_where_nothing_can_be_kept(self) -> None:
        self.clusters.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.clusters.touch()
        with self.running() as process:
            said, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, errors)
        built, number, data = said.split()
        self.assertEqual((built, number), ("built", "2"))
        self.assertFalse(Path(data).exists())
        said_why = rf"dbtestcase: each process builds its templates anew, .* in {self.clusters}: "
        self.assertRegex(errors, said_why)
