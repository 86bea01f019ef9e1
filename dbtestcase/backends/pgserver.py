"""PostgreSQL in a process of our own, from a wheel or from what the machine has."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ..at_exit import call_at_exit
from ..exceptions import BackendError
from . import clusters
from .base import Database
from .embedded import EmbeddedServer, cache_directory, server_url
from .kept import kept, kept_file
from .leftover import Kept, Leftover
from .postgres_data import KIND
from .postgres_server import PostgresServer
from .postgresql import PostgreSQLBackend
from .postgresql_errors import FEWER_CONNECTIONS, remedy_at_the_door
from .postgresql_use import last_use
from .server import Target

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection

_NUMBERS = text("SELECT datname, oid FROM pg_database")
# What is of no database, and does not go with those of a run.
_SHARED = """
SELECT EXISTS (SELECT FROM pg_authid WHERE oid >= 16384)
    OR EXISTS (SELECT FROM pg_tablespace WHERE oid >= 16384)
    OR EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = 0)
    OR EXISTS (SELECT FROM pg_database WHERE oid >= 16384 AND datname !~ '^dbtestcase_')
    OR EXISTS (SELECT FROM pg_file_settings WHERE sourcefile ~ 'postgresql.auto.conf$')
"""

_MOST_TEMPLATES = 30  # of about eight megabytes each

_ANOTHER = (
    "run the tests again, which makes this data directory anew, or remove all that are kept: "
    "python -m dbtestcase clean pgserver://"
)


class PGServerBackend(EmbeddedServer, PostgreSQLBackend):
    """``pgserver://``: a server that starts with the first test class and ends with the process.

    Its data directory stays with the templates in it, for one process at a time.
    """

    title = "pgserver"
    kind = KIND
    drops_together = 1  # as nothing waits for the disk

    def __init__(self, url: URL) -> None:
        super().__init__(server_url(url, set()))
        self.server: PostgresServer = PostgresServer(cache_directory(self.title, "pgserver"))
        self._archives: dict[int, tuple[Path, set[str]]] = {}  # of what is kept, by process
        self._rebuilt_by = 0  # which process
        self._checked = Path()  # the directory of the server in which a killed run left nothing

    def template(
        self, fingerprint: str, build: Callable[[Connection], None], *, rebuild: bool = False
    ) -> Database:
        if rebuild and self._rebuilt_by != os.getpid():
            self._rebuilt_by = os.getpid()
            self._remove_idle()
        return super().template(fingerprint, build, rebuild=rebuild)

    def _remove_idle(self) -> None:
        """Remove the data directories that other processes will have, with their templates."""
        self.server.launch()  # from one of them, in which each template will be built anew
        for path in clusters.idle(self.server.clusters):
            with suppress(OSError):  # another process has it now, or removes it
                clusters.remove(path)

    def drop(self, name: str) -> None:
        if self.server.is_alive():  # else the next one does it
            super().drop(name)

    def hand_over(self, name: str) -> None:
        """Let the database be ours: the user's is the copy in an archive."""

    def keep(self, target: Target) -> Kept:
        """Let ``target`` stay, in a file that is written before the server ends with us."""
        super().keep(target)
        process = os.getpid()
        if process not in self._archives:
            self._archives[process] = kept_file("databases", f".{KIND}.tar"), set()
            call_at_exit(self._save)  # which is before the databases are dropped
        archive, names = self._archives[process]
        names.add(target.name)
        reopen = [sys.executable, "-m", "dbtestcase.reopen", archive, target.name]
        return kept(reopen, ["rm", "-r", archive.parent])

    def _save(self) -> None:
        if self.server.is_alive():  # and ours, not that of a process that we were forked from
            archive, names = self._archives[os.getpid()]
            left_out = self._ours().keys() - names
            numbers = [number for name, number in self.door.execute(_NUMBERS) if name in left_out]
            self._execute("CHECKPOINT")
            self.server.save(archive, without=numbers)

    def leftovers(self) -> Iterable[Leftover]:
        yield from super().leftovers()
        for path in clusters.idle(self.server.clusters):
            yield Leftover("templates", str(path), partial(clusters.remove, path), path)

    def close(self) -> None:
        try:
            if self.is_open() and self.server.is_alive() and _has_shared(self.door):
                self.server.distrust()
            super().close()
        finally:
            self.server.stop()

    def _connect_to_door(self) -> Connection:
        door = super()._connect_to_door()
        if self._checked != self.server.socket_directory:
            if _has_shared(door):
                door.close()
                self.server.distrust()
                self.server.stop()
                door = super()._connect_to_door()
            self._checked = self.server.socket_directory
        return door

    def _enter(self, door: Connection) -> None:
        super()._enter(door)
        numbers = {name: number for name, number in door.execute(_NUMBERS)}  # noqa: C416
        templates = sorted(
            (day, numbers[name], name)
            for name, comment in self._ours().items()
            if (day := last_use(comment)) is not None
        )
        for *_, name in templates[:-_MOST_TEMPLATES]:
            with suppress(DBAPIError):
                self.drop(name)

    @contextmanager
    def reaching(self, name: str | None) -> Iterator[None]:
        try:
            with super().reaching(name):
                yield
        except BackendError:
            self.server.distrust()  # files of a template may be missing
            raise

    def remedy(self, reason: str) -> str:
        return FEWER_CONNECTIONS if remedy_at_the_door(reason) == FEWER_CONNECTIONS else _ANOTHER

    def _strategy(self, door: Connection) -> str:
        """Copy files: with nothing to make durable that takes a tenth of what logging it does."""
        return " STRATEGY FILE_COPY" if (door.dialect.server_version_info or ()) >= (15,) else ""

    def _ours(self) -> dict[str, str]:
        return super()._ours() if self.server.is_alive() else {}


def _has_shared(door: Connection) -> bool:
    """Tell whether a run has made what is of no database, which the next one may not expect."""
    return bool(door.exec_driver_sql(_SHARED).scalar_one())
