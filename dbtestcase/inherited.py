"""Connections of a driver that a process has inherited, which was forked meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakKeyDictionary

from .backends import cut_off
from .statements import caller
from .violations import inherited

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry

    from .exceptions import IsolationError

    Refusal = Callable[[str], IsolationError]  # of what was done at a line

_records: WeakKeyDictionary[ConnectionPoolEntry, Refusal] = WeakKeyDictionary()
_left: list[Any] = []  # our parent's, which drivers might end once nobody refers to them


class InheritedConnection:
    """Takes the place of a connection of the process that we were forked from.

    To give it back ends nothing. The pool, when it is about to give it out, opens another one.
    """

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal

    def rollback(self) -> None:
        """Do nothing: the transaction is that of the parent."""

    close = terminate = rollback

    def __getattr__(self, name: str) -> NoReturn:
        raise self._refusal(caller())


def guard(record: ConnectionPoolEntry, refusal: Refusal = inherited) -> None:
    """Let processes that are forked from now on leave the connection of ``record`` alone."""
    _watch_forks()
    _records[record] = refusal


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_leave_to_parent)


def _leave_to_parent() -> None:
    record: Any  # of which SQLAlchemy does not document who uses it
    for record, refusal in list(_records.items()):
        if record.dbapi_connection is not None:
            _left.append(record.dbapi_connection)
            cut_off(record.dbapi_connection)
            record.dbapi_connection = instead = InheritedConnection(refusal)
            proxy = record.fairy_ref and record.fairy_ref()
            if proxy:
                proxy.dbapi_connection = instead
    _records.clear()
