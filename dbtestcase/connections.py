"""Stand-ins for a DBAPI connection (PEP 249), each with a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .exceptions import StaleConnectionError
from .statements import TransactionControl, transaction_control

if TYPE_CHECKING:
    from .sandbox import Sandbox, Savepoint


class SandboxedConnection:
    """Looks like the sandbox's DBAPI connection; commits and rolls back for itself only.

    Attributes it does not define are those of the real connection.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.savepoints: list[Savepoint] = []
        self.autocommits = False
        self.opened_at = "an unknown line"
        self._stale_since = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sandbox.connection, name)

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        return SandboxedCursor(self, self.sandbox.connection.cursor(*args, **kwargs))

    def commit(self) -> None:
        with self.sandbox.lock:
            self._refuse_if_stale()
            self.sandbox.commit(self)

    def rollback(self) -> None:
        with self.sandbox.lock:
            self._stale_since = ""
            self.sandbox.roll_back(self)

    def close(self) -> None:
        self.rollback()

    def check_out(self, opened_at: str) -> None:
        """Start anew, for whoever took it from the pool."""
        self.rollback()
        self.opened_at = opened_at

    def expire(self, test: str) -> None:
        self._stale_since = test
        self.savepoints.clear()

    def admit(self, sql: str) -> bool:
        """Make ready for ``sql``; False if it was transaction control, which is then done."""
        self._refuse_if_stale()
        control = transaction_control(sql)
        if control is not None:
            self._control(control)
            return False
        if not self.savepoints and not self.autocommits:
            self._begin()
        if not self.sandbox.driver.reads(sql):
            self.sandbox.prepare_write(self, sql)
        return True

    def _begin(self) -> None:
        self.savepoints.append(self.sandbox.savepoint(self))
        self.sandbox.enter(self)

    def _control(self, control: TransactionControl) -> None:
        verb, name = control
        if verb == "commit":
            self.commit()
        elif verb == "rollback":
            self.rollback()
        else:
            if not self.savepoints:
                self._begin()
            if verb == "savepoint":
                self.savepoints.append(self.sandbox.savepoint(self, name))
            elif verb == "release":
                self.sandbox.release(self, self._index(name))
            elif verb == "rollback_to":
                self.sandbox.roll_back_to(self, self._index(name))

    def _index(self, name: str) -> int:
        for index in reversed(range(len(self.savepoints))):
            if self.savepoints[index].name.lower() == name.lower():
                return index
        raise self.sandbox.driver.error(f"no such savepoint: {name}")

    def _refuse_if_stale(self) -> None:
        if self._stale_since:
            raise StaleConnectionError(_STALE.format(test=self._stale_since))


class SandboxedCursor:
    """A cursor of the real connection that asks its stand-in before it executes."""

    def __init__(self, connection: SandboxedConnection, cursor: Any) -> None:
        self.connection = connection
        self._cursor = cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)

    def execute(self, sql: str, *args: Any, **kwargs: Any) -> Any:
        return self._run(self._cursor.execute, sql, *args, **kwargs)

    def executemany(self, sql: str, *args: Any, **kwargs: Any) -> Any:
        return self._run(self._cursor.executemany, sql, *args, **kwargs)

    def _run(self, method: Any, sql: str, *args: Any, **kwargs: Any) -> Any:
        sandbox = self.connection.sandbox
        with sandbox.lock:
            if not self.connection.admit(sql):
                return self
            try:
                result = method(sql, *args, **kwargs)
            except BaseException:
                sandbox.check_intact()
                raise
        return self if result is self._cursor else result


_STALE = """\
This connection was left in the middle of a transaction when {test} ended; that transaction \
has been rolled back with the test.
  To fix this, close the session or connection in that test or in its tearDown \
(a scoped_session: remove() it)."""
