"""PGlite, which is PostgreSQL in WebAssembly: one database, for one connection at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..exceptions import BackendError, OptionError
from .base import Database, Features, build_on, shown
from .embedded import EmbeddedServer, cache_directory, server_url
from .kept import kept, kept_file
from .leftover import Kept
from .pglite_server import KIND, PGliteServer
from .postgresql import PostgreSQLBackend
from .postgresql_database import note_sequences
from .postgresql_link import PostgreSQLLink, open_link

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from ..event_loop import ClassLoop
    from ..link import Link

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


class PGliteBackend(EmbeddedServer, PostgreSQLBackend):
    """``pglite://``, or ``pglite://?extensions=vector,pg_trgm`` for ``CREATE EXTENSION``.

    It cannot clone: test classes that have a schema in common use the one database in turn, and
    it is emptied for those that have another.
    """

    title = "PGlite"
    kind = KIND
    features = Features(
        isolations=frozenset({"transaction"}),
        elsewhere=', or write database = "pgserver://", which has all',
        one_database=True,
        clones=False,
        keeps_copies=True,
    )

    def __init__(self, url: URL) -> None:
        super().__init__(server_url(url, {"extensions"}))
        extensions = str(url.query.get("extensions", ""))
        names = tuple(filter(None, extensions.replace(" ", "").split(",")))
        if not all(name.replace("_", "").isalnum() for name in names):
            raise OptionError(f"database = '{shown(url)}': write extensions=vector,pg_trgm")
        self.server: PGliteServer = PGliteServer(cache_directory(self.title, "pglite"), names)
        self.link: PGliteLink | None = None

    def template(
        self, fingerprint: str, build: Callable[[Connection], None], *, rebuild: bool = False
    ) -> Database:
        database = PGliteDatabase(self, build)
        self.build(build)
        return database

    def create(self, original: Any, *, isolation: str = "") -> Database:
        if original.spoiled:
            self.build(original.build)
            original.spoiled, original.sequences_when_new = False, None
        database: Database = original
        return database

    def build(self, build: Callable[[Connection], None]) -> None:
        """Empty the database and build another schema."""
        self.leave()
        connection: Any = self.open(is_async=False)
        try:
            connection.autocommit = True
            connection.cursor().execute(_EMPTY)
            connection.autocommit = False
            build_on(self.driver_url(is_async=False), connection, build)
        finally:
            connection.close()

    def leave(self) -> None:
        """Close the connection that was kept open for the next test class.

        :raises BackendError: a test class is using it.
        """
        if self.link is not None and self.link.in_use:
            raise BackendError(
                "PGlite is one database, and another test class, or another alias of this one, is "
                'using it.\n  To fix this, write database = "pgserver://", which has many'
            )
        if self.link is not None:
            self.link.leave()
            self.link = None

    def close(self) -> None:
        if self.link is not None:
            self.link.leave()
            self.link = None
        self.server.stop()


class PGliteLink(PostgreSQLLink):
    """The one connection there can be, kept for the next test class of the same colour."""

    def leave(self) -> None:
        """Close the connection."""
        self.connection.close()


class PGliteDatabase:
    """The one database, as ``build`` has made it."""

    sequences_when_new: object = None

    def __init__(self, backend: PGliteBackend, build: Callable[[Connection], None]) -> None:
        self._backend = backend
        self.build = build
        self.spoiled = False
        self._link: PGliteLink

    def link(self, loop: ClassLoop | None) -> Link:
        kept = self._backend.link
        if loop is None and kept is not None and not kept.in_use:
            kept.in_use = True
            self._link = kept
        else:
            self._backend.leave()
            self._link = open_link(self._backend, None, loop, PGliteLink)
            if loop is None:
                self._backend.link = self._link
        note_sequences(self, self._link)
        return self._link

    def connect(self, *, is_async: bool) -> DBAPIConnection:
        raise NotImplementedError  # no isolation of PGlite asks for it

    def disconnect(self) -> None:
        """Do nothing; there are no other connections."""

    def uncommitted(self) -> list[str]:
        return []

    def restore(self, original: object, *, reset_sequences: bool) -> bool:
        return True

    def keep(self, name: str, commit: Callable[[], None]) -> Kept:
        """Write it to a file: the server will soon have another database, and then be gone."""
        commit()
        server, link = self._backend.server, self._link
        path = kept_file(name, f".{KIND}.tar")
        server.save(path, lambda: link.call(link.control, ["CHECKPOINT"]))
        options = [f"--extensions={','.join(server.extensions)}"] if server.extensions else []
        return kept(
            [sys.executable, "-m", "dbtestcase.reopen", *options, path], ["rm", "-r", path.parent]
        )

    def drop(self) -> None:
        """Let it be built anew, should it be used again."""
        self.spoiled = True
