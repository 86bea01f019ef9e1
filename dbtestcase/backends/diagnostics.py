"""What a database says of the constraints it enforces, of its locks, and of its plans."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

from sqlalchemy import text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement, Executable

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, CursorResult
    from sqlalchemy.engine.interfaces import DBAPIConnection

Kind = Literal["primary key", "unique", "foreign key", "check", "not null", "exclusion"]


class Constraint(NamedTuple):
    """A constraint, with as much of it as is known; ``unique`` may be a primary key."""

    kind: Kind
    name: str = ""
    table: str = ""
    columns: tuple[str, ...] = ()
    schema: str | None = None  # empty for the default one, None where it is not known


class Failed(NamedTuple):
    """The statement that failed, empty where a commit did, and the connection it failed on."""

    sql: str
    parameters: Any
    connection: DBAPIConnection


class Blocked(NamedTuple):
    """A statement that could not have a lock, and what the driver raised."""

    error: Any
    sql: str  # empty where a commit waited
    connection: Any  # that it failed on, as :meth:`Database.connect` returned it


class Holder(NamedTuple):
    """Who may hold a lock that others wait for."""

    connection: Any  # as :meth:`Database.connect` returned it; None if it is not the test's
    sql: str  # what it executed last
    title: str = ""  # what the server calls it


@runtime_checkable
class Recorded(Protocol):
    """A statement that was executed, as the driver received it."""

    sql: str
    parameters: Any
    database: str


class Shortage(NamedTuple):
    """What there is too little of, and what to do about it."""

    what: str
    remedy: str


class Plan(NamedTuple):
    """How a database is going to execute a statement."""

    indexes: set[str]
    text: str


class Diagnostics(ABC):
    """What one kind of database is asked about errors and statements."""

    #: How long a statement waits for a lock, and what sets that for a connection.
    lock_limit: ClassVar[str]

    #: What it calls the primary key of every table, whatever name it was given.
    primary_key: ClassVar[str | None] = None

    @abstractmethod
    def violated(self, error: Any, failed: Failed | None) -> list[Constraint]:
        """Return the constraints that the driver's ``error`` is about, empty if it is about none.

        :param failed: the statement, if it has just failed on a connection that is as it was then.
        """

    @abstractmethod
    def lacks_table(self, error: Any) -> bool:
        """Tell whether the driver's ``error`` says that there is no such table."""

    def shortage(self, error: Any) -> Shortage | None:
        """Return what the driver's ``error`` says that there is none left of, if it is that."""
        return None

    @abstractmethod
    def is_blocked(self, error: Any) -> bool:
        """Tell whether the driver's ``error`` says that a lock could not be had."""

    @abstractmethod
    def holders(
        self, blocked: Blocked, others: Collection[Any], ask: Callable[[str], Sequence[Any]]
    ) -> list[Holder]:
        """Return who holds, most likely, the lock that a statement could not have.

        :param others: the connections of the test beside that of the statement.
        :param ask: executes a query on a connection of its own and returns the rows.
        """

    @abstractmethod
    def plan(
        self, connection: Connection, statement: Any, index: str, tables: Collection[str]
    ) -> Plan:
        """Return how ``statement`` is executed, were there rows enough for an index to be worth it.

        :param connection: is rolled back afterwards.
        :param statement: as for :func:`explained`.
        :param index: the one that is hoped for.
        :param tables: those whose primary key the metadata calls ``index``.
        """


def explained(connection: Connection, prefix: str, statement: Any) -> CursorResult[Any]:
    """Return what the database answers to ``prefix``, such as EXPLAIN, and ``statement``.

    :param statement: SQLAlchemy's, text, or one that was recorded.
    """
    if isinstance(statement, Recorded):
        return connection.exec_driver_sql(f"{prefix} {statement.sql}", statement.parameters or None)
    return connection.execute(Explain(prefix, statement))


def sql_of(statement: Any, connection: Connection) -> str:
    """Return the SQL of ``statement``, which is as for :func:`explained`."""
    if isinstance(statement, ClauseElement):
        statement = statement.compile(dialect=connection.dialect)
    return str(getattr(statement, "sql", statement))


def is_called(table: str, name: str, sql: str) -> bool:
    """Tell whether ``table`` is what ``sql`` calls ``name``: its own name or an alias."""
    pattern = r"""(?<!\w){}["`\]]?\s+(?:AS\s+)?["`\[]?{}(?!\w)"""
    alias = pattern.format(re.escape(table), re.escape(name))
    return table == name or re.search(alias, sql, re.IGNORECASE) is not None


class Explain(Executable, ClauseElement):
    """``prefix`` and a statement; its result is what the database makes of that."""

    inherit_cache = False

    def __init__(self, prefix: str, statement: Any) -> None:
        self.prefix = prefix
        self.statement = text(statement) if isinstance(statement, str) else statement


@compiles(Explain)
def _compile(element: Explain, compiler: Any, **kwargs: Any) -> str:
    sql = compiler.process(element.statement, **kwargs)
    compiler.isinsert = compiler.isupdate = compiler.isdelete = False  # the result is a plan
    return f"{element.prefix} {sql}"
