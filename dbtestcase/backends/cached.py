"""What takes long to make is made once for each version, and kept in a cache directory."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..exceptions import BackendError
from .private_directory import check_private, make_private

#: The file that is in every cached directory: an initialised data directory.
ARCHIVE = "data.tar"

# Why a directory could not be filled: every test class asks for it, and it may have taken long.
_failures: dict[Path, str] = {}


def cached(cache: Path, kind: str, version: str, note: str, make: Callable[[Path], None]) -> Path:
    """Return the directory ``cache/kind/version``, after filling it if it is not there.

    Whoever comes first does it, and others wait. The directory appears when it is complete. What
    failed once is not tried again by the same process.

    :param note: what to tell the user while ``make`` fills the directory that it is given.
    :raises BackendError: ``cache`` cannot be written to, or ``make`` raised it, now or before.
    """
    target = cache / kind / version
    if target in _failures:
        raise BackendError(_failures[target])
    try:
        if not _is_filled(target):
            _fill_once(target, note, make)
    except (BackendError, OSError) as error:
        said = str(error)
        if isinstance(error, OSError):
            said = _UNUSABLE.format(cache=cache, error=error)
        _failures[target] = said
        raise BackendError(said) from error
    return target


def kept_in(cache: Path, kind: str) -> list[Path]:
    """Return the directories of a kind that are there, one for each version."""
    return sorted(path.parent for path in cache.glob(f"{kind}/*/{ARCHIVE}"))


def remove(directory: Path) -> None:
    """Remove a directory that was :func:`cached`, or made in part.

    :raises OSError: it, or something in it, cannot be removed.
    """
    shutil.rmtree(directory)


#: Megabytes without which it is no wonder if something cannot be made.
_ROOM = 64
_NO_ROOM = """\
There are {free} MB left in {directory}, which may be why: {error}
  To fix this, make room there, or let the cache directory be one with room."""

_UNUSABLE = """\
Cannot keep files in the cache directory {cache}: {error}.
  To fix this, let it be a directory with room, which you and nobody else may write to."""


def _is_filled(target: Path) -> bool:
    """Tell whether ``target`` is complete.

    :raises OSError: it cannot be read, or was perhaps filled by another user.
    """
    archive = target / ARCHIVE
    if not archive.is_file():
        return False
    check_private(target.parent.parent, target.parent)
    archive.open("rb").close()
    return True


def _fill_once(target: Path, note: str, make: Callable[[Path], None]) -> None:
    from filelock import FileLock

    make_private(target.parent.parent, target.parent)
    with FileLock(target.parent / ".lock"):
        if not _is_filled(target):
            print(f"dbtestcase: {note}, once, in {target}", file=sys.stderr)
            _fill(target, make)


def _fill(target: Path, make: Callable[[Path], None]) -> None:
    prefix = "unfinished-"
    for left in [target, *target.parent.glob(f"{prefix}*")]:  # by whoever was killed
        shutil.rmtree(left, ignore_errors=True)
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    unfinished = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        _make(unfinished, make)
        unfinished.rename(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _make(directory: Path, make: Callable[[Path], None]) -> None:
    """Call ``make(directory)``; of a disk that is full what it runs may have said nothing."""
    try:
        make(directory)
    except BackendError as error:
        free = shutil.disk_usage(directory).free >> 20
        if free >= _ROOM:
            raise
        said = _NO_ROOM.format(free=free, directory=directory.parent, error=error)
        raise BackendError(said) from error
