"""What is changed on connections with real transactions while no test runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from .statements import caller, changes_data
from .violations import changed_between_tests

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from .recording import Listeners
    from .sandbox import Sandbox


class ChangesBetweenTests:
    """Notes what is committed between the end of a test and the start of the next.

    What is executed on a driver's connection is not seen.

    :param is_real: tells whether connections have real transactions now.
    """

    def __init__(self, is_real: Callable[[], bool]) -> None:
        self._is_real = is_real
        self.after_test = False  # one has ended, and none has begun since
        self._executed: WeakKeyDictionary[Connection, str] = WeakKeyDictionary()
        self._committed: list[str] = []

    def start(self) -> None:
        """A test has ended."""
        self.after_test = True

    def finish(self, test: str, sandbox: Sandbox) -> None:
        """``test`` is about to start.

        :raises IsolationError: something was changed since the test before it; that is undone.
        """
        committed, self._committed = self._committed, []
        changes = sandbox.undo_changes() + committed
        if committed:
            sandbox.intact = False
        if changes:
            raise changed_between_tests(test, changes[0])
        self.stop()

    def stop(self) -> None:
        """What is executed from now on belongs to the set-up of a class."""
        self.after_test = False

    def listeners(self) -> Listeners:
        """Return the listeners that notice it, for every engine."""

        def executed(
            connection: Connection, cursor: Any, sql: str, parameters: Any, context: Any, many: bool
        ) -> None:
            if self.after_test and self._is_real() and changes_data(sql) and cursor.rowcount != 0:
                self._executed.setdefault(connection, f"{sql.strip()}\n      at {caller()}")

        def commit(connection: Connection) -> None:
            what = self._executed.pop(connection, None)
            if what is not None:
                self._committed.append(what)

        def rollback(connection: Connection) -> None:
            self._executed.pop(connection, None)

        return {"after_cursor_execute": executed, "commit": commit, "rollback": rollback}
