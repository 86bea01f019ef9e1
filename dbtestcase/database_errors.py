"""Errors of databases whose reason is not what a test does, but where it is done."""

from __future__ import annotations

from collections.abc import Iterator
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from .backends import shortage
from .exceptions import BackendError, DBTestCaseError

if TYPE_CHECKING:
    from .aliases import DatabaseOptions
    from .databases import Databases

#: Modules whose engines are ours, and not the application's.
_OURS = ("dbtestcase.backends", "dbtestcase.migrat")


def explain(error: BaseException, case: type, databases: Databases, test: str = "") -> None:
    """Note on ``error``, which fails ``test`` or the set-up of ``case``, what it does not say."""
    for one in _with_causes(error):
        if isinstance(one, DBTestCaseError):
            return
        note = _shortage(one, databases)
        if not note and isinstance(one, DBAPIError):
            note = _explanation(one, case, databases, test or f"the set-up of {case.__qualname__}")
        if note:
            error.add_note(note)
        if note or isinstance(one, DBAPIError):
            return


def refuse_loss(test: str, databases: Databases) -> None:
    """Raise if a connection was lost that ``test``, which is over, had in a sandbox.

    :raises BackendError: it was; names the server and the remedy.
    """
    for alias, database in databases.by_alias.items():
        if database.sandbox.link.is_lost:
            raise BackendError(databases.backends[alias].connection_lost(test))


def _shortage(error: BaseException, databases: Databases) -> str:
    """Return what to say if a database has run out of something; asyncpg's errors are its own."""
    engine = _engine_of(error)
    alias = None if engine is None else databases.alias_of(engine)
    return "" if alias is None else shortage(error, databases.backends[alias])


def _explanation(error: DBAPIError, case: type, databases: Databases, test: str) -> str:
    engine = _engine_of(error)
    if engine is None:
        return ""
    alias = databases.alias_of(engine)
    if alias is None:
        return _NOT_REDIRECTED.format(engine=engine)
    if error.connection_invalidated or databases.by_alias[alias].sandbox.link.is_lost:
        return databases.backends[alias].connection_lost(test)
    said = str(error.orig)
    late = [table.fullname for table in databases.late_tables() if table.name in said]
    if late:
        return _LATE.format(tables=", ".join(sorted(late)))
    if databases.backends[alias].diagnostics.lacks_table(error.orig):
        return _no_tables(case, databases.options[alias])
    return ""


def _no_tables(case: Any, options: DatabaseOptions) -> str:
    makes_others = not case.setUpDatabase.__module__.startswith("dbtestcase.")
    if options.migrations is not None or options.tables() or makes_others:
        return ""
    why = "its metadata is empty" if options.metadata else "it has neither metadata nor migrations"
    return _NO_TABLES.format(place=options.place or f"{case.__qualname__}: ", why=why)


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and those that it was raised because of."""
    known: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in known:
        known.append(one)
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _engine_of(error: BaseException) -> Engine | None:
    """Return the engine that raised ``error``, if it is one of the test or of the application.

    It is found by the methods of SQLAlchemy's that ``error`` has passed through.
    """
    for frame, _ in walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).startswith(_OURS):
            return None
        called: Any = frame.f_locals.get("self")
        if isinstance(called, (Engine, Connection)):
            return called.engine
    return None


_NOT_REDIRECTED = """\
{engine!r}, which raised this, is not redirected: it leads where it leads in production.
  To fix this, either: name it in the option engines, or what makes its sessions in \
session_factories; or, if the application makes it late, call self.redirect_engines(...) with it."""

_LATE = """\
The database has no table for {tables}: metadata did not have it yet when the class was set up.
  To fix this, import the module with these models where the test class is"""

_NO_TABLES = """\
{place}the database has no tables, because {why}.
  To fix this, write for example metadata = Base.metadata, and import the modules of all models"""
