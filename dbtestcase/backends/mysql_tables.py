"""How a database is made to contain what another one, of the same schema, contains."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress

from .mysql_catalog import Catalog, identifier
from .mysql_definitions import without_triggers

_MANY = 1000  # rows, which TRUNCATE takes less time for than DELETE


def refill(copy: Catalog, original: Catalog, tables: Iterable[str]) -> set[str]:
    """Let ``tables`` of ``copy`` contain what they contain in ``original``.

    Return those of which AUTO_INCREMENT may go on elsewhere than in ``original``.

    Foreign keys are not checked on the connection of ``copy``.
    """
    tables = sorted(tables)
    deleted = _to_delete(copy, original, tables)
    filled = [table for table in tables if table in original.filled]
    with without_triggers(copy, {*filled, *(copy.versioned.keys() & tables)}):
        for table in tables:
            if table not in deleted:
                _empty(copy, table)
        changes = [(table, f"DELETE FROM {copy.quoted(table)}") for table in deleted]  # noqa: S608
        changes += [(table, _insertion(copy, original, table)) for table in filled]
        _in_one_transaction(copy, changes)
    later = {table for table in tables if original.counters[table] != 1}
    return later.union(filled, copy.versioned.keys() & tables)


def _to_delete(copy: Catalog, original: Catalog, tables: Collection[str]) -> list[str]:
    """Return those of ``tables`` that DELETE empties as well as TRUNCATE, which takes long.

    What has no trigger that would fire, not too many rows, and not used AUTO_INCREMENT up.
    """
    others = {trigger.table for trigger in copy.triggers} | copy.versioned.keys()
    return [
        table
        for table, size in copy.sizes_of([one for one in tables if one not in others]).items()
        if size.counter <= original.counters[table] and size.rows < _MANY
    ]


def _empty(database: Catalog, table: str) -> None:
    name = database.quoted(table)
    if table in database.versioned:  # which cannot be truncated
        database.execute(f"DELETE FROM {name}")  # noqa: S608
        database.execute(f"DELETE HISTORY FROM {name}")
    else:
        database.execute(f"TRUNCATE TABLE {name}")


def _insertion(copy: Catalog, original: Catalog, table: str) -> str:
    names = ", ".join(map(identifier, copy.columns[table] + copy.versioned.get(table, [])))
    return (
        f"INSERT INTO {copy.quoted(table)} ({names})"  # noqa: S608
        f" SELECT {names} FROM {original.all_of(table)}"
    )


def _in_one_transaction(database: Catalog, changes: list[tuple[str, str]]) -> None:
    """Execute statements on tables so that the server waits for its disk once.

    Those on tables that know no transactions come before: MySQL refuses both in one, if its
    transactions have global names.
    """
    if len(changes) > 1:
        alone = [sql for table, sql in changes if table in database.without_transactions]
        together = [sql for table, sql in changes if table not in database.without_transactions]
        statements = [*alone, "START TRANSACTION", *together, "COMMIT"]
    else:
        statements = [sql for _, sql in changes]
    try:
        for statement in statements:
            database.execute(statement)
    except Exception:
        with suppress(Exception):  # the connection is gone
            database.execute("ROLLBACK")  # or else it keeps whoever drops the database waiting
        raise


def restart(copy: Catalog, original: Catalog, tables: Collection[str]) -> None:
    """Let AUTO_INCREMENT of ``tables``, and all sequences, go on as in ``original``."""
    now = Catalog(copy.name, copy.execute)
    for table, size in now.sizes_of(tables).items():
        wanted = original.counters[table]
        if wanted != size.counter:
            copy.execute(f"ALTER TABLE {copy.quoted(table)} AUTO_INCREMENT = {wanted}")
    for name, value in original.sequences.items():
        if now.sequences.get(name, value) != value:
            copy.execute(f"ALTER SEQUENCE {copy.quoted(name)} RESTART WITH {value}")
