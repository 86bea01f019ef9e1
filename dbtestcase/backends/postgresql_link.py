"""The sandbox's link to PostgreSQL, through each of its drivers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ..connections import SandboxedConnection
from ..sandbox import Sandbox
from ..statements import first_word
from .links import BaseLink, Caller, LoopCaller, SyncCaller
from .postgresql_drivers import DRIVERS
from .postgresql_sandbox import PostgreSQLSandboxedConnection

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

    from ..event_loop import ClassLoop
    from .server import ServerBackend, Target

_WRITES = re.compile(r"\b(INSERT|(?<!FOR )(?<!KEY )UPDATE|DELETE|MERGE)\b", re.IGNORECASE)
_HAS_EFFECT = re.compile(
    r"\bINTO\b|\b(nextval|setval|set_config|pg_(try_)?advisory_\w+|pg_notify|lo_\w+|dblink\w*)\s*\(",
    re.IGNORECASE,
)
_ENDS = re.compile(
    r"(?:^|;)\s*(BEGIN|START\s+TRANSACTION|COMMIT|END|ROLLBACK|ABORT|PREPARE\s+TRANSACTION|SAVEPOINT"
    r"|RELEASE)\b",
    re.IGNORECASE,
)
_ATOMIC = re.compile(r"\bBEGIN\s+ATOMIC\b", re.IGNORECASE)  # the body of a function
_QUOTED = re.compile(r"\$(\w*)\$.*?\$\1\$|'[^']*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_ALTERS = {"CREATE", "ALTER", "DROP", "DO", "CALL", "IMPORT", "SECURITY"}


class Catalog(NamedTuple):
    """What the schema has that matters to the sandbox."""

    functions: re.Pattern[str] | None  # those of the user that may write
    triggers: bool  # or rules
    deferrable: bool
    deferred: str  # constraints, as in SET CONSTRAINTS


_CATALOG = """
SELECT (SELECT array_agg(DISTINCT proname::text) FROM pg_proc
         WHERE provolatile = 'v' AND prorettype <> 'trigger'::regtype
           AND pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
           AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')),
       EXISTS (SELECT FROM pg_trigger WHERE NOT tgisinternal)
         OR EXISTS (SELECT FROM pg_rewrite WHERE ev_type <> '1' AND oid >= 16384),
       EXISTS (SELECT FROM pg_constraint WHERE condeferrable),
       (SELECT string_agg(DISTINCT format('%I.%I', nspname, conname), ', ')
          FROM pg_constraint JOIN pg_namespace n ON n.oid = connamespace WHERE condeferred)
"""


_SEQUENCES = """
SELECT seqrelid::bigint, seqrelid::regclass::text
  FROM pg_sequence JOIN pg_class c ON c.oid = seqrelid
"""
_IN_SCHEMA = " WHERE relnamespace = '{}'::regnamespace"

_RESTART = """
SELECT setval(id::regclass, value, called) FROM (VALUES {values}) AS known (id, value, called)
 WHERE pg_sequence_last_value(id) IS DISTINCT FROM CASE WHEN called THEN value END
"""


class PostgreSQLLink(BaseLink):
    """One real connection, in autocommit mode: the sandbox controls transactions."""

    aborts = True
    in_use = True  # by a test class

    def __init__(
        self,
        connection: Any,
        caller: Caller,
        dialect: Dialect,
        close: Callable[[], None],
        schema: str = "",
    ) -> None:
        super().__init__(connection, caller)
        self._schema = schema  # that holds all there is to it, if one does
        self._driver = DRIVERS[dialect.driver, dialect.is_async]
        self._dbapi: Any = dialect.loaded_dbapi
        self.paramstyle = dialect.paramstyle
        self._close = close
        self._found: Catalog | None = None
        self._altered = False
        self._conceals = False
        self._unseen = self._running = ""  # a statement whose row count may be all to know of it
        self._locks = False  # has a session-level lock been taken, which no rollback gives back?
        self._statements = 0
        connection.autocommit = True

    @property
    def is_lost(self) -> bool:
        return self._driver.is_closed(self.connection)

    def control(self, statements: Sequence[str]) -> None:
        self._driver.control(self.connection, "; ".join(statements))
        if self._altered and "ROLLBACK" in statements[-1]:
            self._found, self._altered = None, statements[-1] != "ROLLBACK"

    def execute(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Return ``method(...)``, of a cursor; to cancel it leaves the connection usable."""
        return self._driver.execute(self.connection, method, *args, **kwargs)

    def note_raw_use(self) -> None:
        """Take note that somebody may work with the driver's connection itself."""

    def text_of(self, sql: Any) -> str:
        if isinstance(sql, bytes):
            return sql.decode()
        return sql if isinstance(sql, str) else str(sql.as_string(self.connection))

    def error(self, message: str) -> Exception:
        error: Exception = self._dbapi.OperationalError(message)
        return error

    def in_failed_transaction(self) -> Exception:
        return self._driver.in_failed_transaction(
            self._dbapi,
            "current transaction is aborted, commands ignored until end of transaction block",
        )

    def was_aborted(self, error: BaseException) -> bool:
        return self._driver.was_aborted(self.connection, error)

    def reads(self, sql: str) -> bool:
        self._locks = self._locks or "advisory" in sql
        self._unseen = self._running = ""
        word = first_word(sql)
        if word in _ALTERS:
            self._found, self._altered = None, True
            return False
        reads = _reads(word, sql)
        if self._found is None and not reads:  # as in each step of a migration
            self._unseen = sql
            return False
        return not self._calls(sql) and reads

    def ends_transaction(self, sql: str) -> bool:
        """Tell whether it is transaction control in words that a stand-in does not know."""
        return _ends(sql)

    def changes(self) -> int:
        """Return more after each statement that may write while its row count says 0."""
        if self._unseen:
            self._running, self._unseen = self._unseen, ""
            return self._statements
        if self._running:
            self._calls(self._running)
            self._running = ""
        if self._found is None or self._found.triggers or self._conceals:
            self._statements += 1
        return self._statements

    def in_transaction(self) -> bool:
        return self._driver.in_transaction(self.connection)

    def defers_constraints(self) -> bool:
        return self._catalog().deferrable

    def check_deferred_constraints(self) -> None:
        """Let PostgreSQL check what it would check at COMMIT, and defer again what was deferred."""
        cursor = self.connection.cursor()
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        if self._catalog().deferred:
            cursor.execute(f"SET CONSTRAINTS {self._catalog().deferred} DEFERRED")
        cursor.close()

    def end_test(self) -> bool:
        if self._locks:
            self._driver.control(self.connection, "SELECT pg_advisory_unlock_all()")
            self._locks = False
        return True

    def sequences(self) -> str:
        """Return the statement that restarts them, empty if there are none."""
        names = self._query(_SEQUENCES + (_IN_SCHEMA.format(self._schema) if self._schema else ""))
        if not names:
            return ""
        look = "SELECT {}, last_value, is_called FROM {}"
        looks = [look.format(oid, name) for oid, name in names]
        values = [
            f"({oid}::oid, {value}::bigint, {called})"
            for oid, value, called in self._query(" UNION ALL ".join(looks))
        ]
        return _RESTART.format(values=", ".join(values))

    def restart_sequences(self, sequences: Any) -> None:
        if sequences:
            self._query(sequences)

    def stand_in(self, sandbox: Sandbox) -> SandboxedConnection:
        return PostgreSQLSandboxedConnection(sandbox)

    def close(self) -> None:
        self.in_use = False
        self._close()

    def _catalog(self) -> Catalog:
        if self._found is None:
            [(functions, triggers, deferrable, deferred)] = self._query(_CATALOG)
            names = "|".join(map(re.escape, functions or ()))
            pattern = re.compile(rf"\b(?:{names})\b", re.IGNORECASE) if names else None
            self._found = Catalog(pattern, triggers, deferrable, deferred or "")
        return self._found

    def _calls(self, sql: str) -> bool:
        """Tell whether ``sql`` calls what may write, and note whether its row count conceals it."""
        functions = self._catalog().functions
        calls = functions is not None and functions.search(sql) is not None
        self._conceals = calls or _conceals(sql)
        return calls

    def _query(self, sql: str) -> list[Any]:
        cursor = self.connection.cursor()
        cursor.execute(sql)
        rows = list(cursor.fetchall())
        cursor.close()
        return rows


def open_link(
    backend: ServerBackend,
    target: Target | None,
    loop: ClassLoop | None,
    kind: type[PostgreSQLLink] = PostgreSQLLink,
) -> Any:
    """Return a link of that ``kind``, closed with the class only if it lives in its event loop."""
    is_async = loop is not None
    caller = SyncCaller() if loop is None else LoopCaller(loop)
    with backend.reaching(target.name if target else backend.url.database):
        connection: Any = caller.call(backend.open, target, is_async=is_async)

    def close() -> None:
        if is_async:
            caller.call(connection.close)

    dialect = backend.source(is_async=is_async).dialect
    schema = target.schemas[0] if target and target.schemas else ""
    return caller.call(kind, connection, caller, dialect, close, schema)


@lru_cache(maxsize=2048)
def _ends(sql: str) -> bool:
    bare = _QUOTED.sub("", sql)
    return _ENDS.search(bare) is not None and _ATOMIC.search(bare) is None


@lru_cache(maxsize=2048)
def _reads(word: str, sql: str) -> bool:
    if ";" in sql.rstrip("; \n\t"):
        return False
    if word not in {"SELECT", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN"}:
        return False
    if word in {"WITH", "EXPLAIN"} and _WRITES.search(sql):
        return False
    return _HAS_EFFECT.search(sql) is None


@lru_cache(maxsize=2048)
def _conceals(sql: str) -> bool:
    """Tell whether the row count of ``sql`` is not that of all it does."""
    return ";" in sql or len(_WRITES.findall(sql)) != 1
