"""What SQL says and who said it: classifying statements, and finding the line they come from."""

from __future__ import annotations

import inspect
import re
import sys
from functools import lru_cache
from typing import Any, Literal, NamedTuple

#: Execution option on statements that dbtestcase runs for itself; they are never recorded.
UNRECORDED = {"dbtestcase_unrecorded": True}

_SKIPPED = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_NAME = r"""["'`\[]?(?P<{}>[^\s;"'`\[\]]+)["'`\]]?"""
_CONTROL = (
    _SKIPPED
    + r"""(?:
      (?P<begin>(?:BEGIN|START)(?:[\s,]+(?:DEFERRED|IMMEDIATE|EXCLUSIVE|TRANSACTION|WORK
        |ISOLATION\s+LEVEL\s+(?:SERIALIZABLE|REPEATABLE\s+READ|READ\s+(?:UN)?COMMITTED)
        |READ\s+(?:ONLY|WRITE)|(?:NOT\s+)?DEFERRABLE))*)
    | (?P<commit>(?:COMMIT|END)(?:\s+(?:TRANSACTION|WORK))?)
    | ROLLBACK(?:\s+(?:TRANSACTION|WORK))?\s+TO(?:\s+SAVEPOINT)?\s+"""
    + _NAME.format("rollback_to")
    + r"""
    | (?P<rollback>ROLLBACK(?:\s+(?:TRANSACTION|WORK))?)
    | SAVEPOINT\s+"""
    + _NAME.format("savepoint")
    + r"""
    | RELEASE(?:\s+SAVEPOINT)?\s+"""
    + _NAME.format("release")
    + ")(?:"
    + _SKIPPED
    + ";)*"
    + _SKIPPED
)

Verb = Literal["begin", "commit", "rollback", "savepoint", "release", "rollback_to"]


class TransactionControl(NamedTuple):
    """A statement that begins or ends a transaction or savepoint, by name if it has one."""

    verb: Verb
    name: str


@lru_cache(maxsize=2048)
def transaction_control(sql: str) -> TransactionControl | None:
    """Return what ``sql`` does to the transaction, or None if it is any other statement."""
    match = re.fullmatch(_CONTROL, sql, re.IGNORECASE | re.VERBOSE | re.DOTALL)
    if match is None:
        return None
    verb: Any = match.lastgroup
    return TransactionControl(verb, match[verb])


def first_word(sql: str) -> str:
    """Return the first keyword of ``sql``, upper-cased, comments skipped."""
    match = re.match(_SKIPPED + r"(\w+)", sql, re.DOTALL)
    return match[1].upper() if match else ""


_DATA_WORDS = {
    *("INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "COPY", "LOAD"),
    *("CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE"),
}
_DATA_IN_QUERY = re.compile(
    r"\b(?:(?:INSERT|MERGE|REPLACE)\s+INTO|DELETE\s+FROM|UPDATE\s+\S+\s+SET)\b", re.IGNORECASE
)


@lru_cache(maxsize=2048)
def changes_data(sql: str) -> bool:
    """Tell whether ``sql`` is certainly meant to change rows or tables, as SET is not."""
    word = first_word(sql)
    return word in _DATA_WORDS or (word == "WITH" and _DATA_IN_QUERY.search(sql) is not None)


#: Packages whose frames are never what a person wants to see: those between code that uses a
#: database and the database.
_LIBRARIES = sys.stdlib_module_names | {
    *("dbtestcase", "sqlalchemy", "greenlet", "alembic"),
    *("sqlmodel", "flask_sqlalchemy", "flask_sqlalchemy_lite", "factory", "polyfactory"),
    *("aiosqlite", "psycopg", "psycopg2", "asyncpg"),
    *("pymysql", "MySQLdb", "asyncmy", "aiomysql"),
}


def caller() -> str:
    """Return ``file:line`` of the innermost frame that belongs to no library.

    The stack goes on in the coroutines that SQLAlchemy's greenlets serve.
    """
    import greenlet

    frame = inspect.currentframe()
    current = greenlet.getcurrent()
    while True:
        while frame is not None:
            filename = frame.f_code.co_filename
            is_library = _is_library.get(filename)
            if is_library is None:
                is_library = _note_library(filename, frame.f_globals.get("__name__", ""))
            if not is_library:
                return f"{filename}:{frame.f_lineno}"
            frame = frame.f_back
        if current.parent is None:
            return "an unknown line"
        current = current.parent
        frame = current.gr_frame


_is_library: dict[str, bool] = {}  # by file, as it is asked of many frames for each statement


def _note_library(filename: str, module: str) -> bool:
    generated = filename.startswith("<")  # as SQLAlchemy generates some
    _is_library[filename] = generated or module.partition(".")[0] in _LIBRARIES
    return _is_library[filename]
