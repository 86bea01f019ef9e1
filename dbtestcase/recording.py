"""Recording what engines execute: the SQL, what it took, and the line of code it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy.engine.interfaces import ExecuteStyle

from .statements import UNRECORDED, caller, transaction_control

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.engine.interfaces import ExecutionContext

#: Functions that SQLAlchemy calls, by the name of the event.
Listeners = Mapping[str, Callable[..., None]]

(_UNRECORDED,) = UNRECORDED
_OURS = ContextVar("dbtestcase_own_savepoints", default=False)


@dataclass(slots=True)
class Statement:
    """One statement as the database received it."""

    sql: str

    #: What the driver was given; of an ``executemany``, a list of it.
    parameters: Any

    #: The line of your code that caused it, as ``file:line``.
    caller: str

    #: The alias of the database.
    database: str

    #: With how many sets of parameters it was executed, by an ``executemany``; else 1.
    times: int = 1

    #: Part of a bulk operation: an ``executemany``, or the INSERTs that SQLAlchemy makes of one.
    bulk: bool = False

    #: Seconds until the driver was done; None if that has not been, as where it failed.
    duration: float | None = None

    #: The number of rows that it found or changed, as the driver has it; -1 if it does not know.
    rowcount: int = -1


@contextmanager
def own_savepoints() -> Iterator[None]:
    """Record no savepoint that the block sets, gives up or returns to; it is not the user's."""
    before = _OURS.set(True)
    try:
        yield
    finally:
        _OURS.reset(before)


def recorder(alias: str, note: Callable[[Statement], None]) -> Listeners:
    """Return listeners that call ``note`` with every statement that an engine is about to execute.

    That is all that passes through SQLAlchemy's connections: not the savepoints of the sandbox,
    and not what is executed on a driver's cursor. The statements of assertions do not count.

    :param alias: of the database that the engine leads to.
    """
    started: WeakKeyDictionary[ExecutionContext, tuple[Statement, float]] = WeakKeyDictionary()

    def before(
        connection: Connection, cursor: Any, sql: str, parameters: Any, context: Any, many: bool
    ) -> None:
        if context in started:
            return  # heard from the engine that this one was derived from
        if connection.get_execution_options().get(_UNRECORDED):
            return
        if _OURS.get() and transaction_control(sql) is not None:
            return
        of_values = context.execute_style is ExecuteStyle.INSERTMANYVALUES
        times = len(parameters) if many and not of_values else 1
        bulk = many or of_values
        statement = Statement(sql, parameters, caller(), alias, times, bulk)
        note(statement)
        started[context] = statement, perf_counter()

    def after(
        connection: Connection, cursor: Any, sql: str, parameters: Any, context: Any, many: bool
    ) -> None:
        now = perf_counter()
        if context in started:
            statement, then = started.pop(context)
            statement.duration = now - then
            statement.rowcount = cursor.rowcount

    return {"before_cursor_execute": before, "after_cursor_execute": after}
