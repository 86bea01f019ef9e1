"""Dropping several PostgreSQL databases for the price of one.

Before it drops a database, PostgreSQL writes to the disk all that it has in memory of others, file
by file, and waits for that. Nothing of a database that is just being dropped is written, and those
who wait at the same time wait for the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, suppress
from selectors import EVENT_READ, DefaultSelector
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from ..exceptions import BackendError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from .server import ServerBackend

_HOLDS_ROLES = text(
    "SELECT EXISTS (SELECT FROM pg_shdepend JOIN pg_database d ON d.oid IN (dbid, objid)"
    " WHERE datname = :name AND (dbid > 0 OR classid = CAST('pg_database' AS regclass))"
    " AND refclassid = CAST('pg_authid' AS regclass)"
    " AND refobjid <> (SELECT oid FROM pg_roles WHERE rolname = current_user))"
)
# What nobody has logged in to, like an autovacuum, the server ends itself.
_HAS_CLIENTS = text(
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = :name AND usesysid IS NOT NULL)"
)
# Half of the connections are left to others, who would be refused theirs.
_HAS_ROOM = text(
    "SELECT count(*) < CAST(current_setting('max_connections') AS integer) / 2"
    " FROM pg_stat_activity"
)


def holds_roles(door: Connection, name: str) -> bool:
    """Tell whether roles of others cannot be dropped as long as a database is there."""
    return bool(door.scalar(_HOLDS_ROLES, {"name": name}))


def has_clients(door: Connection, name: str) -> bool:
    """Tell whether anybody is connected to a database."""
    return bool(door.scalar(_HAS_CLIENTS, {"name": name}))


def has_room(door: Connection) -> bool:
    """Tell whether the server has connections to spare for dropping."""
    return bool(door.scalar(_HAS_ROOM))


def execute_together(backend: ServerBackend, statements: Iterable[str]) -> None:
    """Execute each of ``statements`` on a connection of its own, whether it succeeds or not.

    Some are left out where the server has no more connections, or the driver cannot do several
    things at once. There are no threads, as none can be started while a process ends.
    """
    with ExitStack() as opened:
        connections: list[tuple[Any, str]] = []
        with suppress(BackendError):
            for statement in statements:
                connection = _opened(backend)
                opened.callback(connection.close)
                if not hasattr(connection, "pgconn"):
                    return
                connections.append((connection, statement))
        for connection, statement in connections:
            _send(connection, statement)
        for connection, _ in connections:
            _await_end(connection)


def _opened(backend: ServerBackend) -> Any:
    with backend.reaching(backend.url.database):
        return backend.open(is_async=False)


def _send(connection: Any, statement: str) -> None:
    """Let psycopg send what is no part of a transaction, and not wait for the answer."""
    with suppress(connection.Error):
        connection.pgconn.send_query(statement.encode())


def _await_end(connection: Any) -> None:
    """Wait for the answer, so that Ctrl-C interrupts it."""
    with suppress(connection.Error), DefaultSelector() as selector:
        selector.register(connection.pgconn.socket, EVENT_READ)
        while connection.pgconn.is_busy():
            selector.select()
            connection.pgconn.consume_input()
        while connection.pgconn.get_result() is not None:
            pass
