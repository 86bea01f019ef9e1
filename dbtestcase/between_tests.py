"""What is changed outside of tests, by the set-up of a class or between two of its tests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from .statements import caller, changes_data
from .violations import changed_between_tests, lost_set_up

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from .recording import Listeners

    Listening = Callable[[Callable[[str], Listeners]], AbstractContextManager[object]]
    from .sandbox import Sandbox


class CommittedChanges:
    """Notes what is executed, with the line that it comes from, and committed.

    What is executed on a driver's connection is not seen.

    :param are_noted: tells whether what is executed now is noted.
    """

    def __init__(self, are_noted: Callable[[], bool]) -> None:
        self._are_noted = are_noted
        self._executed: WeakKeyDictionary[Connection, str] = WeakKeyDictionary()
        self._committed: list[str] = []

    def take(self) -> list[str]:
        """Return what was committed since the last call, first of each transaction."""
        committed, self._committed = self._committed, []
        return committed

    def listeners(self) -> Listeners:
        """Return the listeners that notice it, for every engine."""

        def executed(
            connection: Connection, cursor: Any, sql: str, parameters: Any, context: Any, many: bool
        ) -> None:
            if self._are_noted() and changes_data(sql) and cursor.rowcount != 0:
                self._executed.setdefault(connection, f"{sql.strip()}\n      at {caller()}")

        def commit(connection: Connection) -> None:
            what = self._executed.pop(connection, None)
            if what is not None:
                self._committed.append(what)

        def rollback(connection: Connection) -> None:
            self._executed.pop(connection, None)

        return {"after_cursor_execute": executed, "commit": commit, "rollback": rollback}


class ChangesBetweenTests:
    """What is committed between the end of a test and the start of the next.

    :param is_real: tells whether connections have real transactions now.
    """

    def __init__(self, is_real: Callable[[], bool]) -> None:
        self.after_test = False  # one has ended, and none has begun since
        self._changes = CommittedChanges(lambda: self.after_test and is_real())
        self.listeners = self._changes.listeners

    def start(self) -> None:
        """A test has ended."""
        self.after_test = True

    def finish(self, test: str, sandbox: Sandbox) -> None:
        """``test`` is about to start.

        :raises IsolationError: something was changed since the test before it; that is undone.
        """
        committed = self._changes.take()
        changes = sandbox.undo_changes() + committed
        if committed:
            sandbox.intact = False
        if changes:
            raise changed_between_tests(test, changes[0])
        self.stop()

    def stop(self) -> None:
        """What is executed from now on belongs to the set-up of a class."""
        self.after_test = False


class SetUpChanges(CommittedChanges):
    """What ``setUpClass`` itself commits, which is not made again when a database is rebuilt."""

    def __init__(self) -> None:
        super().__init__(lambda: True)
        self.loss = ""  # what to say of a failure, if that is gone
        self._watching = ExitStack()
        self._last_test = ""

    def watch(self, listening: Listening) -> None:
        """Class data is there: take note of what is executed from now on.

        :param listening: lets the engines of all databases have listeners.
        """
        self._watching.enter_context(listening(lambda alias: self.listeners()))

    def end(self, test: str, *, lost: bool) -> None:
        """``test`` is about to start, in a new database if the one before it was ``lost``."""
        self.close()
        for what in self.take()[:1] if lost else ():
            self.loss = lost_set_up(self._last_test, what)
        self._last_test = test

    def close(self) -> None:
        """Take note no more."""
        self._watching.close()
