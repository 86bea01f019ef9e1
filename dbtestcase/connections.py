"""Stand-ins for a DBAPI connection (PEP 249), each with a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .statements import TransactionControl, transaction_control
from .violations import stale_connection

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
        self.sandbox.start_statement()
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

    def _begin(self, name: str = "") -> None:
        self.savepoints.append(self.sandbox.savepoint(self, name))
        self.sandbox.enter(self)

    def _control(self, control: TransactionControl) -> None:
        verb, name = control
        if verb == "commit":
            self.commit()
        elif verb == "rollback":
            self.rollback()
        elif verb == "rollback_to":
            self.sandbox.roll_back_to(self, self._index(name))
        elif verb == "release":
            self._release(self._index(name))
        else:
            if not self.savepoints and (verb == "begin" or not self.autocommits):
                self._begin()
            if verb == "savepoint":
                self._begin(name)

    def _release(self, index: int) -> None:
        if index == 0:  # a savepoint outside of a transaction began one, and ends it
            self.commit()
        else:
            self.sandbox.release(self, index)

    def _index(self, name: str) -> int:
        for index in reversed(range(len(self.savepoints))):
            if self.savepoints[index].name.lower() == name.lower():
                return index
        raise self.sandbox.driver.error(f"no such savepoint: {name}")

    def _refuse_if_stale(self) -> None:
        if self._stale_since:
            raise stale_connection(self._stale_since)


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
        sandbox = self.connection.sandbox
        with sandbox.lock:
            try:
                return self._run(self._cursor.execute, sql, *args, **kwargs)
            except BaseException:
                sandbox.forget_write(self.connection)
                raise

    def executemany(self, sql: str, *args: Any, **kwargs: Any) -> Any:
        with self.connection.sandbox.lock:
            return self._run(self._cursor.executemany, sql, *args, **kwargs)

    def _run(self, method: Any, sql: str, *args: Any, **kwargs: Any) -> Any:
        sandbox = self.connection.sandbox
        if not self.connection.admit(sql):
            return self
        try:
            result = method(sql, *args, **kwargs)
        except BaseException:
            sandbox.check_intact()
            raise
        if self._cursor.rowcount == 0 and self._cursor.description is None:
            sandbox.forget_write(self.connection)
        return self if result is self._cursor else result
