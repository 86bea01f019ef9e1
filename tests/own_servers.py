"""Servers that a test class starts for itself, to kill or to start again, each named by a URL."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from dbtestcase.backends.postgres_binaries import (
    find_binaries,
    unprivileged_account,
    within_reach,
)
from dbtestcase.backends.postgres_data import initialised

from . import test_postgres_server
from .processes import IS_ROOT
from .small_disks import on_a_small_disk
from .test_dead_servers import has_ended
from .waiting import until

MARIADB = [shutil.which(name) or "" for name in ("mariadbd", "mariadb-install-db")]
NO_MARIADB = "" if all(MARIADB) else "mariadbd and mariadb-install-db are not on this machine"


class OwnServer(ABC):
    """A server in ``directory``, which listens at a socket there only."""

    title: str
    url: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.options: list[str] = []  # as --max-connections=10, which all of them understand
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def launch(self) -> subprocess.Popen[bytes]:
        """Start its process."""

    @abstractmethod
    def query(self, sql: str) -> list[Any]:
        """Return the rows of a statement."""

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._process = self.launch()
        assert until(self.answers), f"{self.title} does not answer"

    def answers(self) -> bool:
        try:
            self.query("SELECT 1")
        except (psycopg.OperationalError, pymysql.err.OperationalError):
            return False
        return True

    def stop(self, how: signal.Signals) -> None:
        """End it in order, unless it has ended."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def kill(self) -> None:
        """End it and all its processes, as ``kill -9`` does."""
        assert self._process is not None
        number = self._process.pid
        os.kill(number, signal.SIGSTOP)  # so that it starts no more of them
        children = Path(f"/proc/{number}/task/{number}/children").read_text()
        numbers = [number, *map(int, children.split())]
        for one in numbers:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        self._process.wait()
        self._process = None
        assert until(lambda: all(map(has_ended, numbers)))


class OwnPostgreSQL(OwnServer):
    title = "PostgreSQL"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.url = f"postgresql://postgres@/postgres?host={directory}"
        self.account = unprivileged_account()
        self.data = directory / "data"
        directory.chmod(0o755)
        self.data.mkdir(mode=0o700)
        if self.account is not None:
            for path in (directory, self.data):
                os.chown(path, self.account.uid, self.account.gid)
        binaries = self.binaries = find_binaries()
        if self.account is not None:
            self.binaries = within_reach(binaries, directory, self.account)
        archive = initialised(test_postgres_server.CACHE, binaries, self.account, directory.parent)
        with archive.open("rb") as stdin:
            assert self._run("tar", "-xf", "-", "-C", self.data, stdin=stdin).wait() == 0

        self.command = [
            *(self.binaries / "postgres", "-D", self.data, "-k", directory),
            *("-c", "listen_addresses=", "-c", "fsync=off"),
        ]

    def launch(self) -> subprocess.Popen[bytes]:
        return self._run(*self.command, *self.options, stderr=subprocess.DEVNULL)

    def query(self, sql: str) -> list[Any]:
        host = str(self.directory)
        with psycopg.connect(host=host, user="postgres", autocommit=True) as connection:
            cursor = connection.execute(sql)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        super().stop(how)

    def _run(self, *command: Any, **options: Any) -> subprocess.Popen[bytes]:
        account = self.account
        return subprocess.Popen(
            command,
            cwd=self.directory,
            user=account and account.uid,
            group=account and account.gid,
            extra_groups=account and (),
            **options,
        )


class OwnPostgreSQLOnASmallDisk(OwnPostgreSQL):
    """Its databases, and nothing else, are on the disk; started once, by root."""

    def launch(self) -> subprocess.Popen[bytes]:
        assert self.account is not None
        _, uid, gid = self.account
        base = self.data / "base"
        copy = shutil.copytree(base, self.directory / "base")
        fill = f'cp -R "$0/." "$1" && chown -R {uid}:{gid} "$1" && shift && exec "$@"'
        drop_rights = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
        command = ("/bin/sh", "-c", fill, copy, base, *drop_rights, *self.command)
        return subprocess.Popen(
            on_a_small_disk(base, "size=64m", *command),
            cwd=self.directory,
            stderr=subprocess.DEVNULL,
        )

    def fill(self) -> None:
        """Write until there is no room."""
        self.query("CREATE TABLE filler AS SELECT 1 AS number")
        with suppress(psycopg.errors.DiskFull):
            self.query("INSERT INTO filler SELECT generate_series(1, 10000000)")

    def make_room(self) -> None:
        self.query("DROP TABLE filler")


class OwnMariaDB(OwnServer):
    """With a directory for temporary files: in one that is shared, it would remove others'."""

    title = "MariaDB"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.socket = directory / "socket"
        self.url = f"mariadb://root@/?unix_socket={self.socket}"
        (directory / "tmp").mkdir()
        self._options = [
            *("--no-defaults", f"--datadir={directory / 'data'}", f"--tmpdir={directory / 'tmp'}"),
            *("--innodb-log-file-size=4M", "--innodb-flush-log-at-trx-commit=0"),
            *(["--user=root"] if IS_ROOT else []),
        ]
        subprocess.run(
            [
                *(MARIADB[1], *self._options, "--skip-test-db", "--skip-name-resolve"),
                "--auth-root-authentication-method=normal",
            ],
            check=True,
            capture_output=True,
        )

    def launch(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                *(MARIADB[0], *self._options, f"--socket={self.socket}", "--skip-networking"),
                *(f"--pid-file={self.directory / 'pid'}", *self.options),
            ],
            stderr=subprocess.DEVNULL,
        )

    def query(self, sql: str) -> list[Any]:
        with (
            closing(pymysql.connect(unix_socket=str(self.socket), user="root")) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)
            return list(cursor.fetchall())

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        super().stop(how)
