"""The sandbox's link to MariaDB and MySQL, through each of their drivers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..connections import SandboxedConnection
from ..exceptions import IsolationError
from ..sandbox import Sandbox
from .links import BaseLink, Caller, to_the_end
from .mysql_catalog import Catalog
from .mysql_sandbox import MySQLSandboxedConnection
from .mysql_schema import Schema
from .mysql_session import SessionState
from .mysql_statements import kind_of
from .mysql_tables import restart

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

_NO_SUCH_SAVEPOINT = 1305
_PROBE = "dbtestcase_probe"
_SEARCH = re.compile(r"\bMATCH\b.*\bAGAINST\b", re.IGNORECASE | re.DOTALL)


class MySQLLink(BaseLink):
    """One real connection, in autocommit mode: the sandbox controls transactions.

    A statement whose text does not say what it does, such as CALL, may commit. A savepoint that
    is set before it and gone after it tells.

    :param database: the name of the database.
    :param schema: what is known of it, to be completed through this link.
    :param uncached: is executed to see where AUTO_INCREMENT stands now.
    :param suspect: is called before what may commit.
    """

    def __init__(
        self,
        connection: Any,
        caller: Caller,
        dialect: Dialect,
        *,
        database: str,
        schema: Schema,
        uncached: str,
        close: Callable[[], None],
        suspect: Callable[[], None],
    ) -> None:
        super().__init__(connection, caller)
        self._dbapi: Any = dialect.loaded_dbapi
        self._is_disconnect = dialect.is_disconnect
        self.is_async = dialect.is_async
        self._is_open = _STATUS.get(dialect.driver)
        self.database = database
        self._uncached = uncached
        self._close = close
        self.suspect = suspect
        self._executed = 0  # statements that may have written, whatever their row count says
        self._failed = False  # the last statement, so that the driver knows nothing of its effect
        self.probing = False
        self.broken = False  # the transaction was ended, so that something may be committed
        self.raw = False  # it may have been, unseen, on the driver's own connection
        connection.autocommit(True)
        self._cursor = connection.cursor()
        self._session = SessionState(self._fetch, self._dbapi.Error)
        self._schema = schema
        schema.fetch = self._fetch
        self._unseen = self._unseen_of_class = False  # rows that a full-text search passes over

    @property
    def may_have_committed(self) -> bool:
        """Whether what was done through it may be in the database for good."""
        return self.broken or self.raw

    def control(self, statements: Sequence[str]) -> None:
        if self.probing:
            self._probe()
        if not self.broken:
            try:
                for statement in statements:
                    self._to_the_end(self._cursor.execute, statement)
            except self._dbapi.Error as error:
                self._note_loss(error)
                raise

    def error(self, message: str) -> Exception:
        error: Exception = self._dbapi.OperationalError(_NO_SUCH_SAVEPOINT, message)
        return error

    def text_of(self, sql: Any) -> str:
        return sql.decode() if isinstance(sql, (bytes, bytearray)) else str(sql)

    def reads(self, sql: str) -> bool:
        return kind_of(sql).reads and self._schema.functions.search(sql) is None

    def ends_transaction(self, sql: str) -> bool:
        return kind_of(sql).commits

    def escapes(self, sql: str, *, reads: bool) -> bool:
        pattern = self._schema.without_savepoints if reads else self._schema.at_once
        return pattern.search(sql) is not None

    def changes(self) -> int:
        return self._executed

    def in_transaction(self) -> bool:
        if self.probing:
            self._probe()
        elif not self.broken:
            self.broken = not self._ask()
        return not self.broken

    def lose_transaction(self) -> None:
        self.broken = True

    def execute(self, method: Any, sql: Any, *args: Any, **kwargs: Any) -> Any:
        """Return ``method(sql, ...)``, of a cursor, made ready to find out what it did."""
        text = self.text_of(sql)
        self._session.note(text)
        if not self.reads(text):
            self._session.note_concealed(self._schema.concealed)
            self._unseen = self._unseen or self._schema.searched.search(text) is not None
        elif self._unseen and _SEARCH.search(text):
            raise IsolationError(_UNSEEN.format(sql=text.strip()))
        if not kind_of(text).known:
            self.suspect()
            self.control([f"SAVEPOINT {_PROBE}"])
            self.probing = True
            self._executed += 1
        elif method.__name__ == "executemany":
            self._executed += 1  # and if it fails, some of it
        try:
            result = self._to_the_end(method, sql, *args, **kwargs)
        except BaseException as error:
            self._failed = True
            self._note_loss(error)
            if not isinstance(error, Exception):  # a task was cancelled, not the statement
                self._executed += 1
            raise
        self._failed = False
        return result

    def start_test(self) -> None:
        self._session.start_test()
        self._unseen_of_class = self._unseen

    def end_test(self) -> bool:
        self._session.take_back()
        self._unseen = self._unseen_of_class
        return True

    def end_class(self) -> bool:
        self._session.take_back_all()
        self._unseen = self._unseen_of_class = False
        return not self.raw

    def sequences(self) -> Catalog:
        now = self._catalog()
        _ = now.counters, now.sequences
        return now

    def restart_sequences(self, sequences: Any) -> None:
        """Restart what has moved. That commits, so no transaction may be open."""
        if sequences is not None:
            restart(self._catalog(), sequences, sequences.counters)

    def stand_in(self, sandbox: Sandbox) -> SandboxedConnection:
        return MySQLSandboxedConnection(sandbox)

    def close(self) -> None:
        self._close()

    def _to_the_end(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call what, if it were cancelled halfway, would leave a connection that nobody can use."""
        if not self.is_async:
            return function(*args, **kwargs)
        from sqlalchemy.util import await_only, greenlet_spawn

        return await_only(to_the_end(greenlet_spawn(function, *args, **kwargs)))

    def _probe(self) -> None:
        self.probing = False
        self.broken = self.broken or not self._succeeds(f"RELEASE SAVEPOINT {_PROBE}")

    def _ask(self) -> bool:
        if self._is_open is None:
            return all(
                self._succeeds(f"{verb} {_PROBE}") for verb in ("SAVEPOINT", "RELEASE SAVEPOINT")
            )
        if self._failed and not self._succeeds("DO 0"):  # errors do not carry the status
            return False
        return self._is_open(self.connection)

    def _note_loss(self, error: Any) -> None:
        self.is_lost = self.is_lost or self._is_disconnect(error, self.connection, None)

    def _succeeds(self, sql: str) -> bool:
        try:
            self._cursor.execute(sql)
        except self._dbapi.Error as error:
            self._note_loss(error)
            return False
        self._failed = False
        return True

    def _catalog(self) -> Catalog:
        if self._uncached:
            self._cursor.execute(self._uncached)
        return Catalog(self.database, self._fetch)

    def _fetch(self, sql: str, *parameters: Any) -> list[Any]:
        self._cursor.execute(sql, *parameters)
        return list(self._cursor.fetchall() or ())


def _in_transaction(connection: Any) -> bool:
    return bool(connection.server_status & 1)  # SERVER_STATUS_IN_TRANS, in every answer


def _in_transaction_async(connection: Any) -> bool:
    return bool(connection.driver_connection.get_transaction_status())


#: What a driver knows of the transaction; mysqlclient does not.
_STATUS = {
    "pymysql": _in_transaction,
    "asyncmy": _in_transaction_async,
    "aiomysql": _in_transaction_async,
}

_UNSEEN = """\
This search was not executed: FULLTEXT indexes know only what is committed, so nothing that the \
test or its class data has written:
      {sql}
  To fix this, give the test real commits, with the decorator @dbtestcase.isolation("truncation") \
or @dbtestcase.isolation("template")."""
