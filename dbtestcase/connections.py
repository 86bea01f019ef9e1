"""Stand-ins for a DBAPI connection (PEP 249), each with a transaction of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Set
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import ref

from sqlalchemy.exc import DisconnectionError

from .event_loop import workers_now
from .exceptions import IsolationError
from .statements import TransactionControl, transaction_control
from .violations import stale_connection

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

    from .sandbox import Sandbox
    from .savepoints import Savepoint

_PROCESS = "dbtestcase_process"  # in a connection's info, the one that has used it first

#: Orders what happens: connections taken from pools, and the beginnings of tests.
MOMENTS = count(1)


class SandboxedConnection:
    """Looks like the sandbox's DBAPI connection; commits and rolls back for itself only.

    Attributes it does not define are those of the real connection.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.savepoints: list[Savepoint] = []
        self.autocommits = False
        self.failed = False
        self.opened_at = "an unknown line"
        self.last_sql = ""
        self._taken_at = 0  # which moment
        self._taken_by: list[ref[object]] = []  # thread and task
        self._stale_since = ""
        self._proxy: Callable[[], PoolProxiedConnection | None] = lambda: None
        self._unreturned: PoolProxiedConnection | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sandbox.link.connection, name)

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        return SandboxedCursor(self, self.sandbox.link.call(self.sandbox.link.cursor))

    def commit(self) -> None:
        self._refuse_if_stale()
        if self.savepoints:
            self.sandbox.link.call(self.sandbox.commit, self)

    def rollback(self) -> None:
        self._stale_since = ""
        if self.savepoints and not self.sandbox.link.is_left:
            try:
                self.sandbox.link.call(self.sandbox.roll_back, self)
            except IsolationError:
                self._unreturned = self._proxy()  # SQLAlchemy does not give it back
                raise

    def close(self) -> None:
        self.rollback()

    def check_out(self, opened_at: str, proxy: PoolProxiedConnection) -> None:
        """Start anew, for whoever took it from the pool as ``proxy``."""
        self.rollback()
        self.opened_at = opened_at
        self.last_sql = ""
        self._taken_at = next(MOMENTS)
        self._taken_by = [ref(worker) for worker in workers_now()]
        self._proxy = ref(proxy)

    def is_out(self) -> bool:
        """Tell whether it was taken from the pool and has not been given back."""
        proxy = self._proxy()
        return proxy is not None and proxy.is_valid

    def is_left_since(self, moment: int, older: Set[object]) -> bool:
        """Tell whether it was taken since ``moment``, by none of ``older``, and not given back."""
        at_work = any(worker() in older for worker in self._taken_by)
        return self._taken_at > moment and not at_work and self.is_out()

    def give_back(self) -> None:
        """Give it back to the pool if its last user tried to in vain."""
        proxy, self._unreturned = self._unreturned, None
        if proxy is not None:
            proxy.close()

    def expire(self, test: str) -> None:
        self._stale_since = test
        self.savepoints.clear()
        self.failed = False

    def admit(self, sql: str) -> bool:
        """Make ready for ``sql``; False if it was transaction control, which is then done."""
        self._refuse_if_stale()
        control = transaction_control(sql)
        if control is not None:
            self._control(control)
            return False
        self.enter_transaction(sql, reads=self.sandbox.link.reads(sql))
        return True

    def enter_transaction(self, sql: str, *, reads: bool) -> None:
        """Make ready to execute ``sql``, which is no transaction control."""
        self.last_sql = sql
        if self.failed:
            raise self.sandbox.link.in_failed_transaction()
        if not self.savepoints and not self.autocommits:
            self._begin()
        self.sandbox.start_statement(self, sql, reads=reads)

    def _begin(self, name: str = "") -> None:
        self.savepoints.append(self.sandbox.savepoint(self, name))
        self.sandbox.enter(self)

    def _control(self, control: TransactionControl) -> None:
        verb, name = control
        if verb == "commit":
            self.sandbox.commit(self)
        elif verb == "rollback":
            self.sandbox.roll_back(self)
        elif verb == "rollback_to":
            self.sandbox.roll_back_to(self, self._index(name))
        elif self.failed:
            raise self.sandbox.link.in_failed_transaction()
        elif verb == "release":
            self._release(self._index(name))
        else:
            if not self.savepoints and (verb == "begin" or not self.autocommits):
                self._begin()
            if verb == "savepoint":
                self._begin(name)

    def _release(self, index: int) -> None:
        if index == 0:  # a savepoint outside of a transaction began one, and ends it
            self.sandbox.commit(self)
        else:
            self.sandbox.release(self, index)

    def _index(self, name: str) -> int:
        for index in reversed(range(len(self.savepoints))):
            if self.savepoints[index].name.lower() == name.lower():
                return index
        raise self.sandbox.link.error(f"no such savepoint: {name}")

    def _refuse_if_stale(self) -> None:
        if self._stale_since:
            raise stale_connection(self._stale_since)


class SandboxedCursor:
    """A cursor of the real connection that asks its stand-in before it executes."""

    connection: SandboxedConnection
    _cursor: Any

    def __init__(self, connection: SandboxedConnection, cursor: Any) -> None:
        vars(self).update(connection=connection, _cursor=cursor)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._cursor, name, value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)

    def execute(self, sql: Any, *args: Any, **kwargs: Any) -> Any:
        return self._call(self._cursor.execute, sql, *args, **kwargs)

    def executemany(self, sql: Any, *args: Any, **kwargs: Any) -> Any:
        return self._call(self._cursor.executemany, sql, *args, **kwargs)

    def _call(self, method: Any, sql: Any, *args: Any, **kwargs: Any) -> Any:
        return self.connection.sandbox.link.call(self._run, method, sql, *args, **kwargs)

    def _run(self, method: Any, sql: Any, *args: Any, **kwargs: Any) -> Any:
        sandbox = self.connection.sandbox
        if not self.connection.admit(sandbox.link.text_of(sql)):
            return self
        try:
            result = method(sql, *args, **kwargs)
        except BaseException as error:
            sandbox.fail_statement(self.connection, error)
            raise
        changed = self._cursor.rowcount != 0 or self._cursor.description is not None
        sandbox.finish_statement(self.connection, changed_rows=changed)
        return self if result is self._cursor else result


def is_ours(record: ConnectionPoolEntry, proxy: PoolProxiedConnection) -> bool:
    """Return that a real connection, which a pool gives out, belongs to this process.

    :raises DisconnectionError: it is that of the process we were forked from. The pool, which is
        told so by this, opens another one.
    """
    if record.info.setdefault(_PROCESS, os.getpid()) != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None  # type: ignore[misc]
        raise DisconnectionError
    return True
