"""What to say when isolation cannot be kept, and whether anybody has heard it."""

from __future__ import annotations

from .exceptions import InterleavedTransactionsError, StaleConnectionError, TransactionEndedError


def interleaved(test: str, mine: str, other: str) -> InterleavedTransactionsError:
    """Return the error for a rollback of ``mine`` that would undo ``other`` too."""
    return InterleavedTransactionsError(_INTERLEAVED.format(test=test, mine=mine, other=other))


def transaction_ended(test: str) -> TransactionEndedError:
    """Return the error for an outer transaction that is gone."""
    return TransactionEndedError(_ENDED.format(test=test))


def stale_connection(test: str) -> StaleConnectionError:
    """Return the error for a connection that ``test`` has left in a transaction."""
    return StaleConnectionError(_STALE.format(test=test))


def was_swallowed(error: BaseException) -> bool:
    """Tell whether ``error`` was caught before it reached the test runner.

    An error that failed the test carries a traceback that starts in unittest; one that
    ``assertRaises`` expected carries none.
    """
    traceback = error.__traceback__
    if traceback is None:
        return False
    return not str(traceback.tb_frame.f_globals.get("__name__")).startswith("unittest")


_INTERLEAVED = """\
{test}: two connections interleave in a way that one transaction cannot represent.
  One connection rolls back what it began with:
      {mine}
  but since then another connection has written, and rolling back would undo that too:
      {other}
  To fix this, either: end one transaction before the other begins; or give the test real \
transactions of its own, with the decorator @dbtestcase.isolation("truncation") or \
@dbtestcase.isolation("template")."""

_ENDED = """\
{test}: the transaction around the test has been ended behind its back, so what it wrote \
may have been committed. The database is rebuilt before the next test.
  To fix this, run the test in a database where it may end transactions itself, with the \
decorator @dbtestcase.isolation("truncation") or @dbtestcase.isolation("template")."""

_STALE = """\
This connection was left in the middle of a transaction when {test} ended; that transaction \
has been rolled back with the test.
  To fix this, close the session or connection in that test or in its tearDown \
(a scoped_session: remove() it)."""
