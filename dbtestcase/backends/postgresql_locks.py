"""Who holds what others wait for on a PostgreSQL server."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from ..statements import first_word
from .diagnostics import Blocked, Holder
from .postgresql_errors import DEADLOCK, sqlstate

_GRANTED = """
SELECT pid, query, concat('process ', pid, ' (', application_name, ') of ', usename),
       locktype, mode, coalesce(relname, '')
  FROM pg_stat_activity JOIN pg_locks USING (pid)
  LEFT JOIN pg_class ON pg_class.oid = relation AND datid = database
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND granted
   AND (locktype IN ('transactionid', 'advisory') OR relation >= 16384)
 ORDER BY xact_start, pid
"""
_LOCKS_ROWS = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+|KEY\s+)?(?:UPDATE|SHARE)\b", re.IGNORECASE)
_WRITES = {"INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "COPY", ""}  # "" is a commit


class Lock(NamedTuple):
    """A lock that a session has."""

    pid: int
    query: str  # its last
    title: str  # of the session
    kind: str
    mode: str
    relation: str


def holders(
    blocked: Blocked, others: Collection[Any], ask: Callable[[str], Sequence[Any]]
) -> list[Holder]:
    """Return the sessions that hold what ``blocked`` waited for, as far as that can be told.

    After a deadlock PostgreSQL says who that was. Else the wait is over, and it no longer does;
    but what is held in this moment, and what the statement needed, is known.
    """
    ours = {_pid(one): one for one in others}
    itself = _pid(blocked.connection)
    locks = [lock for lock in (Lock(*row) for row in ask(_GRANTED)) if lock.pid != itself]
    if sqlstate(blocked.error) == DEADLOCK:
        named = set(re.findall(r"\d+", _said(blocked.error)))
        found = [lock for lock in locks if str(lock.pid) in named]
    else:
        found = list(_needed(locks, blocked)) or locks
    sessions = {lock.pid: lock for lock in found}.values()
    return [Holder(ours.get(one.pid), one.query, one.title) for one in sessions]


def _needed(locks: Iterable[Lock], blocked: Blocked) -> Iterable[Lock]:
    """Return those of ``locks`` that a statement has to wait for."""
    if "advisory" in blocked.sql:
        return [lock for lock in locks if lock.kind == "advisory"]
    relations = [lock for lock in locks if lock.relation and _excludes(lock.mode, blocked.sql)]
    text = f"{blocked.sql} {_said(blocked.error)}"  # the latter names what a foreign key led to
    named = [one for one in relations if re.search(rf"\b{re.escape(one.relation)}\b", text)]
    return named or relations


def _excludes(mode: str, sql: str) -> bool:
    """Tell whether a lock on a table, or locks on its rows that come with it, can block ``sql``."""
    word = first_word(sql)
    if word in _WRITES or _LOCKS_ROWS.search(sql):
        return mode != "AccessShareLock"
    return word != "SELECT" or mode == "AccessExclusiveLock"


def _said(error: Any) -> str:
    """Return the detail and context that came with the message of ``error``."""
    fields = getattr(error, "diag", None) or error.__cause__  # asyncpg's, behind its adapter
    names = ("message_detail", "detail", "context")
    return " ".join(str(getattr(fields, name, None) or "") for name in names)


def _pid(connection: Any) -> int | None:
    """Return the number of the process that serves ``connection``, None if it is a stand-in."""
    raw = getattr(connection, "driver_connection", connection)
    if hasattr(raw, "get_server_pid"):
        return int(raw.get_server_pid())
    return None if raw is None else int(raw.info.backend_pid)
