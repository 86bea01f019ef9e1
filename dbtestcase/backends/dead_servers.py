"""Directories of private servers that were killed together with what would have cleaned up."""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from pathlib import Path

#: What the directories of private servers are called, up to some letters that chance gives them.
PREFIX = "dbtestcase-"

#: The socket in one, as PostgreSQL names it.
SOCKET = ".s.PGSQL.5432"

_GRACE = 60.0  # seconds after which a server that lives has made its socket


def dead_servers(parent: Path, owners: set[int]) -> list[Path]:
    """Return the directories in ``parent`` of servers that no longer live.

    :param owners: user ids; those of others are left alone.
    """
    return [path for path in parent.glob(PREFIX + "*") if _is_dead(path, owners)]


def _is_dead(directory: Path, owners: set[int]) -> bool:
    try:
        status = directory.lstat()
        return (
            stat.S_ISDIR(status.st_mode)
            and status.st_uid in owners
            and time.time() - status.st_mtime > _GRACE
            and (directory / "log").is_file()
            and _refuses(directory / SOCKET)
        )
    except OSError:
        return False  # it has just gone


def _refuses(path: Path) -> bool:
    """Tell whether nobody listens at a socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        return client.connect_ex(os.fspath(path)) in (errno.ECONNREFUSED, errno.ENOENT)
