"""What a database says of the constraints it enforces and of the plans it makes."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection
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


class Failed(NamedTuple):
    """The statement that failed, empty where a commit did, and the connection it failed on."""

    sql: str
    parameters: Any
    connection: DBAPIConnection


@runtime_checkable
class Recorded(Protocol):
    """A statement that was executed, as the driver received it."""

    sql: str
    parameters: Any
    database: str


class Plan(NamedTuple):
    """How a database is going to execute a statement."""

    indexes: set[str]
    text: str


class Diagnostics(ABC):
    """What assertions ask of one kind of database."""

    #: What it calls the primary key of every table, whatever name it was given.
    primary_key: ClassVar[str | None] = None

    @abstractmethod
    def violated(self, error: Any, failed: Failed | None) -> list[Constraint]:
        """Return the constraints that the driver's ``error`` is about, empty if it is about none.

        :param failed: the statement, if it has just failed on a connection that is as it was then.
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
