"""What all assertions share: the hooks that the two test cases fill in, and what they return."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ..aliases import DEFAULT, ByAlias, DatabaseOptions, alias_of
from ..exceptions import UsageError
from ..rows import Rows
from .pending import Block, Pending

__unittest = True  # unittest leaves frames of this module out of failures

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

    from ..backends import Backend
    from ..recording import Listeners

#: What an assertion returns: None, or in the async test case something to await.
Outcome_co = TypeVar("Outcome_co", covariant=True)
#: What an assertion about a block returns that has to look at the database before and after it:
#: something for ``with``, or in the async test case for ``async with``.
Block_co = TypeVar("Block_co", covariant=True)
Check = Callable[[], None]
AnyPending = TypeVar("AnyPending", bound=Pending)


class TestDatabases(Protocol):
    """What assertions need to know of the databases of a test."""

    @property
    def options(self) -> ByAlias[DatabaseOptions]:
        """The options of each."""

    @property
    def backends(self) -> ByAlias[Backend]:
        """The backend of each."""

    def uncommitted(self) -> list[str]:
        """Return the statements of connections that have written and not committed."""

    def listening(self, listeners_of: Callable[[str], Listeners]) -> AbstractContextManager[None]:
        """Let the engines that lead to each inside the block, now or later, have listeners."""


class BaseAssertions(Generic[Outcome_co, Block_co]):
    """What the assertions of both test cases are made of."""

    failureException: type[Any]

    @abstractmethod
    def _dbtestcase_check(self, name: str, check: Check) -> Outcome_co:
        """Call ``check``, where it may use connections."""

    @abstractmethod
    def _dbtestcase_block(self, name: str, block: AbstractContextManager[Any]) -> Block_co:
        """Return ``block`` so that it may use connections as it is entered and left."""

    @abstractmethod
    def _dbtestcase_expect(self, pending: AnyPending) -> AnyPending:
        """Return ``pending``, which fails the test if it is not used."""

    @abstractmethod
    def _dbtestcase_connect(self, alias: str) -> AbstractContextManager[Connection]:
        """Return a connection of its own to one of the test's databases.

        Meanwhile the sessions that the test has used do not flush by themselves: a condition about
        an object that has expired, such as ``Order.account == alice``, makes its session load it.
        """

    @abstractmethod
    def _dbtestcase_opened(self) -> list[Any]:
        """Return ``self.session`` and what else the test has used: sessions and its connection."""

    @abstractmethod
    def _dbtestcase_databases(self) -> TestDatabases:
        """Return the test's databases."""

    @abstractmethod
    def _dbtestcase_sessions(self) -> dict[str, Session]:
        """Return the sessions that the test has used, as synchronous ones, by alias."""

    def _block(self, name: str, block: AbstractContextManager[Any]) -> Block:
        """Return ``block``, which uses no connections, for ``with`` in both test cases."""
        return self._dbtestcase_expect(Block(name, block))

    def _opened(self) -> list[Session | Connection]:
        """Return the sessions and the connection that the test has used, as synchronous ones."""
        return [
            getattr(one, "sync_session", getattr(one, "sync_connection", one))
            for one in self._dbtestcase_opened()
        ]

    def _no_row(self, rows: Rows) -> Any:
        nearest = rows.nearest()
        return self.failureException(
            f"No row{rows.with_wanted} in {rows.title}, {rows.total()}"
            f"{nearest and '; the nearest:'}{nearest}{self._unflushed()}"
        )

    def _unflushed(self) -> str:
        session = self._dbtestcase_sessions().get(DEFAULT)
        names = "" if session is None else unflushed_in(session)
        if not names:
            return ""
        return f"\n  self.session has unflushed changes ({names}): flush or commit it first"

    @contextmanager
    def _rows(self, target: Any, using: str | None, conditions: Any, values: Any) -> Iterator[Rows]:
        databases = self._dbtestcase_databases().options
        alias = alias_of(target, using, databases)
        with self._dbtestcase_connect(alias) as connection:
            yield Rows(connection, databases, alias, target, conditions, values)


def checked_count(count: Any, noun: str) -> int:
    """Return ``count``, a number of what ``noun`` says.

    :raises UsageError: it is none.
    """
    if not is_count(count):
        raise UsageError(f"{count!r} is no number of {noun}; write for example 2")
    return int(count)


def is_count(value: Any) -> bool:
    """Tell whether ``value`` is a number of things."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def as_list(one_or_several: Any) -> list[Any]:
    """Return what was given as a collection, or alone: a name is no collection of letters."""
    is_one = isinstance(one_or_several, str) or not isinstance(one_or_several, Iterable)
    return [one_or_several] if is_one else list(one_or_several)


def unflushed_in(session: Session) -> str:
    """Return the names of the classes whose objects have changes that are not flushed."""
    changed = [one for one in session.dirty if session.is_modified(one)]
    pending = [*session.new, *changed, *session.deleted]
    return ", ".join(sorted({type(one).__name__ for one in pending}))
