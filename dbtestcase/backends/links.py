"""Links between a sandbox and its connection: in this thread, or in an event loop."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from ..event_loop import AWAITED, running_loop
from ..exceptions import UsageError
from ..lazy_loads import missing_greenlet
from ..statements import caller
from ..violations import forked

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from ..event_loop import ClassLoop


class Caller(ABC):
    """Where the statements of a connection are executed, one at a time."""

    @abstractmethod
    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Return ``function(...)``, called where the connection lives."""


class ThreadCaller(Caller):
    """Calls in the calling thread, while no other thread does."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            return function(*args, **kwargs)


class SyncCaller(ThreadCaller):
    """The same for a driver that blocks, also beneath an ``AsyncEngine``."""

    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        from sqlalchemy.util import await_only
        from sqlalchemy.util.concurrency import in_greenlet

        if in_greenlet():  # SQLAlchemy refuses drivers that never give way to the event loop
            await_only(asyncio.sleep(0))
        return super().call(function, *args, **kwargs)


class LoopCaller(Caller):
    """Calls in the event loop of a test class, in the greenlets of SQLAlchemy's asyncio."""

    def __init__(self, loop: ClassLoop) -> None:
        self._class_loop = loop
        self._loop = loop.get_loop()
        self._lock = asyncio.Lock()
        self._holder: object = None

    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        from sqlalchemy.util import await_only, greenlet_spawn
        from sqlalchemy.util.concurrency import in_greenlet

        running = running_loop()
        if running is self._loop and in_greenlet():
            return self._locked(function, *args, **kwargs)
        if running is self._loop:
            raise missing_greenlet() or UsageError(_NOT_IN_GREENLET.format(line=caller()))
        coroutine = greenlet_spawn(self._locked, function, *args, **kwargs)
        if not self._loop.is_running():
            return self._class_loop.run(coroutine)
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        if running is not None and in_greenlet():
            return await_only(asyncio.wrap_future(future))
        return future.result()

    def _locked(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        import greenlet
        from sqlalchemy.util import await_only

        current = greenlet.getcurrent()
        if self._holder is current:
            return function(*args, **kwargs)
        await_only(self._lock.acquire())
        self._holder = current
        try:
            return function(*args, **kwargs)
        finally:
            self._holder = None
            self._lock.release()


class NoCaller(Caller):
    """Calls nothing, in a process that was forked from the one that the connection belongs to."""

    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if getattr(function, "__name__", "") != "close":  # of a cursor, which has nothing to close
            raise forked(caller())


_links: weakref.WeakSet[BaseLink] = weakref.WeakSet()


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_leave_to_parent)


def _leave_to_parent() -> None:
    for link in list(_links):
        link.leave_to_parent()


class BaseLink:
    """What the links of all drivers have in common; see :class:`dbtestcase.link.Link`."""

    aborts = False
    is_left = False
    is_lost: Any = False  # until that is noticed
    connection: DBAPIConnection

    def __init__(self, connection: Any, caller: Caller) -> None:
        self.connection = connection
        self.call = caller.call
        _watch_forks()
        _links.add(self)

    def leave_to_parent(self) -> None:
        """Take note that this process was forked, and must leave the connection alone."""
        self.call = NoCaller().call
        self.is_left = True

    def cursor(self) -> Any:
        return self.connection.cursor()

    def control(self, statements: Sequence[str]) -> None:
        cursor = self.connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()

    def text_of(self, sql: Any) -> str:
        return sql if isinstance(sql, str) else str(sql)

    def was_aborted(self, error: BaseException) -> bool:
        return self.aborts

    def in_failed_transaction(self) -> Exception:
        raise NotImplementedError  # where failed statements do not abort the transaction

    def ends_transaction(self, sql: str) -> bool:
        return False

    def escapes(self, sql: str, *, reads: bool) -> bool:
        return False

    def changes(self) -> int:
        return 0

    def lose_transaction(self) -> None:
        with suppress(Exception):  # of a connection that is lost, or in no transaction
            self.control(["ROLLBACK"])

    def defers_constraints(self) -> bool:
        return False

    def check_deferred_constraints(self) -> None:
        """Do nothing, where no constraint can be deferred."""

    def sequences(self) -> object:
        return ""

    def restart_sequences(self, sequences: Any) -> None:
        """Do nothing, where a rollback has done it."""

    def start_test(self) -> None:
        """Do nothing, where it does not matter to what :meth:`end_test` takes back."""

    def end_test(self) -> bool:
        """Do nothing, where a rollback has done it."""
        return True

    def end_class(self) -> bool:
        return self.end_test()

    def close(self) -> None:
        """Close the connection, if it cannot serve another test class."""


async def to_the_end(
    work: Coroutine[Any, Any, Any],
    cancel: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> Any:
    """Await ``work`` until it is done, even if the task that awaits it is cancelled meanwhile.

    :param cancel: is awaited then, to make it end soon.
    """
    task = asyncio.create_task(work, name=AWAITED)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            if cancelled is not None and cancel is not None:
                await cancel()
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None and (cancel is not None or task.exception() is None):
        task.exception()  # which nobody needs to hear of
        raise cancelled
    return task.result()


_NOT_IN_GREENLET = """\
A synchronous engine was used in a coroutine, at {line}, but the database of this test class \
speaks to an asynchronous driver.
  To fix this, call it as await asyncio.to_thread(function), or through run_sync of a session or \
connection, as an application has to that does not want to block its event loop."""
