"""Assertions about the rows of tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..aliases import alias_of, targets_by_alias
from ..exceptions import UsageError
from ..rows import Rows
from ..tables import name_in, table_names
from ..wording import counted, limited, suggestion
from .base import BaseAssertions, Block_co, Outcome_co, as_list, checked_count

__unittest = True  # unittest leaves frames of this module out of failures

if TYPE_CHECKING:
    from sqlalchemy.sql import ColumnElement


class RowAssertions(BaseAssertions[Outcome_co, Block_co]):
    """Which rows there are, and how many."""

    def assertDatabaseHas(
        self,
        model_or_table: Any,
        /,
        *conditions: ColumnElement[bool],
        using: str | None = None,
        **values: Any,
    ) -> Outcome_co:
        """Fail unless a row meets all ``conditions`` and has all ``values``.

        ``self.assertDatabaseHas(User, name="bob")``

        :param model_or_table: a mapped class, a ``Table``, or the name of a table.
        :param conditions: SQL expressions, such as ``User.age > 17``.
        :param using: the alias of the database to look into, if not that of the ``databases``
            whose metadata has the table. (Of a column called "using", write a condition.)
        :param values: values of columns, or of attributes of the mapped class.
        :raises UsageError: there is no such table, column or database.
        """

        def check() -> None:
            with self._rows(model_or_table, using, conditions, values) as rows:
                if rows.count() == 0:
                    raise self._no_row(rows)

        return self._dbtestcase_check("assertDatabaseHas", check)

    def assertDatabaseMissing(
        self,
        model_or_table: Any,
        /,
        *conditions: ColumnElement[bool],
        using: str | None = None,
        **values: Any,
    ) -> Outcome_co:
        """Fail if a row meets all ``conditions`` and has all ``values``.

        ``self.assertDatabaseMissing(User, name="bob")``

        Arguments and errors are those of :meth:`assertDatabaseHas`.
        """

        def check() -> None:
            with self._rows(model_or_table, using, conditions, values) as rows:
                count = rows.count()
                if count:
                    raise self.failureException(
                        f"{counted(count)}{rows.with_wanted} in {rows.title}, expected none:"
                        f"{rows.describe()}"
                    )

        return self._dbtestcase_check("assertDatabaseMissing", check)

    def assertDatabaseCount(
        self,
        model_or_table: Any,
        count: int,
        /,
        *conditions: ColumnElement[bool],
        using: str | None = None,
        **values: Any,
    ) -> Outcome_co:
        """Fail unless exactly ``count`` rows meet all ``conditions`` and have all ``values``.

        ``self.assertDatabaseCount(User, 2, active=True)``

        The other arguments and errors are those of :meth:`assertDatabaseHas`.

        :raises UsageError: ``count`` is no number of rows.
        """
        checked_count(count, "rows")

        def check() -> None:
            with self._rows(model_or_table, using, conditions, values) as rows:
                found = rows.count()
                if found != count:
                    there = rows.describe()
                    nearest = rows.nearest() if found < count else ""
                    raise self.failureException(
                        f"{counted(found)}{rows.with_wanted} in {rows.title}, expected {count}"
                        f"{there and ':'}{there}"
                        f"{nearest and '; the nearest others:'}{nearest}{self._unflushed()}"
                    )

        return self._dbtestcase_check("assertDatabaseCount", check)

    def assertDatabaseEmpty(
        self, *models_or_tables: Any, exclude: Iterable[Any] = (), using: str | None = None
    ) -> Outcome_co:
        """Fail if any table has a row, or any of ``models_or_tables`` where some are named.

        ``self.assertDatabaseEmpty(exclude=[Country, "languages"])``

        Where the class has ``migrations``, Alembic's own table counts only if it is named.

        :param models_or_tables: mapped classes, tables or names of tables.
        :param exclude: the same, one or several, that may have rows; a name is that of a table in
            each database.
        :param using: the alias of the one database to look into, instead of all.
        :raises UsageError: there is no such table or database.
        """
        excepted = as_list(exclude)

        def check() -> None:
            databases = self._dbtestcase_databases().options
            lines, known = [], []
            for alias, targets in targets_by_alias(models_or_tables, using, databases).items():
                with self._dbtestcase_connect(alias) as connection:
                    excluded = {
                        name_in(connection, one)
                        for one in excepted
                        if isinstance(one, str) or alias_of(one, using, databases) == alias
                    }
                    names = table_names(connection, databases[alias])
                    known += names
                    for target in targets or names:
                        if name_in(connection, target) not in excluded:
                            rows = Rows(connection, databases, alias, target)
                            lines += _listed(rows) if targets or not rows.are_revisions else []
            self._check_known(excepted, using, known)
            if lines:
                shown = "".join(f"\n  {line}" for line in limited(lines))
                raise self.failureException(f"The database is not empty:{shown}")

        return self._dbtestcase_check("assertDatabaseEmpty", check)

    def _check_known(self, targets: Iterable[Any], using: str | None, known: list[str]) -> None:
        for target in targets:
            if not isinstance(target, str):
                with self._rows(target, using, (), {}) as rows:
                    rows.total()  # raises if there is no such table
            elif target not in known:
                hint = suggestion(target, sorted(known), "there are:")
                raise UsageError(f"there is no table {target!r}; {hint}")


def _listed(rows: Rows) -> list[str]:
    count = rows.count()
    return [f"{rows.title}: {counted(count)}{rows.describe()}"] if count else []
