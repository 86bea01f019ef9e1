"""What tests have committed in a PostgreSQL database, carried over into a copy of its original.

Nobody can clone a database that others are connected to. But its triggers have noted which tables
were written to, so that a clone of what it was made from needs only the rows of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..exceptions import BackendError

#: Executes SQL with parameters, in autocommit mode, and returns the rows, if any.
Query = Callable[..., list[Any]]

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = '1s'"
_ALTERED = """
SELECT EXISTS (SELECT FROM dbtestcase.dirtied WHERE relation = 0)
    OR EXISTS (SELECT FROM dbtestcase.catalog WHERE digest <> dbtestcase.digest())"""
_TABLES = """
SELECT name, format('SELECT array_agg(one)::text FROM (SELECT %s FROM %s) one', columns, alone)
  FROM dbtestcase.tables WHERE relation IN (SELECT relation FROM dbtestcase.dirtied)"""
_SEQUENCES = """
SELECT format('SELECT last_value, is_called, %L FROM %s', relation::regclass, relation::regclass)
  FROM dbtestcase.sequences"""
_NOTE_FILLED = "UPDATE dbtestcase.tables SET filled = %s WHERE name = %s RETURNING copy"
_NOTE_WRITTEN = (
    "INSERT INTO dbtestcase.dirtied SELECT relation FROM dbtestcase.tables WHERE name = %s"
)
_NOTE_SEQUENCE = (
    "UPDATE dbtestcase.sequences SET value = %s, called = %s WHERE relation = %s::regclass"
)
_FINISH = "DROP SCHEMA dbtestcase CASCADE"


class Changed(NamedTuple):
    """What is not as it was in the original."""

    #: The name of each table, and the array of its rows as text, None if it has none.
    tables: list[tuple[str, str | None]]

    #: The value of each sequence, whether it has been used, and its name.
    sequences: list[tuple[int, bool, str]]


def read(query: Query) -> Changed:
    """Return what is committed now, at one moment, of what tests have changed.

    :param query: of a connection to a database that tracks changes.
    :raises BackendError: the schema was changed, too.
    """
    query(_BEGIN)
    try:
        if query(_ALTERED) == [(True,)]:
            raise BackendError("the test has changed the schema")
        tables = [(name, query(select)[0][0]) for name, select in query(_TABLES)]
        sequences = [query(select)[0] for (select,) in query(_SEQUENCES)]
        return Changed(tables, sequences)
    finally:
        query("ROLLBACK")


def write(changed: Changed, query: Query) -> None:
    """Let a copy of the original contain what was ``changed``, and track changes no longer.

    :param query: of a connection to the copy, which tracks changes: what it would restore is
        replaced, and restored.
    :raises BackendError: a constraint does not hold for all rows.
    """
    for name, rows in changed.tables:
        [(copy,)] = query(_NOTE_FILLED, rows is not None, name)
        query(f"DELETE FROM {copy}")  # noqa: S608
        query(f"INSERT INTO {copy} SELECT * FROM unnest(%s::{copy}[])", rows)  # noqa: S608
        query(_NOTE_WRITTEN, name)
    for sequence in changed.sequences:
        query(_NOTE_SEQUENCE, *sequence)
    if query("SELECT dbtestcase.restore(true)") != [(True,)]:
        raise BackendError("not all of its rows meet its constraints")
    query(_FINISH)
