"""SQLite databases that are kept for later processes, in the user's cache directory."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from .notices import say_once
from .template_files import UNFINISHED, TemplateFiles


class KeptTemplates:
    """Files, each of which appears when it is complete, and goes when it was not used for long.

    Without ``platformdirs`` nothing is kept. Where it cannot be, which is said once, or what was
    kept is broken, templates are built as if nothing had been.
    """

    def __init__(self) -> None:
        self._files: TemplateFiles | None = None
        if find_spec("platformdirs") is not None:
            from platformdirs import user_cache_path

            directory = user_cache_path("dbtestcase", appauthor=False) / "sqlite"
            self._files = TemplateFiles(directory, ".sqlite", sqlite3.sqlite_version)

    def load(self, fingerprint: str, connection: sqlite3.Connection) -> bool:
        """Copy what was kept by that name into ``connection``, and return whether it was there."""
        path = self._files.find(fingerprint) if self._files is not None else None
        if path is None:
            return False
        try:
            _copy(path, connection)
        except sqlite3.Error as error:
            say_once(f"{path} is broken ({error}), and is made anew")
            return False
        return True

    def save(self, fingerprint: str, connection: sqlite3.Connection) -> None:
        """Keep what is in ``connection``, as far as that is possible."""
        if self._files is None:
            return
        path = self._files.path(fingerprint)
        try:
            self._files.make_room()
            _write(connection, path)
        except (OSError, sqlite3.Error) as error:
            say_once(
                f"each process applies its migrations anew, as the result cannot be kept in "
                f"{path.parent}: {error}"
            )

    def paths(self) -> list[Path]:
        """Return the files that are there."""
        return self._files.paths() if self._files is not None else []


def _copy(path: Path, connection: sqlite3.Connection) -> None:
    """Copy the database at ``path``, which is only read, into ``connection``.

    :raises sqlite3.Error: it is broken, or was swept just now.
    """
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as kept:
        if kept.execute("PRAGMA page_count").fetchall() == [(0,)]:
            raise sqlite3.DatabaseError("it is empty")
        [(said,)] = kept.execute("PRAGMA quick_check(1)").fetchall()
        if said != "ok":
            raise sqlite3.DatabaseError(said.splitlines()[-1])
        kept.backup(connection)


def _write(connection: sqlite3.Connection, path: Path) -> None:
    """Let what is in ``connection`` be at ``path`` when all of it is there."""
    with tempfile.NamedTemporaryFile(prefix=UNFINISHED, dir=path.parent, delete=False) as file:
        unfinished = Path(file.name)
    try:
        with closing(sqlite3.connect(unfinished)) as kept:
            connection.backup(kept)
            kept.execute("PRAGMA journal_mode = DELETE")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
