"""Doing something in another process, or as another user."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
IS_ROOT = os.geteuid() == 0


def in_a_child(function: Callable[[], object]) -> str:
    """Return what ``function`` returns or raises in a forked process, as text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = str(function())
        except BaseException as error:
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


def in_two_children(
    function: Callable[[], object], meanwhile: Callable[[], object] = lambda: None
) -> list[int]:
    """Return how two forked processes ended that call ``function``: 0 if it returned.

    :param meanwhile: is called when both have been started.
    """
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                function()
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    meanwhile()
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def as_nobody(function: Callable[[], T], directory: Path) -> T:
    """Return ``function()``, called by a user whom permissions bind, for good.

    :param directory: becomes that user's, with all that is in it, if we are root.
    """
    if IS_ROOT:
        nobody = pwd.getpwnam("nobody")
        for path in [directory, *directory.rglob("*")]:
            os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
    return function()
