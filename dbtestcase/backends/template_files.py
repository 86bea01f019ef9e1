"""Templates that are kept for later processes, as files in the user's cache directory."""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .. import _version
from .private_directory import check_private, make_private

if TYPE_CHECKING:
    from filelock import BaseFileLock

#: How the name of a file begins that is being written.
UNFINISHED = "unfinished"

#: Seconds for which a process waits until another one has built what it needs too.
PATIENCE = 60

_KEPT_DAYS = 14
_DAY = 24 * 60 * 60


class TemplateFiles:
    """Files in a directory, of which those go that were not used for long.

    Directories that others may write to are not used.

    :param directory: where they are; it is made when it is needed.
    :param suffix: how their names end.
    :param versions: of what makes and reads them, in words; others have files of their own.
    :param most: how many there may be.
    """

    def __init__(
        self, directory: Path, suffix: str, *versions: str, most: float = math.inf
    ) -> None:
        self._directory = directory
        self._suffix = suffix
        self._versions = versions
        self._most = most
        self._names = re.compile(rf"([0-9a-f]{{32}}{re.escape(suffix)}|{UNFINISHED}).*")

    def path(self, fingerprint: str) -> Path:
        """Return the path of the file for what is built by that name."""
        named = repr([fingerprint, *self._versions, _version.VERSION])
        digest = hashlib.sha256(named.encode()).hexdigest()[:32]
        return self._directory / f"{digest}{self._suffix}"

    def find(self, fingerprint: str) -> Path | None:
        """Return the path of that file if it can be used, and note that it is."""
        path = self.path(fingerprint)
        try:
            check_private(self._directory.parent, self._directory)
            if not path.is_file():
                return None
        except OSError:
            return None
        with suppress(OSError):  # it may be another user's
            os.utime(path)
        return path

    def remove(self, fingerprint: str) -> None:
        """Remove that file, if it is there and may be removed."""
        with suppress(OSError):
            self.path(fingerprint).unlink()

    @contextmanager
    def building(self, fingerprint: str) -> Iterator[None]:
        """Let other processes wait while a block makes that file, unless it is there by then.

        If another process is in such a block, wait for it, but once and for :data:`PATIENCE`, as it
        may fail, or hang.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(f"{self.path(fingerprint)}.lock")
        try:
            make_private(self._directory.parent, self._directory)
            lock.acquire(timeout=0)
        except Timeout:
            with suppress(Timeout, OSError):
                lock.acquire(timeout=PATIENCE, poll_interval=0.02)
            _give_up(lock)  # so that all who wait go on at the same time
        except (OSError, NotImplementedError):  # nothing can be kept there, or locked
            pass
        try:
            yield
        finally:
            _give_up(lock)

    def note_unkept(self, fingerprint: str) -> None:
        """Note that what is built by that name cannot be kept."""
        with suppress(OSError):
            self._unkept(fingerprint).touch()

    def is_unkept(self, fingerprint: str) -> bool:
        """Tell whether that was noted, so that nobody should wait for the file."""
        return self._unkept(fingerprint).exists()

    def _unkept(self, fingerprint: str) -> Path:
        path = self.path(fingerprint)
        return path.with_name(f"{path.name}.unkept")

    def make_room(self) -> None:
        """See to it that a file can be added.

        :raises OSError: the directory cannot be made, or written to, or others may write to it.
        """
        make_private(self._directory.parent, self._directory)
        for number, (used, path) in enumerate(sorted(self._used(), reverse=True), start=1):
            recent = -_DAY <= time.time() - used <= _KEPT_DAYS * _DAY  # clocks may be set back
            if not recent or number >= self._most:
                path.unlink(missing_ok=True)

    def paths(self) -> list[Path]:
        """Return the files that are there."""
        return sorted(self._directory.glob(f"*{self._suffix}"))

    def _used(self) -> Iterator[tuple[float, Path]]:
        """Yield when each file of ours, finished or not, was last used."""
        for path in self._directory.iterdir():
            with suppress(FileNotFoundError):  # another process removes it
                if self._names.fullmatch(path.name):
                    yield path.lstat().st_mtime, path


def _give_up(lock: BaseFileLock) -> None:
    """Remove and release ``lock``, if this process has it."""
    if lock.is_locked:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
