"""The sessions that a test leaves open, such as that of a ``scoped_session``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.exc import IllegalStateChangeError
from sqlalchemy.util import greenlet_spawn

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.orm import Session, SessionTransaction

Run = Callable[[Coroutine[Any, Any, None]], None]


_notified: list[OpenSessions] = []  # of the test classes that are set up


class OpenSessions:
    """The sessions that work with the databases of a test class, whoever made them.

    A session that a ``scoped_session`` keeps would give its objects, and its transaction, to the
    next test. Nobody knows all registries; but a session has to begin, and SQLAlchemy tells that.

    :param alias_of: returns the alias of the database that an engine leads to, if to any.
    :param run: runs a coroutine in an event loop; called only for sessions of async engines.
    """

    def __init__(self, alias_of: Callable[[Engine], str | None], run: Run) -> None:
        self._alias_of = alias_of
        self._run = run
        self._in_test = False
        self._of_class: WeakSet[Session] = WeakSet()
        self._of_test: WeakSet[Session] = WeakSet()
        self._connected: WeakSet[Session] = WeakSet()
        self._are_async = False
        _listen()
        _notified.append(self)

    @contextmanager
    def of_test(self) -> Iterator[None]:
        """Empty the sessions that begin in a test; older ones only end their transactions."""
        self._in_test = True
        try:
            yield
        finally:
            self._in_test = False
            self._finish_test()

    def _finish_test(self) -> None:
        of_test, self._of_test = self._of_test, WeakSet()  # a stray thread may begin another
        left = [one for one in of_test if _holds_something(one) and self._is_ours(one)]
        open_ones = [
            session
            for session in self._of_class
            if session in self._connected and session.in_transaction()
        ]
        if left or open_ones:
            self._end(left, open_ones)

    def close(self) -> None:
        """Empty all that are left; further ones are none of the class's."""
        _notified.remove(self)
        self._end([session for session in self._of_class if self._is_ours(session)], [])

    def note_begun(self, session: Session) -> None:
        """Take note that ``session`` has begun, whatever it will work with."""
        if session not in self._of_class:
            (self._of_test if self._in_test else self._of_class).add(session)

    def note_connected(self, session: Session, connection: Connection) -> None:
        """Take note that ``session`` works with ``connection``."""
        if self._alias_of(connection.engine) is not None:
            self._connected.add(session)
            self._are_async = self._are_async or connection.dialect.is_async

    def _is_ours(self, session: Session) -> bool:
        """Tell whether it had a connection to the databases, or is likely to get one."""
        if session in self._connected:
            return True
        for added in session.new:
            with suppress(Exception):  # of a get_bind that works in a request only, say
                return self._alias_of(session.get_bind(type(added)).engine) is not None
            return True
        return False

    def _end(self, left: Iterable[Session], open_ones: Iterable[Session]) -> None:
        if self._are_async:
            self._run(greenlet_spawn(_end, left, open_ones))
        else:
            _end(left, open_ones)


@cache
def _listen() -> None:
    """Hear of all sessions from now on, once for the process.

    SQLAlchemy gives such a listener to each subclass of ``Session``, of which there is one for each
    ``sessionmaker``: with many of them that takes a millisecond.
    """
    from sqlalchemy.orm import Session

    event.listen(Session, "after_transaction_create", _session_has_begun)
    event.listen(Session, "after_begin", _session_has_connected)


def _session_has_begun(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        for one in _notified:
            one.note_begun(session)


def _session_has_connected(
    session: Session, transaction: SessionTransaction, connection: Connection
) -> None:
    for one in _notified:
        one.note_connected(session, connection)


def _holds_something(session: Session) -> bool:
    """Tell whether it has a transaction or objects; one that was closed has not."""
    return session.in_transaction() or any(True for _ in session)


def _end(left: Iterable[Session], open_ones: Iterable[Session]) -> None:
    ends = [*(session.reset for session in left), *(one.rollback for one in open_ones)]
    with ExitStack() as last:
        for end in ends:
            last.enter_context(suppress(IllegalStateChangeError))  # a stray thread works with it
            last.callback(end)
