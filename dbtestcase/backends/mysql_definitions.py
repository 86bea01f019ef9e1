"""The statements that create what a database consists of, and how another is made like it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .mysql_catalog import Catalog, identifier

_OBJECTS = """
SELECT CASE table_type WHEN 'VIEW' THEN 'VIEW' WHEN 'SEQUENCE' THEN 'SEQUENCE' ELSE 'TABLE' END,
 table_name FROM information_schema.tables WHERE table_schema = '{0}'
"""
_ROUTINES = """
SELECT routine_type, routine_name FROM information_schema.routines WHERE routine_schema = '{0}'
"""
_EVENTS = "SELECT 'EVENT', event_name FROM information_schema.events WHERE event_schema = '{0}'"
_ORDER = {kind: at for at, kind in enumerate(["SEQUENCE", "TABLE", "PACKAGE", "FUNCTION"])}
_COUNTER = re.compile(r"(\n\) ENGINE=\w+) AUTO_INCREMENT=\d+")


class Definition(NamedTuple):
    """What creates the ``kind`` of thing that is called ``name``, under ``sql_mode`` if given.

    ``session`` is what else it was created under: character sets, a time zone.
    """

    kind: str
    name: str
    sql: str
    sql_mode: str | None = None
    session: tuple[str, ...] = ()


def redefine(copy: Catalog, original: Catalog) -> None:
    """Let ``copy`` consist of what ``original`` does; the rows of tables that differ are lost."""
    mine, theirs = definitions(copy), definitions(original)
    if mine == theirs:
        return
    _drop(copy, (one for one in mine if one.kind != "TABLE" or one not in theirs))
    _create(copy, (one for one in theirs if one.kind != "TABLE" or one not in mine))


@contextmanager
def without_triggers(database: Catalog, tables: Iterable[str]) -> Iterator[None]:
    """Drop the triggers of ``tables``, which would fire, and create them again."""
    names = [trigger.name for trigger in database.triggers if trigger.table in tables]
    triggers = [_definition(database, "TRIGGER", name) for name in names]
    _drop(database, triggers)
    yield
    _create(database, triggers)


def definitions(database: Catalog) -> list[Definition]:
    """Return all definitions in an order in which they can be created."""
    database.execute(f"USE {identifier(database.name)}")  # whose name views then leave out
    found = [
        tuple(row)
        for query in (_OBJECTS, _ROUTINES, _EVENTS)
        for row in database.execute(query.format(database.name))
    ]
    found += [("TRIGGER", trigger.name) for trigger in database.triggers]
    unsorted = [_definition(database, *row) for row in found]
    return sorted(unsorted, key=lambda one: _ORDER.get(one.kind, len(_ORDER)))


def _definition(database: Catalog, kind: str, name: str) -> Definition:
    [row] = database.execute(f"SHOW CREATE {kind} {database.quoted(name)}")
    if kind in {"TABLE", "VIEW", "SEQUENCE"}:
        sql, sql_mode, session = _COUNTER.sub(r"\1", row[1]), None, row[2:]
    elif kind == "EVENT":
        sql, sql_mode, session = row[3], row[1], (row[2], *row[4:7])
    else:
        sql, sql_mode, session = row[2], row[1], row[3:6]
    sql = sql.replace(f"{identifier(database.name)}.", "")
    return Definition(kind, name, sql, sql_mode, tuple(session))


def _drop(database: Catalog, definitions: Iterable[Definition]) -> None:
    for kind, name, *_ in definitions:
        database.execute(f"DROP {kind} IF EXISTS {database.quoted(name)}")


def _create(database: Catalog, definitions: Iterable[Definition]) -> None:
    pending = list(definitions)
    if not pending:
        return
    [(usual,)] = database.execute("SELECT @@sql_mode")
    database.execute(f"USE {identifier(database.name)}")
    while pending:
        failed = {one: error for one in pending if (error := _error(database, one, usual))}
        if len(failed) == len(pending):
            raise failed[pending[0]]
        pending = list(failed)  # views, of others that are there by now
    database.execute(f"SET SESSION sql_mode = '{usual}'")


def _error(database: Catalog, one: Definition, usual: str) -> Exception | None:
    """Create what ``one`` says, or return why that is not possible."""
    database.execute(f"SET SESSION sql_mode = '{usual if one.sql_mode is None else one.sql_mode}'")
    try:
        database.execute(one.sql)
    except Exception as error:  # of whichever driver it is
        return error
    return None
