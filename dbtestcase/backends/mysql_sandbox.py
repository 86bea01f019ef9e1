"""Stand-ins for the connections of MariaDB's and MySQL's drivers inside the sandbox."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from ..connections import SandboxedConnection, SandboxedCursor
from .mysql_recording import RAW
from .mysql_statements import autocommit_in, controls


class MySQLSandboxedConnection(SandboxedConnection):
    """A stand-in for the connections of PyMySQL, mysqlclient, and SQLAlchemy's adapters."""

    @property
    def dbtestcase_database(self) -> str:
        """The name of the database."""
        link: Any = self.sandbox.link
        return str(link.database)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the real connection, on which something may be committed."""
        if name in RAW:
            link: Any = self.sandbox.link
            link.suspect()
            if self.sandbox.test_savepoint is None:  # which would be gone after a commit
                link.raw = True
                self.sandbox.intact = self.sandbox.intact and not self.sandbox.test
        return super().__getattr__(name)

    def __enter__(self) -> MySQLSandboxedConnection:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def autocommit(self, value: Any) -> None:
        """Take note; turning it on commits, as on the server."""
        if value and not self.autocommits:
            self.commit()
        self.autocommits = bool(value)

    def get_autocommit(self) -> bool:
        return self.autocommits

    def begin(self) -> None:
        self.cursor().execute("BEGIN")

    def query(self, sql: Any, *args: Any, **kwargs: Any) -> Any:
        return self.cursor().execute(sql)

    def ping(self, *args: Any, **kwargs: Any) -> None:
        """Answer for the real connection, and never open it anew."""
        link = self.sandbox.link
        link.call(link.control, ["DO 0"])

    def terminate(self) -> None:
        self.rollback()

    def cursor(self, *args: Any, **kwargs: Any) -> MySQLSandboxedCursor:
        """Return a cursor that has all its rows: one on the server's side keeps others waiting."""
        link: Any = self.sandbox.link
        asked = () if link.is_async else (*args, *kwargs.values())
        classes = [_buffered(one) for one in asked if one is not None]
        return MySQLSandboxedCursor(self, link.call(link.connection.cursor, *classes))

    def admit(self, sql: str) -> bool:
        value = autocommit_in(sql)
        if value is not None:
            self.autocommit(value)
            return False
        plain = controls(sql)
        if plain is None:
            return super().admit(sql)
        for control in plain:
            super().admit(control)
        return False


class MySQLSandboxedCursor(SandboxedCursor):
    def __enter__(self) -> MySQLSandboxedCursor:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it, when no other thread uses the connection, which mysqlclient checks."""
        link: Any = self.connection.sandbox.link
        if link.is_async:
            self._cursor.close()
        else:
            link.call(self._cursor.close)

    def callproc(self, name: str, args: Any = ()) -> Any:
        def callproc(sql: str) -> Any:
            return self._cursor.callproc(name, args)

        return self._call(callproc, f"CALL {name}")

    def _run(self, method: Any, sql: Any, *args: Any, **kwargs: Any) -> Any:
        sandbox = self.connection.sandbox
        link: Any = sandbox.link
        result = super()._run(partial(link.execute, method), sql, *args, **kwargs)
        if link.probing and self._cursor.description is None:  # else more results are to come
            sandbox.check_intact()
        return result


def _buffered(cursor_class: type) -> type:
    """Return the class of cursors that fetch all rows at once, like ``cursor_class`` otherwise."""
    for base in cursor_class.__mro__:
        if base.__name__.startswith("SS"):
            module = sys.modules[base.__module__]
            buffered: type = getattr(module, base.__name__.removeprefix("SS"))
            return buffered
    return cursor_class
