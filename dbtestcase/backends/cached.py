"""What takes long to make is made once for each version, and kept in a cache directory."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..exceptions import BackendError

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
    if (target / ARCHIVE).is_file():
        return target
    if target in _failures:
        raise BackendError(_failures[target])
    from filelock import FileLock

    lock = FileLock(target.parent / ".lock")
    try:
        for directory in (cache, target.parent):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise BackendError(
            f"Cannot keep files in the cache directory {cache}: {error}.\n"
            "  To fix this, make it a directory that you may write to."
        ) from error
    try:
        if not (target / ARCHIVE).is_file():
            print(f"dbtestcase: {note}, once, in {target}", file=sys.stderr)
            _fill(target, make)
    except BackendError as error:
        _failures[target] = str(error)
        raise
    finally:
        lock.release()
    return target


def kept_in(cache: Path, kind: str) -> list[Path]:
    """Return the directories of a kind that are there, one for each version."""
    return sorted(path.parent for path in cache.glob(f"{kind}/*/{ARCHIVE}"))


def remove(directory: Path) -> None:
    """Remove a directory that was :func:`cached`, or made in part.

    :raises OSError: it, or something in it, cannot be removed.
    """
    shutil.rmtree(directory)


def _fill(target: Path, make: Callable[[Path], None]) -> None:
    prefix = "unfinished-"
    for left in [target, *target.parent.glob(f"{prefix}*")]:  # by whoever was killed
        shutil.rmtree(left, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        make(unfinished)
        unfinished.rename(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
