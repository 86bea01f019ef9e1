"""What PostgreSQL says of constraints, locks and plans."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from .diagnostics import (
    Blocked,
    Constraint,
    Diagnostics,
    Failed,
    Holder,
    Kind,
    Plan,
    Shortage,
    explained,
)
from .postgresql_errors import (
    DEADLOCK,
    LOCK_NOT_AVAILABLE,
    UNDEFINED_TABLE,
    shortage_of,
    sqlstate,
)
from .postgresql_locks import holders
from .server import LOCK_WAIT, PREFIX

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_KINDS: dict[str, Kind] = {
    "23001": "foreign key",  # ON DELETE RESTRICT
    "23502": "not null",
    "23503": "foreign key",
    "23505": "unique",
    "23514": "check",
    "23P01": "exclusion",
}


class PostgreSQLDiagnostics(Diagnostics):
    """PostgreSQL sends what it knows in fields of its errors, as JSON in plans."""

    lock_limit = f"{LOCK_WAIT} seconds, or as long as SET lock_timeout says"

    def violated(self, error: Any, failed: Failed | None) -> list[Constraint]:
        kind = _KINDS.get(sqlstate(error))
        if kind is None:
            return []
        fields = getattr(error, "diag", None)
        if getattr(fields, "table_name", None) is None:  # it is an adapter's, for asyncpg
            fields = error.__cause__ or error
        name, table, column, schema = (
            getattr(fields, f"{what}_name", None) or ""
            for what in ("constraint", "table", "column", "schema")
        )
        if schema.startswith(f"{PREFIX}_"):  # one of ours, which the test has for its default one
            schema = ""
        return [Constraint(kind, name, table, (column,) if column else (), schema)]

    def lacks_table(self, error: Any) -> bool:
        return sqlstate(error) == UNDEFINED_TABLE

    def shortage(self, error: Any) -> Shortage | None:
        return shortage_of(error)

    def is_blocked(self, error: Any) -> bool:
        return sqlstate(error) in (LOCK_NOT_AVAILABLE, DEADLOCK)

    def holders(
        self, blocked: Blocked, others: Collection[Any], ask: Callable[[str], Sequence[Any]]
    ) -> list[Holder]:
        return holders(blocked, others, ask)

    def plan(
        self, connection: Connection, statement: Any, index: str, tables: Collection[str]
    ) -> Plan:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        found = explained(connection, "EXPLAIN (FORMAT JSON)", statement).scalar_one()
        tree = json.loads(found) if isinstance(found, str) else found
        lines = explained(connection, "EXPLAIN (COSTS OFF)", statement).scalars()
        return Plan(set(_indexes(tree)), "\n".join(lines))


def _indexes(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for one in node for name in _indexes(one)]
    if not isinstance(node, dict):
        return []
    own = [str(node["Index Name"])] if "Index Name" in node else []
    return own + [name for one in node.values() for name in _indexes(one)]
