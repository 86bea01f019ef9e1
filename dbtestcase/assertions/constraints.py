"""The assertion that a block violates a constraint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError, ResourceClosedError
from sqlalchemy.sql import ColumnElement

from ..backends.diagnostics import Constraint, Failed
from ..constraints import all_names, in_database, in_metadata, is_called, names_of
from ..exceptions import UsageError
from ..recording import Listeners, own_savepoints
from ..wording import suggestion
from .base import BaseAssertions, Block_co, Outcome_co

__unittest = True  # unittest leaves frames of this module out of failures

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.orm import Session


class ConstraintAssertions(BaseAssertions[Outcome_co, Block_co]):
    """Which constraint a block violates."""

    def assertConstraintViolated(self, name: str, /) -> Block_co:
        """Fail unless the ``with`` block ends with an error for the constraint called ``name``.

        ``with self.assertConstraintViolated("uq_users_email"): ...``; ``async with`` in async tests

        The test goes on afterwards: what the block did through ``self.session``, the sessions of
        ``session_of()`` and ``self.connection`` is rolled back to a savepoint. To set that, a
        session flushes what is pending before the block begins.

        :param name: that of a unique, foreign key, check or exclusion constraint, a primary key,
            or a unique index, in the database or in the metadata. Also ``"users.email"``, for any
            constraint on that column, NOT NULL among them, or ``"users.first, users.last"``.
            A schema can come first, as in ``"archive.users.email"``; without one it is the default
            schema, or, if that has no such constraint, any that the metadata names.
        :raises UsageError: there is no such constraint.
        """
        block = self._constraint_violated(_checked(name))
        return self._dbtestcase_block("assertConstraintViolated", block)

    @contextmanager
    def _constraint_violated(self, name: str) -> Iterator[None]:
        violated: dict[BaseException, tuple[str, list[Constraint]]] = {}
        try:
            with ExitStack() as stack:
                opened = self._opened()
                stack.callback(self._undo_new, opened)
                for one in opened:
                    stack.enter_context(_undone(one))
                stack.enter_context(self._examining(violated))
                yield
                unflushed = self._unflushed()
        except Exception as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            alias, constraints = violated.get(cause) or self._examine(cause)  # type: ignore[arg-type]
            if not constraints:
                self._explain(error, violated)
                raise
            self._compare(name, alias, constraints, error)
        else:
            self._check_exists(name)
            raise self.failureException(f"No constraint was violated, expected {name}{unflushed}")
        finally:
            violated.clear()  # each error knows this frame

    def _undo_new(self, before: list[Any]) -> None:
        for one in self._opened():
            if one not in before:
                one.rollback()

    def _examining(
        self, violated: dict[BaseException, tuple[str, list[Constraint]]]
    ) -> AbstractContextManager[None]:
        """Ask about each error when it happens, which later could not be told so well."""
        databases = self._dbtestcase_databases()

        def examiner(alias: str) -> Listeners:
            diagnostics = databases.backends[alias].diagnostics

            def examine(context: ExceptionContext) -> None:
                error, connection = context.original_exception, context.connection
                if connection is not None and not context.is_disconnect and error not in violated:
                    opened: Any = connection.connection.dbapi_connection
                    failed = Failed(context.statement or "", context.parameters, opened)
                    violated[error] = (alias, diagnostics.violated(error, failed))

            return {"handle_error": examine}

        return databases.listening(examiner)

    def _examine(self, error: BaseException) -> tuple[str, list[Constraint]]:
        """Ask about an error that did not pass through SQLAlchemy."""
        for alias, backend in self._dbtestcase_databases().backends.items():
            constraints = backend.diagnostics.violated(error, None)
            if constraints:
                return alias, constraints
        return "", []

    def _explain(
        self, error: BaseException, violated: dict[BaseException, tuple[str, list[Constraint]]]
    ) -> None:
        """Note on ``error`` that it was raised because of a violation, if it was."""
        cause = error.__cause__ or error.__context__
        while cause is not None:
            alias, constraints = violated.get(getattr(cause, "orig", cause), ("", []))
            if constraints:
                seen, known = self._seen(alias, constraints)
                names = [(*names_of(one, known), "a constraint")[0] for one in seen]
                kind = type(error).__name__
                error.add_note(_WRAPPED.format(names=" and ".join(names), kind=kind))
                return
            cause = cause.__cause__ or cause.__context__

    def _compare(
        self, name: str, alias: str, constraints: list[Constraint], error: Exception
    ) -> None:
        seen, known = self._seen(alias, constraints)
        short = self._without_default_schema(alias, name)
        if any(is_called(one, short, known) for one in seen if not one.schema):
            return
        with self._dbtestcase_connect(alias) as connection:
            known += in_database(connection, self._dbtestcase_databases().options[alias])
        if not any(is_called(one, short, known) for one in seen):
            self._check_exists(name)
            written = " and ".join(", also called ".join(names_of(one, known)) for one in seen)
            raise self.failureException(
                f"Another constraint was violated, expected {name}:\n"
                f"  {written or 'one without a name'}\n"
                f"  {getattr(error, 'orig', error)}"
            ) from error

    def _seen(
        self, alias: str, constraints: list[Constraint]
    ) -> tuple[list[Constraint], list[Constraint]]:
        """Return ``constraints`` with no name for the default schema, and those of the metadata."""
        default = self._default_schema(alias)
        seen = [one._replace(schema="") if one.schema == default else one for one in constraints]
        return seen, in_metadata(self._dbtestcase_databases().options[alias], default)

    def _default_schema(self, alias: str) -> str:
        with self._dbtestcase_connect(alias) as connection:
            return connection.dialect.default_schema_name or ""

    def _without_default_schema(self, alias: str, name: str) -> str:
        """Return ``name`` as it is written without the default schema, columns and all."""
        default = self._default_schema(alias)
        return ", ".join(one.removeprefix(f"{default}.") for one in name.split(", "))

    def _check_exists(self, name: str) -> None:
        known: list[str] = []
        for alias, options in self._dbtestcase_databases().options.items():
            named = in_metadata(options, self._default_schema(alias))
            with self._dbtestcase_connect(alias) as connection:
                known += all_names([*in_database(connection, options), *named])
            if self._without_default_schema(alias, name) in known:
                return
        hint = suggestion(name, known, "there are:")
        raise UsageError(f"there is no constraint {name!r}; {hint}")


def _checked(name: Any) -> str:
    if isinstance(name, str):
        return name
    column = getattr(name, "expression", name)
    example = str(column) if isinstance(column, ColumnElement) else "uq_users_email"
    raise UsageError(f'{name} is no name of a constraint; write for example "{example}"')


@contextmanager
def _undone(one: Any) -> Iterator[None]:
    """Undo what ``one``, a session or connection, does inside the block."""
    began = one.in_transaction()
    with own_savepoints():
        nested = one.begin_nested() if began or getattr(one, "autobegin", False) else None
        if nested is not None and hasattr(one, "get_bind"):  # a session sets it when it has to
            one.connection()
    try:
        yield
    finally:
        with own_savepoints():
            _undo(one, nested, began=began)


def _undo(one: Any, nested: Any, *, began: bool) -> None:
    """Roll ``one`` back to where it was ``nested``.

    :param began: it was in a transaction before.
    """
    try:
        (one if nested is None else nested).rollback()
    except ResourceClosedError:  # the block has itself ended the transaction
        one.rollback()
    else:
        if nested is not None and not began and one.in_transaction():
            _end_empty_transaction(one)


def _end_empty_transaction(session: Session) -> None:
    """End the transaction that was begun for the savepoint, and leave all objects as they are."""
    expires, session.expire_on_commit = session.expire_on_commit, False
    try:
        session.commit()
    finally:
        session.expire_on_commit = expires


_WRAPPED = """\
{names} was violated, but the block did not end with that error: it ended with the {kind} above.
  To fix this, either: expect that, with self.assertRaises({kind}); or let the block call what \
raises the database's error."""
