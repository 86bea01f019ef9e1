"""What all assertions share: the hooks that the two test cases fill in, and what they return."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from sqlalchemy.util import greenlet_spawn

from ..aliases import ByAlias, DatabaseOptions, alias_of
from ..rows import Rows
from ..statements import caller

__unittest = True  # unittest leaves frames of this module out of failures

if TYPE_CHECKING:
    from types import TracebackType

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
    def _dbtestcase_block(self, block: AbstractContextManager[Any]) -> Block_co:
        """Return ``block`` so that it may use connections as it is entered and left."""

    @abstractmethod
    def _dbtestcase_connect(self, alias: str) -> AbstractContextManager[Connection]:
        """Return a connection of its own to one of the test's databases."""

    @abstractmethod
    def _dbtestcase_opened(self) -> list[Any]:
        """Return ``self.session`` and what else the test has used: sessions and its connection."""

    @abstractmethod
    def _dbtestcase_databases(self) -> TestDatabases:
        """Return the test's databases."""

    @abstractmethod
    def _dbtestcase_session(self) -> Session | None:
        """Return ``self.session``, as a synchronous one, if the test has used it."""

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
        session = self._dbtestcase_session()
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


def unflushed_in(session: Session) -> str:
    """Return the names of the classes whose objects have changes that are not flushed."""
    changed = [one for one in session.dirty if session.is_modified(one)]
    pending = [*session.new, *changed, *session.deleted]
    return ", ".join(sorted({type(one).__name__ for one in pending}))


class PendingAssertion:
    """An assertion of the async test case, which does nothing until it is awaited."""

    def __init__(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._run = run
        self.awaited = False
        self.description = f"{name} at {caller()}"

    def __await__(self) -> Generator[Any, None, None]:
        self.awaited = True
        return self._run().__await__()


class AsyncBlock(AbstractAsyncContextManager[Any]):
    """A block of the async test case, entered and left where connections may be used."""

    def __init__(self, block: AbstractContextManager[Any, bool | None]) -> None:
        self._block = block

    async def __aenter__(self) -> Any:
        return await greenlet_spawn(self._block.__enter__)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await greenlet_spawn(self._block.__exit__, kind, error, traceback)
