"""PostgreSQL in a process of our own, from a wheel or from what the machine has."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import Database
from .embedded import EmbeddedServer, cache_directory, server_url
from .kept import kept, kept_file
from .leftover import Kept
from .postgres_server import KIND, PostgresServer
from .postgresql import PostgreSQLBackend
from .postgresql_database import LentTemplate, PostgreSQLDatabase
from .server import Target

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection


class PGServerBackend(EmbeddedServer, PostgreSQLBackend):
    """``pgserver://``: a server that starts with the first test class and ends with the process."""

    title = "pgserver"
    kind = KIND

    def __init__(self, url: URL) -> None:
        super().__init__(server_url(url, set()))
        self.server: PostgresServer = PostgresServer(cache_directory(self.title, "pgserver"))
        self._archives: dict[int, Path] = {}  # of databases that are kept, by process

    def template(
        self, fingerprint: str, build: Callable[[Connection], None], *, rebuild: bool = False
    ) -> Database:
        _ = self.door
        name = self.new_name()
        self._fill(name, build)
        return PGServerDatabase(self, Target(name), build)

    def create(self, original: Any, *, isolation: str = "") -> Database:
        """Lend the template itself to the first class whose tests all work in the sandbox.

        No other process could need it, and the class leaves it as it is.
        """
        if isinstance(original, PGServerDatabase):
            if original.spoiled:
                original.replace()
                self._fill(original.target.name, original.build)
                original.spoiled = original.lent = False
            if not (isolation or original.lent):
                original.lent = True
                return original
            original = self._clonable(original)
        return super().create(original, isolation=isolation)

    def _clonable(self, template: PGServerDatabase) -> PostgreSQLDatabase:
        """Return ``template`` as it was built, or what is built once in its place while in use."""
        if not template.in_use:
            template.restart_sequences()
            return template
        if template.twin is None:
            name = self.new_name()
            self._fill(name, template.build)
            template.twin = PostgreSQLDatabase(self, Target(name), template.build)
        return template.twin

    def drop(self, name: str) -> None:
        if self.server.is_alive():  # else it has gone with the server
            super().drop(name)

    def keep(self, target: Target) -> Kept:
        """Let ``target`` stay, in a file that is written before the server ends with us."""
        super().keep(target)
        process = os.getpid()
        if process not in self._archives:
            archive = self._archives[process] = kept_file("databases", f".{KIND}.tar")
            atexit.register(self._save, archive)  # which is before the server's stop
        archive = self._archives[process]
        reopen = [sys.executable, "-m", "dbtestcase.reopen", archive, target.name]
        return kept(reopen, ["rm", "-r", archive.parent])

    def _save(self, archive: Path) -> None:
        if self.server.is_alive():  # and ours, not that of a process that we were forked from
            self._execute("CHECKPOINT")
            self.server.save(archive)

    def close(self) -> None:
        self.server.stop()
        super().close()

    def _strategy(self, door: Connection) -> str:
        """Copy files: with nothing to make durable that takes a tenth of what logging it does."""
        return " STRATEGY FILE_COPY" if (door.dialect.server_version_info or ()) >= (15,) else ""

    def _ours(self) -> dict[str, str]:
        return super()._ours() if self.server.is_alive() else {}


class PGServerDatabase(LentTemplate):
    """A template that is lent to one class at a time, and cloned for all others."""

    spoiled = False
    twin: PostgreSQLDatabase | None = None  # what is cloned while a class is connected to it

    def replace(self) -> None:
        """Give way to one that is built anew, under the same name unless it was kept."""
        if self.kept:
            self.target, self.kept = Target(self._backend.new_name()), False
        else:
            self._backend.drop(self.target.name)
        self.sequences_when_new = self._lent_to = None

    def drop(self) -> None:
        """Let it be built anew, should it be used again; it ends with the server."""
        self.leave()
        self.spoiled = True
