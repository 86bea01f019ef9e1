"""SQLite databases that are kept for later processes, in the user's cache directory."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
import time
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path

from .. import _version

_KEPT_DAYS = 14
_DAY = 24 * 60 * 60


class KeptTemplates:
    """Files, each of which appears when it is complete, and goes when it was not used for long.

    Without ``platformdirs``, or a directory that can be written to, nothing is kept.
    """

    def __init__(self) -> None:
        self._directory: Path | None = None
        if find_spec("platformdirs") is not None:
            from platformdirs import user_cache_path

            self._directory = user_cache_path("dbtestcase", appauthor=False) / "sqlite"

    def load(self, fingerprint: str, connection: sqlite3.Connection) -> bool:
        """Copy what was kept by that name into ``connection``, and return whether it was there."""
        path = self._path(fingerprint)
        if path is None or not path.is_file():
            return False
        try:
            os.utime(path)
            with closing(sqlite3.connect(path)) as kept:
                kept.backup(connection)
        except (OSError, sqlite3.Error):  # it is broken, or was swept just now
            return False
        return True

    def save(self, fingerprint: str, connection: sqlite3.Connection) -> None:
        """Keep what is in ``connection``, as far as that is possible."""
        path = self._path(fingerprint)
        if path is None:
            return
        with suppress(OSError, sqlite3.Error):
            path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._sweep(path.parent)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                unfinished = Path(file.name)
            try:
                with closing(sqlite3.connect(unfinished)) as kept:
                    connection.backup(kept)
                    kept.execute("PRAGMA journal_mode = DELETE")
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)

    def paths(self) -> list[Path]:
        """Return the files that are there."""
        return sorted(self._directory.glob("*.sqlite")) if self._directory is not None else []

    def _path(self, fingerprint: str) -> Path | None:
        named = repr([fingerprint, sqlite3.sqlite_version, _version.VERSION])
        digest = hashlib.sha256(named.encode()).hexdigest()[:32]
        return self._directory / f"{digest}.sqlite" if self._directory is not None else None

    def _sweep(self, directory: Path) -> None:
        for path in directory.iterdir():
            if time.time() - path.stat().st_mtime > _KEPT_DAYS * _DAY:
                path.unlink(missing_ok=True)
