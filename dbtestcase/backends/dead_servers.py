"""Directories of private servers whose processes were killed before they could clean up."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import socket
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: What the directories of private servers are called, up to some letters that chance gives them.
PREFIX = "dbtestcase-"

#: The socket in one, as PostgreSQL names it.
SOCKET = ".s.PGSQL.5432"

#: What the supervisor writes there: the process of the server, and the signal that ends it.
PROCESS = "process"

_OWNER = "owner"  # locked by who launched the server, for as long as that process lives
_GRACE = 60.0  # seconds after which a new directory has surely been locked
_DAY = 24 * 60 * 60  # newer than that is what was made before the clock was set back
_PATIENCE = 10.0  # seconds in which a server ends that was told to


def hold(directory: Path) -> int:
    """Mark ``directory`` as in use until the descriptor that is returned is closed.

    It is so when this process has ended, however it ends, and those that it has forked.
    """
    new = directory / f"{_OWNER}.new"
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    new.rename(directory / _OWNER)  # which nobody sees without its lock
    return descriptor


def dead_servers(parent: Path, users: set[int]) -> list[Path]:
    """Return the directories in ``parent`` of servers that nobody uses any more.

    :param users: user ids; the directories of others are left alone.
    """
    return [path for path in parent.glob(PREFIX + "*") if _is_dead(path, users)]


def remove_server(directory: Path) -> None:
    """Remove ``directory`` if nobody uses it, and end its server if that goes on without one.

    :raises OSError: it is in use, or another process removes it.
    """
    if not (directory / _OWNER).exists():
        directory.rmdir()
        return
    with _lock_of_the_dead(directory):
        stop_server(directory)
        shutil.rmtree(directory, ignore_errors=True)


def stop_server(directory: Path) -> None:
    """End the server that listens in ``directory``, if it is the one that was started there."""
    process, number = _server(directory)
    deadline = time.monotonic() + _PATIENCE
    while process and not refuses(directory / SOCKET):
        with suppress(ProcessLookupError):
            os.kill(process, number if time.monotonic() < deadline else signal.SIGKILL)
        time.sleep(0.01)


def refuses(path: Path) -> bool:
    """Tell whether nobody listens at the socket ``path``."""
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        return client.connect_ex(os.fspath(path)) in (errno.ECONNREFUSED, errno.ENOENT)


def _is_dead(directory: Path, users: set[int]) -> bool:
    try:
        status = directory.lstat()
        private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
        if not private or status.st_uid not in users:
            return False
        if not (directory / _OWNER).exists():
            new = -_DAY <= time.time() - status.st_mtime <= _GRACE
            return not new and not os.listdir(directory)
        with _lock_of_the_dead(directory):
            return refuses(directory / SOCKET) or _server(directory)[0] > 0
    except OSError:
        return False  # it is in use, or has just gone


@contextmanager
def _lock_of_the_dead(directory: Path) -> Iterator[None]:
    """Hold the lock that the owner of ``directory`` had.

    :raises OSError: the owner lives, or another process has just the same in mind.
    """
    descriptor = os.open(directory / _OWNER, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _server(directory: Path) -> tuple[int, int]:
    """Return the process that listens in ``directory`` and the signal that ends it.

    The operating system says who listens. The process is 0 if that is not who was started there,
    or cannot be told.
    """
    with suppress(OSError, ValueError, KeyError, AttributeError):  # SO_PEERCRED is Linux's
        started, name = (directory / PROCESS).read_text().split()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_PATIENCE)
            client.connect(os.fspath(directory / SOCKET))
            said = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        process, user, _ = struct.unpack("3i", said)
        if process == int(started) and user == directory.lstat().st_uid:
            return process, signal.Signals[f"SIG{name}"]
    return 0, 0
