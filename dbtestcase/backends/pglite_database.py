"""The one database of PGlite, and the one connection to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..statements import first_word
from .kept import kept, kept_file
from .leftover import Kept
from .pglite_server import KIND
from .postgresql_database import note_sequences
from .postgresql_link import PostgreSQLLink, open_link
from .scripts import Script

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from ..event_loop import ClassLoop
    from ..link import Link
    from .pglite import PGliteBackend


class PGliteLink(PostgreSQLLink):
    """The one connection there can be, kept for the next test class of the same colour."""

    _script: Script | None = None  # while it is being written

    @contextmanager
    def noting(self) -> Iterator[Script]:
        """Note in a script what is executed inside the block."""
        script = self._script = Script(self.paramstyle)
        try:
            yield script
        finally:
            self._script = None

    def execute(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        script = self._script
        if script is None:
            return super().execute(method, *args, **kwargs)
        try:
            result = super().execute(method, *args, **kwargs)
        except BaseException:
            script.give_up()
            raise
        if method.__name__ in ("execute", "executemany") and not kwargs:
            many = method.__name__ == "executemany"
            script.note(self.text_of(args[0]), *args[1:], many=many)
        else:
            script.give_up()
        return result

    def control(self, statements: Sequence[str]) -> None:
        if self._script is not None and any("ROLLBACK" in one for one in statements):
            self._script.give_up()
        super().control(statements)

    def ends_transaction(self, sql: str) -> bool:
        if self._script is not None and first_word(sql) == "COPY":
            self._script.give_up()
        return super().ends_transaction(sql)

    def note_raw_use(self) -> None:
        if self._script is not None:
            self._script.give_up()

    def leave(self) -> None:
        """Close the connection."""
        self.connection.close()


class PGliteDatabase:
    """The one database, as ``build`` makes it.

    :param fingerprint: names what it makes, in all processes.
    :param lasting: it takes longer to build than to start a server with what was kept of it.
    """

    sequences_when_new: object = None

    def __init__(
        self,
        backend: PGliteBackend,
        fingerprint: str,
        build: Callable[[Connection], None],
        *,
        lasting: bool = False,
    ) -> None:
        self._backend = backend
        self.fingerprint = fingerprint
        self.build = build
        self.lasting = lasting
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
