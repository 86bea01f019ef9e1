"""PGlite, which is PostgreSQL in WebAssembly: one database, for one connection at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..exceptions import BackendError, OptionError
from .base import Database, Features, shown
from .embedded import EmbeddedServer, cache_directory, server_url
from .engine_around import build_on
from .leftover import Leftover
from .notices import say_once
from .pglite_database import PGliteDatabase, PGliteLink
from .pglite_server import KIND, VERSION, PGliteServer
from .postgresql import PostgreSQLBackend
from .scripts import Scripts
from .template_files import TemplateFiles

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from .server import Target

_EMPTY = """
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT evtname AS name FROM pg_event_trigger LOOP
        EXECUTE format('DROP EVENT TRIGGER %I', one.name);
    END LOOP;
    FOR one IN SELECT nspname AS name FROM pg_namespace
                WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', one.name);
    END LOOP;
    FOR one IN SELECT extname AS name FROM pg_extension WHERE extname <> 'plpgsql' LOOP
        EXECUTE format('DROP EXTENSION %I CASCADE', one.name);
    END LOOP;
    CREATE SCHEMA public;
END $$
"""

# What a start would empty: it is one after a crash, and the write-ahead log has nothing of them.
_UNLOGGED = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relpersistence = 'u')"

_BUSY = "PGlite serves one connection at a time"
_ATTEMPTS = 20

_MOST_TEMPLATES = 30  # of about two megabytes each


class PGliteBackend(EmbeddedServer, PostgreSQLBackend):
    """``pglite://``, or ``pglite://?extensions=vector,pg_trgm`` for ``CREATE EXTENSION``.

    It cannot clone: test classes that have a schema in common use the one database in turn, and
    it is emptied for those that have another. What was built is kept for later processes, whose
    server starts with it.
    """

    title = "PGlite"
    kind = KIND
    features = Features(
        isolations=frozenset({"transaction"}),
        elsewhere=", or the database pgserver://, which has all",
        one_database=True,
        clones=False,
    )

    def __init__(self, url: URL) -> None:
        super().__init__(server_url(url, {"extensions"}))
        extensions = str(url.query.get("extensions", ""))
        names = tuple(filter(None, extensions.replace(" ", "").split(",")))
        if not all(name.replace("_", "").isalnum() for name in names):
            raise OptionError(f"database = '{shown(url)}': write extensions=vector,pg_trgm")
        directory = cache_directory(self.title, "pglite")
        self.server: PGliteServer = PGliteServer(directory, names)
        kept = directory / KIND / "templates"
        self.templates = TemplateFiles(kept, ".tar.gz", VERSION, *names, most=_MOST_TEMPLATES)
        self.scripts: Scripts = Scripts(TemplateFiles(kept, ".sql", VERSION, *names))
        self.link: PGliteLink | None = None

    def template(
        self, fingerprint: str, build: Callable[[Connection], None], *, rebuild: bool = False
    ) -> Database:
        database = PGliteDatabase(self, fingerprint, build)
        self.make(database, rebuild=rebuild)
        return database

    def lasting_template(
        self, fingerprint: str, build: Callable[[Connection], None], *, rebuild: bool = False
    ) -> Database:
        database = PGliteDatabase(self, fingerprint, build, lasting=True)
        self.make(database, rebuild=rebuild)
        return database

    def create(self, original: Any, *, isolation: str = "") -> Database:
        if original.spoiled:
            self.make(original)
            original.spoiled, original.sequences_when_new = False, None
        database: Database = original
        return database

    def make(self, database: PGliteDatabase, *, rebuild: bool = False) -> None:
        """Let the server have ``database``, as it was kept or by building it.

        A server that runs is not started again for one that is built in less time.
        """
        if rebuild:
            self.templates.remove(database.fingerprint)
        self.leave()
        launched = self.server.is_launched()
        if launched:
            self.reach()  # says so if it has ended
        if launched and not database.lasting:
            self._build_anew(database)
        elif rebuild:
            self._build_and_keep(database)
        elif not self._start_with(database):
            self._build_unless_others_do(database)

    def _build_unless_others_do(self, database: PGliteDatabase) -> None:
        """Build ``database``, if no other process is doing that and keeps it."""
        if self.templates.is_unkept(database.fingerprint):
            self._build_and_keep(database)
            return
        with self.templates.building(database.fingerprint):
            if not self._start_with(database):
                self._build_and_keep(database)

    def _build_and_keep(self, database: PGliteDatabase) -> None:
        self.templates.remove(database.fingerprint)
        self._start(None)
        self._build_anew(database)
        self._keep(database)

    def _start_with(self, database: PGliteDatabase) -> bool:
        """Start the server with what was kept of ``database``, and return whether it was there."""
        archive = self.templates.find(database.fingerprint)
        if archive is None:
            return False
        self._start(archive)
        try:
            self.server.wait()
        except BackendError as error:
            say_once(f"{archive} is broken, and is made anew: {error}")
            self.templates.remove(database.fingerprint)
            return False
        return True

    def _start(self, archive: Path | None) -> None:
        self.server.stop()
        self.server.archive = archive
        self.source(is_async=False)  # launches it, and it boots while the driver is imported

    def _build_anew(self, database: PGliteDatabase) -> None:
        """Build ``database`` in place of what the server has."""
        connection: Any = self.open(is_async=False)
        try:
            connection.autocommit = True
            connection.cursor().execute(_EMPTY)
            connection.autocommit = False
            build_on(self.driver_url(is_async=False), connection, database.build)
        finally:
            connection.close()

    def _keep(self, database: PGliteDatabase) -> None:
        """Let later processes start with what was built, if that is possible."""
        path = self.templates.path(database.fingerprint)
        connection: Any = self.open(is_async=False)
        connection.autocommit = True
        try:
            cursor = connection.cursor()
            cursor.execute(_UNLOGGED)
            if cursor.fetchone() == (True,):
                self.templates.note_unkept(database.fingerprint)
                return
            self.templates.make_room()
            self.server.save(path, lambda: cursor.execute("CHECKPOINT"))
        except (BackendError, OSError) as error:
            say_once(
                f"each process builds its database anew, as it cannot be kept in {path.parent}: "
                f"{error}"
            )
        finally:
            connection.close()

    def open(self, target: Target | None = None, *, is_async: bool) -> DBAPIConnection:
        """Open the one connection, if need be again, until the server has noticed the last's end.

        That refuses another after 50 milliseconds, for which a busy machine may stand still.
        """
        for _ in range(_ATTEMPTS - 1):
            try:
                return super().open(target, is_async=is_async)
            except Exception as error:
                if _BUSY not in str(error):
                    raise
        return super().open(target, is_async=is_async)

    def leave(self) -> None:
        """Close the connection that was kept open for the next test class.

        :raises BackendError: a test class is using it.
        """
        if self.link is not None and self.link.in_use:
            raise BackendError(
                "PGlite is one database, and another test class, or another alias of this one, is "
                "using it.\n  To fix this, use the database pgserver://, which has many"
            )
        if self.link is not None:
            self.link.leave()
            self.link = None

    def close(self) -> None:
        if self.link is not None:
            self.link.leave()
            self.link = None
        self.server.stop()

    def leftovers(self) -> Iterable[Leftover]:
        yield from super().leftovers()
        for path in [*self.templates.paths(), *self.scripts.files.paths()]:
            yield Leftover("template", str(path), path.unlink, path)
