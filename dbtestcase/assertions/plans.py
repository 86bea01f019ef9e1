"""The assertion that a statement uses an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ClauseElement

from ..aliases import DEFAULT, DatabaseOptions, alias_of
from ..backends.diagnostics import Recorded, sql_of
from ..constraints import in_metadata
from ..exceptions import UsageError
from ..tables import schemas_of
from ..wording import limited, shortened, suggestion
from .base import BaseAssertions, Block_co, Outcome_co

__unittest = True  # unittest leaves frames of this module out of failures

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_SHOWN_CHARACTERS = 500
_SHOWN_LINES = 50


class PlanAssertions(BaseAssertions[Outcome_co, Block_co]):
    """How the database executes statements."""

    def assertIndexUsed(
        self, index: str, statement: Any, /, *, using: str | None = None
    ) -> Outcome_co:
        """Fail unless the database uses ``index`` to execute ``statement``.

        ``self.assertIndexUsed("ix_users_email", select(User).where(User.email == "a@b.c"))``

        It asks for the plan and does not execute the statement. Tables of tests are so small that
        reading them whole is often cheaper, so PostgreSQL is asked as if it could not, and MariaDB,
        for a ``select()``, as if it were told to use that index. SQLite does not count rows.

        :param index: the name of an index, of a unique constraint or of a primary key.
        :param statement: a statement, also of the ORM; SQL as a string; or one of those that
            :meth:`assertNumQueries` gives.
        :param using: the alias of the database, if not that of the tables in the statement,
            or the one that a recorded statement was executed in.
        :raises UsageError: there is no such index or database.
        """
        databases = self._dbtestcase_databases().options
        _check(index, statement)
        is_clause = isinstance(statement, ClauseElement)
        if isinstance(statement, Recorded):
            using = using or statement.database
        alias = alias_of(statement, using, databases) if is_clause or using else DEFAULT

        def check() -> None:
            diagnostics = self._dbtestcase_databases().backends[alias].diagnostics
            keys = [one for one in in_metadata(databases[alias]) if one.kind == "primary key"]
            tables = {key.table for key in keys if key.name == index}
            with self._dbtestcase_connect(alias) as connection:
                try:
                    plan = diagnostics.plan(connection, statement, index, tables)
                except DBAPIError as error:
                    connection.rollback()
                    names = _reflected(connection, databases[alias])
                    if isinstance(statement, str) and statement in names:
                        raise _swapped(index) from error
                    raise
                if index in plan.indexes:
                    return
                known = _reflected(connection, databases[alias])
                if diagnostics.primary_key:
                    known |= {diagnostics.primary_key, *(key.name for key in keys)}
                if index not in known:
                    hint = suggestion(index, sorted(known), "there are:")
                    raise UsageError(f"there is no index {index!r}; {hint}")
                raise self.failureException(
                    f"{index} is not used; the plan:{_indented(plan.text)}"
                    f"\n  of: {_shown(statement, connection)}"
                )

        return self._dbtestcase_check("assertIndexUsed", check)


def _check(index: Any, statement: Any) -> None:
    if not isinstance(index, str):
        raise _swapped(index)
    if not isinstance(statement, (str, Recorded, ClauseElement)):
        raise UsageError(f"{statement!r} is no statement; write select(User).where(...)")


def _swapped(index: Any) -> UsageError:
    what = shortened(" ".join(str(index).split()), _SHOWN_CHARACTERS)
    return UsageError(f"{what} is no index; the name of the index comes first, then the statement")


def _reflected(connection: Connection, options: DatabaseOptions) -> set[str]:
    """Return the names of the indexes in all schemas that ``options`` name."""
    inspector = inspect(connection)
    names: set[str | None] = set()
    for schema in [None, *schemas_of(options, inspector.default_schema_name)]:
        keys = inspector.get_multi_pk_constraint(schema).values()
        names |= {one["name"] for one in keys if one}
        for ones in inspector.get_multi_indexes(schema).values():
            names |= {one["name"] for one in ones}
        for uniques in inspector.get_multi_unique_constraints(schema).values():
            names |= {one["name"] for one in uniques}
    return {str(name) for name in names if name}


def _indented(text: str) -> str:
    lines = [shortened(line, _SHOWN_CHARACTERS) for line in text.splitlines()]
    return "".join(f"\n    {line}" for line in limited(lines, _SHOWN_LINES) or ["(none)"])


def _shown(statement: Any, connection: Connection) -> str:
    return shortened(" ".join(sql_of(statement, connection).split()), _SHOWN_CHARACTERS)
