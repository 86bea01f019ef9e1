"""What is in the databases of a test now, and keeping them: for a test that has failed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .aliases import DEFAULT
from .observation import observe
from .statements import UNRECORDED

if TYPE_CHECKING:
    from .backends import Database, Kept
    from .class_database import ClassDatabase
    from .databases import Databases
    from .observation import Observation


def observe_all(databases: Databases, isolation: str) -> dict[str, Observation]:
    """Return what is in each of them, by alias, as connections under ``isolation`` see it."""
    return {alias: _observe(databases, alias, isolation) for alias in databases.options}


def keep_all(databases: Databases, name: str, isolation: str) -> list[Kept]:
    """Keep each of them as it is now; ``name`` names copies."""
    return [
        _keep(database, name if alias == DEFAULT else f"{name}.{alias}", isolation)
        for alias, database in databases.by_alias.items()
    ]


def _keep(database: ClassDatabase, name: str, isolation: str) -> Kept:
    working = database.moved or database.copies.get(isolation)
    if working is None:
        return database.beneath_sandbox.keep(name, database.sandbox.commit_for_good)
    left_out = len(database.uncommitted())
    try:
        snapshot = _snapshot(database, working)
    except Exception as error:  # of whichever driver it is
        why = str(error).strip().partition("\n")[0]
        return working.keep(name, _nothing)._replace(goes_on=why)
    kept = snapshot.keep(name, _nothing)
    if snapshot is not working:
        snapshot.drop()
    return kept._replace(left_out=left_out)


def _snapshot(database: ClassDatabase, working: Database) -> Database:
    if working is database.moved:
        return database.backend.snapshot(working, working)
    return database.of_committed(partial(database.backend.snapshot, working))


def _nothing() -> None:
    """Commit nothing: it is not in the sandbox."""


def _observe(databases: Databases, alias: str, isolation: str) -> Observation:
    engine = databases.given[alias]
    with getattr(engine, "sync_engine", engine).connect() as connection:
        unrecorded = connection.execution_options(**UNRECORDED)
        if isolation != "transaction":  # else there is nobody to wait for
            for statement in databases.backends[alias].impatience:
                unrecorded.exec_driver_sql(statement)
        return observe(unrecorded, databases.options[alias].tables())
