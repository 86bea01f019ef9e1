"""Connections that are lost, while nobody uses them or in the middle of a statement."""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ..exceptions import BackendError

if TYPE_CHECKING:
    from .base import Backend

T = TypeVar("T")


def socket_of(connection: Any) -> Any:
    """Return what has the ``fileno()`` of a driver's connection, if anything has."""
    has_number = hasattr(connection, "fileno")  # PyMySQL's connections have not
    return connection if has_number else getattr(connection, "_sock", None)


def hears_something(connection: Any) -> bool:
    """Tell whether an idle connection was closed, or told something that nobody has asked for.

    That takes no time of the server's.
    """
    socket = socket_of(connection)
    if socket is None or getattr(connection, "closed", False):
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(socket, selectors.EVENT_READ)
        return bool(selector.select(0))


def cut_off(connection: Any) -> None:
    """Let nothing that this process does to a driver's connection reach the server."""
    socket = socket_of(connection)
    if socket is not None:
        with open(os.devnull, "rb") as nothing, suppress(Exception):  # it is closed
            os.dup2(nothing.fileno(), socket.fileno())


def is_loss(error: BaseException | None) -> bool:
    """Tell whether ``error`` is due to a connection that was lost, so that another one may do."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if any(getattr(error, name, False) for name in ("connection_invalidated", "was_reached")):
            return True
        seen.append(error)
        error = error.__cause__
    return False


def connection_lost(test: str, server: str, remedy: str = "") -> str:
    """Return what to say of a ``test`` whose connection to ``server`` was lost."""
    return _LOST.format(test=test, server=server, remedy=remedy or _START)


def even_after_a_loss(make: Callable[[], T]) -> T:
    """Return ``make()``, called again if a connection, and then a server, is lost meanwhile."""
    for _ in range(2):
        try:
            return make()
        except Exception as error:
            if not is_loss(error):
                raise
    return make()


def loses(backend: Backend) -> bool:
    """Tell whether the server of ``backend`` has just been lost, or its connections have."""
    before = backend.losses
    try:
        backend.notice_loss()
    except BackendError as error:
        if not error.is_unreachable:
            raise
        return True
    return backend.losses != before


def drop_if_reached(drop: Callable[[], object]) -> None:
    """Call ``drop()``, but leave to the next run what is on a server that does not answer."""
    try:
        even_after_a_loss(drop)
    except BackendError as error:
        if not error.is_unreachable:
            raise


_LOST = """\
{test}: the connection to {server} was lost, and with it all that was not committed. The next test \
has a new database, if the server answers.
  To fix this, {remedy}"""

_START = """\
start the server if it has ended; its log says why it did, or why it closed the connection"""
