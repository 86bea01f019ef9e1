"""What is in the databases of a test now, and keeping them: for a test that has failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .aliases import DEFAULT
from .observation import observe
from .statements import UNRECORDED

if TYPE_CHECKING:
    from .backends import Kept
    from .databases import Databases
    from .observation import Observation


def observe_all(databases: Databases, isolation: str) -> dict[str, Observation]:
    """Return what is in each of them, by alias, as connections under ``isolation`` see it."""
    return {alias: _observe(databases, alias, isolation) for alias in databases.options}


def keep_all(databases: Databases, name: str, isolation: str) -> list[Kept]:
    """Keep each of them as it is now; ``name`` names copies."""
    return [
        database.keep(name if alias == DEFAULT else f"{name}.{alias}", isolation)
        for alias, database in databases.by_alias.items()
    ]


def _observe(databases: Databases, alias: str, isolation: str) -> Observation:
    engine = databases.given[alias]
    with getattr(engine, "sync_engine", engine).connect() as connection:
        unrecorded = connection.execution_options(**UNRECORDED)
        if isolation != "transaction":  # else there is nobody to wait for
            for statement in databases.backends[alias].impatience:
                unrecorded.exec_driver_sql(statement)
        return observe(unrecorded, databases.options[alias].tables())
