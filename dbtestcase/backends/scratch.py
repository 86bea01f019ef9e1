"""Directories for database files, gone with the process that made them."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ..at_exit import call_at_exit
from ..exceptions import BackendError

_PREFIX = "dbtestcase-"
_OWNER = "owner.sqlite"
_MARK = int.from_bytes(b"dbtc", "big")  # SQLite's application_id of the owner file
_OURS = re.compile(r"(owner|\d+)\.sqlite(-wal|-shm|-journal)?")
_GRACE = 60.0  # seconds in which the owner of a new directory has surely locked it
_DAY = 24 * 60 * 60  # newer than that is what was made before the clock was set back


class ScratchDirectory:
    """A private directory inside ``parent``, removed at exit.

    Its owner holds a lock in it for as long as the process lives. A directory whose lock can be
    had a minute later belongs to a killed process; making a new one removes those beside it.

    :raises BackendError: ``parent`` does not exist or cannot be written to.
    """

    def __init__(self, parent: Path) -> None:
        self.path = _new_directory(parent)
        self._pid = os.getpid()
        try:
            self._lock = _connect(self.path)
            self._lock.execute(f"PRAGMA application_id = {_MARK}")
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            shutil.rmtree(self.path, ignore_errors=True)
            raise _not_created(parent, error) from error
        call_at_exit(self.remove)
        for other in abandoned(parent):
            sweep(other)

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


def _connect(directory: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        directory / _OWNER, timeout=0, isolation_level=None, check_same_thread=False
    )


def writable(parent: Path) -> str:
    """Return ``parent``, shown, after making sure that files can be written in it.

    :raises BackendError: they cannot.
    """
    _new_directory(parent).rmdir()
    return str(parent)


def _new_directory(parent: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    except OSError as error:
        raise _not_created(parent, error.strerror) from error


def _not_created(parent: Path, reason: object) -> BackendError:
    return BackendError(
        f"Cannot create test databases in {parent}: {reason}.\n"
        "  To fix this, name an existing directory with room that you may write to, or use sqlite://"
    )


def abandoned(parent: Path) -> list[Path]:
    """Return the directories in ``parent`` that processes which have died made for databases."""
    return [path for path in parent.glob(_PREFIX + "*") if _under_lock(path, lambda: True)]


def sweep(directory: Path) -> None:
    """Remove ``directory`` if it is :func:`abandoned`."""
    _under_lock(directory, lambda: shutil.rmtree(directory))


def _under_lock(directory: Path, action: Callable[[], object]) -> bool:
    """Do ``action`` if ``directory`` was made by a process that is no longer alive."""
    if directory.is_symlink() or not (directory / _OWNER).is_file():
        return False
    try:
        new = -_DAY <= time.time() - directory.stat().st_mtime <= _GRACE
        if not new and all(_OURS.fullmatch(name) for name in os.listdir(directory)):
            with closing(_connect(directory)) as owner:
                owner.execute("BEGIN EXCLUSIVE")
                if owner.execute("PRAGMA application_id").fetchone()[0] == _MARK:
                    action()
                    return True
    except (OSError, sqlite3.DatabaseError):
        pass  # in use, another user's, or being swept by another process just now
    return False
