"""What SQL says and who said it: classifying, recording and locating statements."""

from __future__ import annotations

import contextlib
import inspect
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import sqlalchemy
from sqlalchemy import event

if TYPE_CHECKING:
    from types import FrameType

    from sqlalchemy.engine import Connection, Engine

#: Execution option on statements that dbtestcase runs for itself; they are never recorded.
UNRECORDED = {"dbtestcase_unrecorded": True}

_SKIPPED = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_NAME = r"""["'`\[]?(?P<{}>[^\s;"'`\[\]]+)["'`\]]?"""
_CONTROL = (
    _SKIPPED
    + r"""(?:
      (?P<begin>(?:BEGIN|START)(?:\s+(?:DEFERRED|IMMEDIATE|EXCLUSIVE|TRANSACTION|WORK))*)
    | (?P<commit>(?:COMMIT|END)(?:\s+(?:TRANSACTION|WORK))?)
    | ROLLBACK(?:\s+(?:TRANSACTION|WORK))?\s+TO(?:\s+SAVEPOINT)?\s+"""
    + _NAME.format("rollback_to")
    + r"""
    | (?P<rollback>ROLLBACK(?:\s+(?:TRANSACTION|WORK))?)
    | SAVEPOINT\s+"""
    + _NAME.format("savepoint")
    + r"""
    | RELEASE(?:\s+SAVEPOINT)?\s+"""
    + _NAME.format("release")
    + ")(?:"
    + _SKIPPED
    + ";)*"
    + _SKIPPED
)

Verb = Literal["begin", "commit", "rollback", "savepoint", "release", "rollback_to"]


class TransactionControl(NamedTuple):
    """A statement that begins or ends a transaction or savepoint, by name if it has one."""

    verb: Verb
    name: str


@lru_cache(maxsize=2048)
def transaction_control(sql: str) -> TransactionControl | None:
    """Return what ``sql`` does to the transaction, or None if it is any other statement."""
    match = re.fullmatch(_CONTROL, sql, re.IGNORECASE | re.VERBOSE | re.DOTALL)
    if match is None:
        return None
    verb: Any = match.lastgroup
    return TransactionControl(verb, match[verb])


def first_word(sql: str) -> str:
    """Return the first keyword of ``sql``, upper-cased, comments skipped."""
    match = re.match(_SKIPPED + r"(\w+)", sql, re.DOTALL)
    return match[1].upper() if match else ""


class Statement(NamedTuple):
    """One statement as the database received it."""

    sql: str
    parameters: Any

    def __str__(self) -> str:
        one_line = " ".join(self.sql.split())
        return f"{one_line}  {self.parameters!r}" if self.parameters else one_line


@contextmanager
def recording(engines: Iterable[Engine]) -> Iterator[list[Statement]]:
    """Collect every statement that ``engines`` execute inside the block.

    An ``executemany`` counts once; the statements of assertions do not count.
    The listeners are removed whatever happens in the block.
    """
    recorded: list[Statement] = []

    def record(
        connection: Connection, cursor: Any, sql: str, parameters: Any, context: Any, many: bool
    ) -> None:
        if not UNRECORDED.items() <= connection.get_execution_options().items():
            recorded.append(Statement(sql, parameters))

    with ExitStack() as listeners:
        for engine in engines:
            event.listen(engine, "before_cursor_execute", record)
            listeners.callback(event.remove, engine, "before_cursor_execute", record)
        yield recorded


_LIBRARIES = (
    os.path.dirname(__file__) + os.sep,
    os.path.dirname(sqlalchemy.__file__) + os.sep,
    contextlib.__file__,
    "<",  # code that SQLAlchemy generates
)


def caller() -> str:
    """Return ``file:line`` of the nearest frame outside SQLAlchemy and this package."""
    for frame in _frames():
        if not frame.f_code.co_filename.startswith(_LIBRARIES):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return "an unknown line"


def _frames() -> Iterator[FrameType]:
    """Yield the frames of the stack, and of the coroutine that SQLAlchemy's greenlet serves."""
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
    import greenlet

    parent = greenlet.getcurrent().parent
    frame = parent.gr_frame if parent is not None else None
    while frame is not None:
        yield frame
        frame = frame.f_back
