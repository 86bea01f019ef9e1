"""Connections that are lost, while nobody uses them or in the middle of a statement."""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

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
        if getattr(error, "connection_invalidated", False):
            return True
        seen.append(error)
        error = error.__cause__
    return False


def even_after_a_loss(make: Callable[[], T]) -> T:
    """Return ``make()``, called once more if a connection is lost meanwhile."""
    try:
        return make()
    except Exception as error:
        if not is_loss(error):
            raise
        return make()
