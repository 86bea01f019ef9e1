"""Copies of what migrations have built, which takes less time than to apply them again."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from .mysql_catalog import Catalog, Execute, Positions, identifier
from .mysql_definitions import definitions, redefine
from .mysql_tables import refill, restart

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_RESTORING = (
    "SET SESSION foreign_key_checks = 0, sql_mode = 'NO_AUTO_VALUE_ON_ZERO'"
    " /*M!101100 , system_versioning_insert_history = 1 */"
    " /*!80000 , information_schema_stats_expiry = 0 */"  # MySQL tells where AUTO_INCREMENT is now
)
_LOCKING_NOTHING = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"


class CannotCopyError(Exception):
    """Something in a database cannot be copied, or nobody knows whether it can."""


def restoring(connection: Any) -> Execute:
    """Let a driver's ``connection`` put things where they were, and return what executes on it."""

    def execute(sql: str) -> list[Any]:
        with closing(connection.cursor()) as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    connection.autocommit(True)
    execute(_RESTORING)
    return execute


def copy_into(connection: Connection, original: str, positions: Positions | None) -> None:
    """Let the database of ``connection``, an empty one, be what ``original`` is.

    :param positions: of ``original``, when it was built.
    :raises CannotCopyError: that is not possible.
    """
    execute = restoring(connection.connection.dbapi_connection)
    execute(_LOCKING_NOTHING)
    [(name,)] = execute("SELECT DATABASE()")
    if positions is None:
        raise CannotCopyError("who has counted so far in it cannot be told")
    try:
        make_equal(Catalog(name, execute), Catalog(original, execute), positions)
    except Exception as error:
        raise CannotCopyError(str(error)) from error


def make_equal(copy: Catalog, original: Catalog, positions: Positions) -> None:
    """Let ``copy`` be what ``original`` is, whatever is in it now.

    Foreign keys are not checked on their connection.

    :param positions: of ``original``, when it was built: tests that were undone may have counted
        further.
    :raises CannotCopyError: it is not.
    :raises Exception: the server refused a statement.
    """
    if original.versioned:
        raise CannotCopyError("what was in its tables, and when, cannot be copied")
    original.counters, original.sequences = positions
    redefine(copy, original)
    redefined = Catalog(copy.name, copy.execute)
    refill(redefined, original, redefined.filled | original.filled)
    restart(redefined, original, original.counters)
    if all_of(Catalog(copy.name, copy.execute)) != all_of(original):
        raise CannotCopyError("the server does not say the same of it and of its copy")


def settled(connection: Any, name: str) -> Positions | None:
    """Return the positions in the database ``name``, just built; None if a sequence is used up.

    One that was used tells only what the server has in store for it: it is asked, and set to that.

    :param connection: of a driver, which nobody else uses.
    """
    database = Catalog(name, restoring(connection))
    for one in database.sequences:
        sequence = database.quoted(one)
        look = f"SELECT start_value, next_not_cached_value FROM {sequence}"  # noqa: S608
        [(start, stored)] = database.execute(look)
        if stored != start:
            try:
                [(value,)] = database.execute(f"SELECT NEXT VALUE FOR {sequence}")
            except Exception:  # of whichever driver it is
                return None
            database.execute(f"ALTER SEQUENCE {sequence} RESTART WITH {value}")
            database.sequences[one] = value
    return Positions(database.counters, database.sequences)


def all_of(database: Catalog) -> object:
    """Return what the server says of ``database``, the same for one that is equal to it."""
    [(_, created)] = database.execute(f"SHOW CREATE DATABASE {identifier(database.name)}")
    of_itself = created.replace(identifier(database.name), "")
    return (
        of_itself,
        definitions(database),
        database.filled,
        database.counters,
        database.sequences,
    )
