"""What stands in for the connections of PostgreSQL's drivers inside the sandbox."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ..connections import SandboxedConnection, SandboxedCursor
from ..exceptions import UsageError
from ..statements import TransactionControl
from ..violations import raw_connection

_LEVEL = re.compile(
    r"\s*SET\s+(SESSION\s+CHARACTERISTICS\s+AS\s+)?TRANSACTION\s+(?!SNAPSHOT)", re.IGNORECASE
)
_RAW = ("_connection", "driver_connection", "pgconn")


class PostgreSQLSandboxedConnection(SandboxedConnection):
    """A stand-in for the connections of psycopg, psycopg2, and SQLAlchemy's adapters."""

    @property
    def autocommit(self) -> bool:
        return self.autocommits

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self.autocommits = value

    def set_autocommit(self, value: bool) -> None:
        self.autocommits = value

    def set_isolation_level(self, level: object) -> None:
        """Take note of autocommit; one transaction has only one other level."""
        self.rollback()
        if level is not None:  # with psycopg's AsyncConnection it is not about autocommit
            self.autocommits = level in (0, "autocommit")

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Return a cursor that is not on the server's side: a rollback would close those."""
        return PostgreSQLSandboxedCursor(self, self.sandbox.link.call(self.sandbox.link.cursor))

    def terminate(self) -> None:
        self.rollback()

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the real connection, in a transaction if it could write.

        :raises IsolationError: that cannot be begun here.
        """
        value = super().__getattr__(name)
        if callable(value) or name in _RAW:
            link: Any = self.sandbox.link
            link.note_raw_use()
            try:
                self.sandbox.begin()
            except UsageError as error:
                raise raw_connection(name) from error
        return value

    def execute(self, sql: Any, *args: Any, **kwargs: Any) -> Any:
        return self.cursor().execute(sql, *args, **kwargs)

    @contextmanager
    def transaction(self, name: str = "dbtestcase", force_rollback: bool = False) -> Iterator[Any]:
        """As in psycopg: a transaction, or a savepoint in the one that is open."""
        execute = self.cursor().execute
        nested = f" SAVEPOINT {name}" if self.savepoints else ""
        execute(nested or "BEGIN")
        try:
            yield self
        except BaseException:
            execute(f"ROLLBACK TO{nested}" if nested else "ROLLBACK")
            raise
        if force_rollback:
            execute(f"ROLLBACK TO{nested}" if nested else "ROLLBACK")
        else:
            execute(f"RELEASE{nested}" if nested else "COMMIT")

    def admit(self, sql: str) -> bool:
        """One transaction has only one level of isolation: to set another does nothing."""
        return not _LEVEL.match(sql) and super().admit(sql)

    def _control(self, control: TransactionControl) -> None:
        """PostgreSQL has savepoints in transactions only, which here begin with any statement."""
        if control.verb in ("savepoint", "release", "rollback_to") and not self.savepoints:
            if self.autocommits:
                verb = control.verb.replace("_", " ").upper()
                raise self.sandbox.link.error(f"{verb} can only be used in transaction blocks")
            self._begin()
        super()._control(control)

    def _index(self, name: str) -> int:
        """To name a savepoint that is not there is an error like any other."""
        try:
            return super()._index(name)
        except Exception:
            self.failed = True
            raise


class PostgreSQLSandboxedCursor(SandboxedCursor):
    def __enter__(self) -> PostgreSQLSandboxedCursor:
        return self

    def __exit__(self, *exception: object) -> None:
        self._cursor.close()

    def __next__(self) -> Any:
        return next(self._cursor)

    def _run(self, method: Any, sql: Any, *args: Any, **kwargs: Any) -> Any:
        link: Any = self.connection.sandbox.link
        return super()._run(partial(link.execute, method), sql, *args, **kwargs)

    def copy_expert(self, sql: str, *args: Any, **kwargs: Any) -> Any:
        return self._call(self._cursor.copy_expert, sql, *args, **kwargs)

    @contextmanager
    def copy(self, statement: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """As in psycopg."""
        sandbox, text = self.connection.sandbox, self.connection.sandbox.link.text_of(statement)
        sandbox.link.call(self.connection.enter_transaction, text, reads=False)
        try:
            with self._cursor.copy(statement, *args, **kwargs) as copy:
                yield copy
        except BaseException as error:
            sandbox.link.call(sandbox.fail_statement, self.connection, error)
            raise
        sandbox.link.call(sandbox.finish_statement, self.connection, changed_rows=True)
