"""Assertions about what is in the database and about the SQL that led there.

They look at the database through a connection of their own: an object that a session has not
flushed is not there yet, and one that is stale in a session does not make them pass. None of
them flushes or commits anything.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .rows import Rows, table_name, table_names
from .schema import metadata_in
from .statements import caller, recording

__unittest = True  # unittest leaves frames of this module out of failures

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.orm import Session
    from sqlalchemy.sql import ColumnElement

    from .statements import Statement

#: What an assertion returns: None, or in the async test case something to await.
Outcome_co = TypeVar("Outcome_co", covariant=True)
Check = Callable[["Connection"], None]


class DatabaseAssertions(Generic[Outcome_co]):
    """The assertions of both test cases; those of the async one have to be awaited."""

    metadata: Any
    failureException: type[Any]

    @abstractmethod
    def _dbtestcase_check(self, name: str, check: Check) -> Outcome_co:
        """Call ``check`` with a connection of its own to the test's database."""

    @abstractmethod
    def _dbtestcase_engines(self) -> Iterable[Engine]:
        """Return all engines that lead to the test's database."""

    @abstractmethod
    def _dbtestcase_session(self) -> Session | None:
        """Return ``self.session``, as a synchronous one, if the test has used it."""

    def assertDatabaseHas(
        self, model_or_table: Any, /, *conditions: ColumnElement[bool], **values: Any
    ) -> Outcome_co:
        """Fail unless a row meets all ``conditions`` and has all ``values``.

        ``self.assertDatabaseHas(User, name="bob")``

        :param model_or_table: a mapped class, a ``Table``, or the name of a table.
        :param conditions: SQL expressions, such as ``User.age > 17``.
        :param values: values of columns, or of attributes of the mapped class.
        :raises UsageError: there is no such table or column.
        """

        def check(connection: Connection) -> None:
            rows = self._rows(connection, model_or_table, conditions, values)
            if rows.count() == 0:
                there = rows.describe(matching=False)
                there = f"; it has:{there}" if there else ", which is empty"
                there += self._unflushed()
                raise self.failureException(
                    f"No row with {rows.wanted or 'anything'} in {rows.table}{there}"
                )

        return self._dbtestcase_check("assertDatabaseHas", check)

    def assertDatabaseMissing(
        self, model_or_table: Any, /, *conditions: ColumnElement[bool], **values: Any
    ) -> Outcome_co:
        """Fail if a row meets all ``conditions`` and has all ``values``.

        ``self.assertDatabaseMissing(User, name="bob")``

        Arguments and errors are those of :meth:`assertDatabaseHas`.
        """

        def check(connection: Connection) -> None:
            rows = self._rows(connection, model_or_table, conditions, values)
            count = rows.count()
            if count:
                with_wanted = f" with {rows.wanted}" if rows.wanted else ""
                there = rows.describe(matching=True)
                raise self.failureException(
                    f"{_rows(count)}{with_wanted} in {rows.table}, expected none:{there}"
                )

        return self._dbtestcase_check("assertDatabaseMissing", check)

    def assertDatabaseCount(
        self, model_or_table: Any, count: int, /, *conditions: ColumnElement[bool], **values: Any
    ) -> Outcome_co:
        """Fail unless exactly ``count`` rows meet all ``conditions`` and have all ``values``.

        ``self.assertDatabaseCount(User, 2, active=True)``

        The other arguments and errors are those of :meth:`assertDatabaseHas`.
        """

        def check(connection: Connection) -> None:
            rows = self._rows(connection, model_or_table, conditions, values)
            found = rows.count()
            if found != count:
                with_wanted = f" with {rows.wanted}" if rows.wanted else ""
                there = rows.describe(matching=True)
                there = f":{there}" if there else ""
                raise self.failureException(
                    f"{_rows(found)}{with_wanted} in {rows.table}, expected {count}{there}"
                    f"{self._unflushed()}"
                )

        return self._dbtestcase_check("assertDatabaseCount", check)

    def assertDatabaseEmpty(
        self, *models_or_tables: Any, exclude: Iterable[Any] = ()
    ) -> Outcome_co:
        """Fail if any table has a row, or any of ``models_or_tables`` where some are named.

        ``self.assertDatabaseEmpty(exclude=[Country, "alembic_version"])``

        :param models_or_tables: mapped classes, tables or names of tables.
        :param exclude: the same, that may have rows.
        :raises UsageError: there is no such table.
        """
        excluded = {table_name(one) for one in exclude}

        def check(connection: Connection) -> None:
            lines = []
            for target in models_or_tables or table_names(connection):
                if table_name(target) not in excluded:
                    rows = self._rows(connection, target, (), {})
                    count = rows.count()
                    if count:
                        there = rows.describe(matching=True)
                        lines.append(f"\n  {rows.table}: {_rows(count)}{there}")
            if lines:
                raise self.failureException(f"The database is not empty:{''.join(lines)}")

        return self._dbtestcase_check("assertDatabaseEmpty", check)

    def assertNumQueries(self, count: int) -> AbstractContextManager[list[Statement]]:
        """Fail unless exactly ``count`` statements are executed inside the ``with`` block.

        ``with self.assertNumQueries(2): ...``, in async tests as well. It counts on the test's
        engine and on all redirected ones. The sandbox's own savepoints and the queries of
        assertions do not count; an ``executemany`` counts once. ``as`` gives the statements.
        """
        return self._num_queries(count)

    def _unflushed(self) -> str:
        session = self._dbtestcase_session()
        pending = [] if session is None else [*session.new, *session.dirty, *session.deleted]
        if not pending:
            return ""
        names = ", ".join(sorted({type(one).__name__ for one in pending}))
        return f"\n  self.session has unflushed changes ({names}): flush or commit it first"

    @contextmanager
    def _num_queries(self, count: int) -> Iterator[list[Statement]]:
        with recording(self._dbtestcase_engines()) as statements:
            yield statements
        if len(statements) != count:
            listed = "".join(f"\n  {n}. {one}" for n, one in enumerate(statements, start=1))
            executed = "1 query" if len(statements) == 1 else f"{len(statements)} queries"
            raise self.failureException(
                f"{executed} executed, {count} expected{listed and ':'}{listed}"
            )

    def _rows(self, connection: Connection, target: Any, conditions: Any, values: Any) -> Rows:
        return Rows(connection, target, conditions, values, metadata_in(self.metadata))


class PendingAssertion:
    """An assertion of the async test case, which does nothing until it is awaited."""

    def __init__(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._run = run
        self.awaited = False
        self.description = f"{name} at {caller()}"

    def __await__(self) -> Generator[Any, None, None]:
        self.awaited = True
        return self._run().__await__()


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
