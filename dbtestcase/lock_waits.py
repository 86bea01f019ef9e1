"""Who holds the lock that a statement waited for in vain, told in a note on its error."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from .backends.diagnostics import Blocked, Holder
from .connections import SandboxedConnection
from .engines import SOURCE
from .statements import caller

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.exc import StatementError

    from .class_database import ClassDatabase
    from .databases import Databases
    from .link import Link
    from .recording import Listeners


_NOT_WAITING = re.compile(r"\bNOWAIT\b", re.IGNORECASE)


class LockWaits:
    """Explains the errors of statements that could not have a lock.

    The error is as in production. It is explained in the moment in which it happens, as those who
    hold the lock still do. Of what is executed on a driver's own connection nothing is heard.

    :param databases: of a test class.
    :param test: returns the name of the test that runs, empty if none does.
    """

    def __init__(self, databases: Databases, test: Callable[[], str]) -> None:
        self._databases = databases
        self._test = test
        self._explained: WeakSet[BaseException] = WeakSet()

    def listeners(self, alias: str) -> Listeners:
        """Return the listeners for the engines that lead to ``alias``."""

        def explain(context: ExceptionContext) -> None:
            error = context.sqlalchemy_exception
            # Engines may share the dialect that listens, and each of them has this listener.
            is_ours = self._databases.alias_of(context.engine) == alias  # type: ignore[arg-type]
            if error is not None and is_ours:
                source = None if context.connection is None else context.connection.info.get(SOURCE)
                self.explain(error, alias, source, caller())

        return {"handle_error": explain}

    def explain(self, error: StatementError, alias: str, itself: Any, line: str) -> None:
        """Add the note to ``error``, if a lock is what it is about and it has none yet.

        :param itself: the connection it was raised on, as :meth:`Database.connect` returned it.
        :param line: of the code that has executed the statement.
        """
        if _NOT_WAITING.search(error.statement or ""):  # as the application expects
            return
        diagnostics = self._databases.backends[alias].diagnostics
        if diagnostics.is_blocked(error.orig) and error not in self._explained:
            self._explained.add(error)
            blocked = Blocked(error.orig, error.statement or "", itself)
            error.add_note(self._explanation(alias, blocked, line))

    def _explanation(self, alias: str, blocked: Blocked, line: str) -> str:
        database = self._databases.by_alias[alias]
        diagnostics = database.backend.diagnostics
        itself = blocked.connection
        lines = {one: at for one, at in database.engines.in_use() if one is not itself}
        try:
            holders = diagnostics.holders(blocked, [*lines], partial(_ask, database, itself))
        except Exception as error:  # which must not hide the first one
            holders = [Holder(None, "", f"somebody unknown: {error}")]
        if any(one.connection is None for one in holders):
            _give_up(database)
        return _BLOCKED.format(
            test=self._test() or "The set-up of the class",
            line=line,
            sql=_in_line(blocked.sql) or "COMMIT",
            holders="\n  and\n".join(_shown(one, lines) for one in holders) or _UNKNOWN,
            limit=diagnostics.lock_limit,
        )


def _give_up(database: ClassDatabase) -> None:
    """Let the next test have new databases, as those who hold the lock may never leave these."""
    database.sandbox.intact = False
    for one in (database.beneath_sandbox, database.moved, *database.copies.values()):
        if one is not None:
            one.spoiled = True


def _ask(database: ClassDatabase, blocked: Any, sql: str) -> Sequence[Any]:
    """Return the rows of a query, by a connection beside the ``blocked`` one if there is any."""
    if isinstance(blocked, SandboxedConnection):
        return blocked.sandbox.link.call(_rows, blocked.sandbox.link, sql)  # type: ignore[no-any-return]
    with database.connected() as connection:
        return connection.exec_driver_sql(sql).all()


def _rows(link: Link, sql: str) -> Sequence[Any]:
    cursor = link.cursor()
    try:
        cursor.execute(sql)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def _shown(holder: Holder, lines: dict[Any, str]) -> str:
    line = lines.get(holder.connection)
    by = holder.title if line is None else f"the connection opened at {line}"
    return f"      {_in_line(holder.sql) or '(nothing that is known)'}\n      on {by}"


def _in_line(sql: str) -> str:
    return " ".join(sql.split())


_UNKNOWN = "      (nothing that is known)"

_BLOCKED = """\
{test}: at {line}, this statement could not have a lock that another connection holds:
      {sql}
  The other one is in a transaction, in which it has executed:
{holders}
  To fix this, end that transaction before, with commit(), rollback() or close(). A statement \
waits for a lock for {limit}."""
