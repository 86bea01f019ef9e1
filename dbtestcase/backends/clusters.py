"""Data directories of PostgreSQL that outlast their servers, each lent to one process at a time.

PostgreSQL calls what is in one a cluster of databases.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import shutil
import stat
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from .private_directory import make_private

_PROVEN = "boot"  # in a cluster: the boot of the machine during which a server has answered from it
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # of Linux
_LOCK = ".lock"
_MOST = 1000
_KEPT_DAYS = 14
_DAY = 24 * 60 * 60
_STATE = struct.Struct("=16xi")  # of a cluster, in its file pg_control
_SHUT_DOWN = 1


class Cluster:
    """A directory whose ``data`` is for one server at a time.

    :param lock: a descriptor, while which is open, here or in a process that has inherited it, the
        cluster is lent to nobody else; None if only we know of it.
    """

    def __init__(self, directory: Path, lock: int | None = None) -> None:
        self.data = directory / "data"
        self.lock = lock
        self._proven = directory / _PROVEN
        self._broken = False

    @property
    def is_new(self) -> bool:
        """Whether no server has answered from it yet that could be trusted again."""
        return not self._proven.exists()

    def note_answer(self) -> None:
        """Let later processes have it, once a server has answered from it."""
        if self.lock is not None and self.is_new and not self._broken:
            with suppress(OSError):  # then nobody has it again
                self._proven.write_text(_boot())

    def distrust(self) -> None:
        """Let whoever has it next make it anew, whatever answers from it until then."""
        self._broken = True
        self._proven.unlink(missing_ok=True)

    def give_back(self) -> None:
        """Close the lock."""
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def ended_in_order(self, owner: int) -> bool:
        """Tell whether a server of the user ``owner`` has answered from it and was shut down.

        Nothing that it wrote is sure to be on the disk, so that it only counts if the machine has
        been running ever since.
        """
        try:
            if not _is_private(self.data, owner) or self._proven.read_text() != (_boot() or None):
                return False
            control = (self.data / "global" / "pg_control").read_bytes()
            return bool(_STATE.unpack_from(control) == (_SHUT_DOWN,))
        except (OSError, struct.error):
            return False


def lend(parent: Path, version: str, owner: int) -> Cluster:
    """Return an idle cluster in ``parent``, or a new one, which is empty.

    One that did not end in order is made new. Those that were not used for two weeks are removed.

    :param version: of PostgreSQL, and of how it is initialised.
    :param owner: the user whose the data is.
    :raises OSError: ``parent`` cannot be made, or written to, or others may write to it.
    """
    make_private(parent)
    there = [path for path in _clusters(parent) if path.name.rpartition("-")[0] == version]
    new = (parent / f"{version}-{number}" for number in range(1, _MOST))
    for path in itertools.chain(there, new):
        cluster = _lend(path, owner)
        if cluster is not None:
            _remove_old(parent)
            return cluster
    raise PermissionError(errno.EPERM, "No directory in it is private", str(parent))


def idle(parent: Path) -> list[Path]:
    """Return the directories of the clusters that no process has."""
    found = []
    for path in _clusters(parent):
        with suppress(OSError):
            os.close(_lock(path))
            found.append(path)
    return found


def remove(directory: Path) -> None:
    """Remove a cluster.

    :raises OSError: a process has it, or it, or something in it, cannot be removed.
    """
    lock = _lock(directory)
    try:
        Cluster(directory).distrust()  # should we be killed
        shutil.rmtree(directory)
    finally:
        os.close(lock)


def _lend(directory: Path, owner: int) -> Cluster | None:
    """Return the cluster in ``directory``, ready or empty; None if it is not for us."""
    try:
        lock = _lock(directory)
    except BlockingIOError:
        return None
    cluster = Cluster(directory, lock)
    try:
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
            _check_new(directory)
        if not _is_private(directory, os.geteuid()):
            cluster.give_back()
            return None
        if not cluster.ended_in_order(owner):
            Cluster(directory).distrust()  # what was in it, and not what will be
            if cluster.data.is_dir():
                shutil.rmtree(cluster.data)
        os.utime(directory)
    except BaseException:
        cluster.give_back()
        raise
    return cluster


def _check_new(directory: Path) -> None:
    """Remove a directory of ours again, and its lock, where the file system has no permissions.

    :raises PermissionError: it is so.
    """
    if not _is_private(directory, os.geteuid()):
        directory.rmdir()
        _lock_path(directory).unlink()
        raise PermissionError(
            errno.EPERM, "What is made in it is not private", str(directory.parent)
        )


def _clusters(parent: Path) -> list[Path]:
    """Return the directories of clusters, those with low numbers first."""
    paths = [path for path in parent.glob("*-*") if _is_private(path, os.geteuid())]
    return sorted(paths, key=lambda path: (len(path.name), path.name))


def _remove_old(parent: Path) -> None:
    for path in _clusters(parent):
        with suppress(OSError):  # somebody has it
            if not -_DAY <= time.time() - path.stat().st_mtime <= _KEPT_DAYS * _DAY:
                remove(path)  # nor was it used after now, but by a clock that was set back


def _lock(directory: Path) -> int:
    """Lock a cluster, in a file that stays when the cluster goes.

    :raises BlockingIOError: a process has it.
    """
    descriptor = os.open(_lock_path(directory), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _lock_path(directory: Path) -> Path:
    return directory.with_name(directory.name + _LOCK)


def _is_private(directory: Path, owner: int) -> bool:
    """Tell whether it is a directory, and no link to one, that only ``owner`` can enter."""
    try:
        status = directory.lstat()
    except FileNotFoundError:
        return False
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    return private and status.st_uid == owner


def _boot() -> str:
    """Return what tells the time since the machine was started from other such times, if known."""
    with suppress(OSError):
        return _BOOT_ID.read_text()
    for name in ("kern.bootsessionuuid", "kern.boottime"):  # of macOS, and of BSD
        with suppress(OSError, subprocess.SubprocessError):
            command = ["sysctl", "-n", name]
            ran = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
            return ran.stdout
    return ""
