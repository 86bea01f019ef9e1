"""Directories for database files, gone with the process that made them."""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from ..exceptions import BackendError

_PREFIX = "dbtestcase-"
_OWNER = "owner.sqlite"
_GRACE = 60.0  # seconds a directory may exist before its owner has marked it


class ScratchDirectory:
    """A private directory inside ``parent``, removed at exit.

    Its owner holds a lock in it for as long as the process lives. A directory whose lock
    can be had belongs to a killed process; making a new one removes those beside it.

    :raises BackendError: ``parent`` does not exist or cannot be written to.
    """

    def __init__(self, parent: Path) -> None:
        try:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        except OSError as error:
            raise BackendError(
                f"Cannot create test databases in {parent}: {error.strerror}.\n"
                "  To fix this, name an existing directory that you may write to, or use sqlite://"
            ) from error
        self._pid = os.getpid()
        self._lock = _lock(self.path)
        atexit.register(self.remove)
        for other in parent.glob(_PREFIX + "*"):
            if other != self.path and other.is_dir() and not other.is_symlink():
                _sweep(other)

    def is_ours(self) -> bool:
        """Tell whether this process made it, and not the one that it was forked from."""
        return self._pid == os.getpid()

    def remove(self) -> None:
        """Remove the directory and all in it; harmless when called again."""
        if not self.is_ours():
            return
        atexit.unregister(self.remove)
        self._lock.close()
        shutil.rmtree(self.path, ignore_errors=True)


def _lock(directory: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        directory / _OWNER, timeout=0, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except BaseException:
        connection.close()
        raise
    return connection


def _sweep(directory: Path) -> None:
    try:
        if not (directory / _OWNER).exists():
            if time.time() - directory.stat().st_mtime < _GRACE:
                return
            shutil.rmtree(directory)
            return
        with closing(_lock(directory)):
            shutil.rmtree(directory)
    except (OSError, sqlite3.OperationalError):
        return  # in use, another user's, or being swept by another process just now
