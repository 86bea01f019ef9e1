"""How a database is made to contain what another one, of the same schema, contains."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .mysql_catalog import Catalog, identifier
from .mysql_definitions import without_triggers


def refill(copy: Catalog, original: Catalog, tables: Iterable[str]) -> None:
    """Let ``tables`` of ``copy`` contain what they contain in ``original``.

    Foreign keys are not checked on the connection of ``copy``.
    """
    tables = sorted(tables)
    disturbed = [table for table in tables if table in original.filled or table in copy.versioned]
    with without_triggers(copy, disturbed):
        for table in tables:
            _empty(copy, table)
            if table in original.filled:
                columns = copy.columns[table] + copy.versioned.get(table, [])
                names = ", ".join(map(identifier, columns))
                copy.execute(
                    f"INSERT INTO {copy.quoted(table)} ({names})"  # noqa: S608
                    f" SELECT {names} FROM {original.all_of(table)}"
                )


def _empty(database: Catalog, table: str) -> None:
    name = database.quoted(table)
    if table in database.versioned:  # which cannot be truncated
        database.execute(f"DELETE FROM {name}")  # noqa: S608
        database.execute(f"DELETE HISTORY FROM {name}")
    else:
        database.execute(f"TRUNCATE TABLE {name}")


def restart(copy: Catalog, original: Catalog, tables: Collection[str]) -> None:
    """Let AUTO_INCREMENT of ``tables``, and all sequences, go on as in ``original``."""
    now = Catalog(copy.name, copy.execute)
    for table, value in now.counters_of(tables).items():
        wanted = original.counters[table]
        if wanted != value:
            copy.execute(f"ALTER TABLE {copy.quoted(table)} AUTO_INCREMENT = {wanted}")
    for name, value in original.sequences.items():
        if now.sequences.get(name, value) != value:
            copy.execute(f"ALTER SEQUENCE {copy.quoted(name)} RESTART WITH {value}")
