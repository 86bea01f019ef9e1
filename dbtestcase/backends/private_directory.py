"""Directories that nobody but their owner can put anything into."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path


def make_private(*directories: Path) -> None:
    """Make each of them, and what it is in, unless it is there and private.

    :raises OSError: it cannot be made, or somebody else can write to it.
    """
    for directory in directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(directory)


def check_private(*directories: Path) -> None:
    """Check that what is found in each of them was put there by this user, or by root.

    :raises OSError: it is not there, or somebody else can write to it.
    """
    for directory in directories:
        status = directory.stat()
        if sys.platform != "win32" and (
            status.st_uid not in (os.geteuid(), 0) or status.st_mode & stat.S_IWOTH
        ):
            raise PermissionError(errno.EPERM, "Other users may write to it", str(directory))
