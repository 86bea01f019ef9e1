"""Assertions about the rows of ORM objects, and about rows that are only marked as deleted."""

from __future__ import annotations

from datetime import date, time
from typing import TYPE_CHECKING, Any

from sqlalchemy import Boolean, Integer, true

from ..exceptions import UsageError
from ..instances import is_instance, primary_key, state_of
from ..tables import table_name
from ..wording import counted
from .base import BaseAssertions, Block_co, Outcome_co

__unittest = True  # unittest leaves frames of this module out of failures

if TYPE_CHECKING:
    from sqlalchemy.sql import ColumnElement

    from ..rows import Rows

#: What soft deletion marks rows with, unless another column is named.
_MARKS = ("deleted_at", "is_deleted")
_TIMES = (date, time)  # and datetime, which is a date


class ModelAssertions(BaseAssertions[Outcome_co, Block_co]):
    """Whether ORM objects have rows, and whether these are soft-deleted."""

    def assertModelExists(self, instance: Any, /, *, using: str | None = None) -> Outcome_co:
        """Fail unless the row of ``instance`` is in the database.

        ``self.assertModelExists(self.alice)``

        It is looked up by its primary key; the session that ``instance`` belongs to is not asked.

        :param instance: an object of a mapped class.
        :param using: as in :meth:`assertDatabaseHas`.
        :raises UsageError: ``instance`` is anything else.
        """
        state = state_of(instance)
        model, key = state.mapper.class_, primary_key(state)

        def check() -> None:
            if key is None:
                raise self.failureException(
                    f"This {model.__name__} has no primary key, so it was never flushed to "
                    f"{table_name(model)}{self._unflushed()}"
                )
            with self._rows(model, using, (), key) as rows:
                if rows.count() == 0:
                    raise self.failureException(
                        f"{model.__name__} with {rows.wanted} is not in {rows.title}, "
                        f"{rows.total()}{self._unflushed()}"
                    )

        return self._dbtestcase_check("assertModelExists", check)

    def assertModelMissing(self, instance: Any, /, *, using: str | None = None) -> Outcome_co:
        """Fail if the row of ``instance`` is in the database. One that never had any is not.

        ``self.assertModelMissing(self.alice)``

        Arguments and errors are those of :meth:`assertModelExists`.
        """
        state = state_of(instance)
        model, key = state.mapper.class_, primary_key(state)

        def check() -> None:
            if key is not None:
                with self._rows(model, using, (), key) as rows:
                    if rows.count():
                        raise self.failureException(
                            f"{model.__name__} with {rows.wanted} is still in {rows.title}:"
                            f"{rows.describe()}{self._unflushed()}"
                        )

        return self._dbtestcase_check("assertModelMissing", check)

    def assertSoftDeleted(
        self,
        target: Any,
        /,
        *conditions: ColumnElement[bool],
        column: str | None = None,
        using: str | None = None,
        **values: Any,
    ) -> Outcome_co:
        """Fail unless a row is there and marked as deleted.

        ``self.assertSoftDeleted(self.alice)`` or ``self.assertSoftDeleted(User, name="alice")``

        :param target: an object of a mapped class, or what :meth:`assertDatabaseHas` takes, with
            its ``conditions`` and ``values``.
        :param column: what marks the row: a time, which is then not NULL, or a boolean. If it is
            not named, it is ``deleted_at`` or ``is_deleted``.
        :param using: as in :meth:`assertDatabaseHas`.
        :raises UsageError: there is no such table, column or database, or the column is neither.
        """
        check = self._marked(target, conditions, column, using, values, wanted=True)
        return self._dbtestcase_check("assertSoftDeleted", check)

    def assertNotSoftDeleted(
        self,
        target: Any,
        /,
        *conditions: ColumnElement[bool],
        column: str | None = None,
        using: str | None = None,
        **values: Any,
    ) -> Outcome_co:
        """Fail unless a row is there and not marked as deleted.

        ``self.assertNotSoftDeleted(self.alice)``

        Arguments and errors are those of :meth:`assertSoftDeleted`.
        """
        check = self._marked(target, conditions, column, using, values, wanted=False)
        return self._dbtestcase_check("assertNotSoftDeleted", check)

    def _marked(
        self,
        target: Any,
        conditions: Any,
        column: str | None,
        using: str | None,
        values: dict[str, Any],
        *,
        wanted: bool,
    ) -> Any:
        if is_instance(target):
            state = state_of(target)
            target, key = state.mapper.class_, primary_key(state)
            if key is None:
                raise UsageError(f"this {target.__name__} has no primary key; flush it first")
            values = {**key, **values}

        def check() -> None:
            with self._rows(target, using, conditions, values) as rows:
                mark = rows.column(*([column] if column else _MARKS))
                if column not in (None, *_MARKS) and not _can_mark(mark):
                    raise _no_mark(rows, column)
                is_marked = _is_marked(mark) if wanted else ~_is_marked(mark)
                found = rows.count()
                if found == 0:
                    raise self._no_row(rows)
                with self._rows(target, using, (*conditions, is_marked), values) as marked:
                    if marked.count() == 0:
                        raise self.failureException(
                            f"{counted(found)}{rows.with_wanted} in {rows.title}, "
                            f"but {'not ' if wanted else ''}soft-deleted, by {mark.key}:"
                            f"{rows.describe()}{self._unflushed()}"
                        )

        return check


def _no_mark(rows: Rows, column: str | None) -> UsageError:
    usual = rows.first_of(_MARKS)
    hint = f"; did you mean {usual!r}?" if usual else ""
    return UsageError(
        f"{column} of {rows.title} is neither a boolean nor a time that may be NULL, so that it "
        f"marks no row as deleted{hint}"
    )


def _can_mark(mark: Any) -> bool:
    """Tell whether a column may say which rows are deleted: of some types nobody knows."""
    if not hasattr(mark, "type"):  # it is a relationship
        return False
    try:
        kind = mark.type.python_type
    except NotImplementedError:
        return True
    if issubclass(kind, int):  # a boolean, where the database has none
        return not getattr(mark, "primary_key", False)
    return issubclass(kind, _TIMES) and getattr(mark, "nullable", True)


def _is_marked(mark: Any) -> Any:
    if isinstance(mark.type, Boolean):
        return mark.is_not(None) & mark.is_(true())
    if isinstance(mark.type, Integer):  # a boolean, where the database has none
        return mark.is_not(None) & (mark != 0)
    return mark.is_not(None)
