"""What the sandbox needs of a driver: one connection, and how to talk to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection


class Link(Protocol):
    """The one real connection of a sandbox, and what is particular to its driver."""

    #: The connection, as the driver or SQLAlchemy's adapter of an async driver gives it.
    connection: DBAPIConnection

    #: A failed statement aborts the transaction, up to the last savepoint.
    aborts: bool

    #: This process was forked, and the connection is its parent's.
    is_left: bool

    @property
    def is_lost(self) -> bool:
        """Whether the server closed the connection, or it broke off, as far as is known."""

    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Return ``function(...)``, called where the connection lives, one call at a time."""

    def control(self, statements: Sequence[str]) -> None:
        """Execute statements that begin or end transactions and savepoints."""

    def cursor(self) -> Any:
        """Return a new cursor, whose rows are all fetched when it has executed."""

    def error(self, message: str) -> Exception:
        """Return the driver's error for a statement that cannot be executed."""

    def in_failed_transaction(self) -> Exception:
        """Return the driver's error for a statement in a transaction that has been aborted."""

    def was_aborted(self, error: BaseException) -> bool:
        """Tell whether a statement that failed with ``error`` may have aborted the transaction."""

    def text_of(self, sql: Any) -> str:
        """Return the text of what a cursor was given to execute."""

    def reads(self, sql: str) -> bool:
        """Tell whether ``sql`` certainly writes nothing."""

    def ends_transaction(self, sql: str) -> bool:
        """Tell whether ``sql`` commits the open transaction, as a side effect."""

    def escapes(self, sql: str, *, reads: bool) -> bool:
        """Tell whether ``sql`` uses tables that take no part in transactions.

        :param reads: it certainly writes nothing.
        """

    def changes(self) -> int:
        """Return a number that is higher after a statement that changed rows."""

    def in_transaction(self) -> bool:
        """Tell whether a transaction is open."""

    def lose_transaction(self) -> None:
        """Take note that it was ended by others, so that what it did may be committed."""

    def defers_constraints(self) -> bool:
        """Tell whether a commit checks what statements did not."""

    def check_deferred_constraints(self) -> None:
        """Raise the driver's ``IntegrityError`` if a commit now would."""

    def sequences(self) -> object:
        """Return where sequences stand, for :meth:`restart_sequences`."""

    def restart_sequences(self, sequences: object) -> None:
        """Let sequences, which no rollback takes back, stand where they stood."""

    def start_test(self) -> None:
        """Take note that what is set on the connection from now on is the test's."""

    def end_test(self) -> bool:
        """Take back what no rollback does, such as what the test set on the connection.

        Return false if that is impossible, so that the connection cannot serve another test.
        """

    def end_class(self) -> bool:
        """Take back likewise what was set outside of tests."""

    def close(self) -> None:
        """Close the connection, if it cannot serve another test class."""

    def stand_in(self, sandbox: Any) -> Any:
        """Return a new stand-in for the connection, in ``sandbox``."""
