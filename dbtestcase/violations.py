"""What to say when isolation cannot be kept, and whether anybody has heard it."""

from __future__ import annotations

from .exceptions import (
    InterleavedTransactionsError,
    IsolationError,
    StaleConnectionError,
    TransactionEndedError,
    UsageError,
)


def interleaved(test: str, mine: str, other: str) -> InterleavedTransactionsError:
    """Return the error for a rollback of ``mine`` that would undo ``other`` too."""
    return InterleavedTransactionsError(_INTERLEAVED.format(test=test, mine=mine, other=other))


def transaction_ended(test: str) -> TransactionEndedError:
    """Return the error for an outer transaction that is gone."""
    return TransactionEndedError(_ENDED.format(test=test))


def would_end_transaction(test: str, sql: str, opened_at: str) -> TransactionEndedError:
    """Return the error for a statement that commits as a side effect."""
    message = _WOULD_END.format(test=test, sql=sql.strip(), opened_at=opened_at)
    return TransactionEndedError(message)


def would_escape(test: str, sql: str, opened_at: str) -> IsolationError:
    """Return the error for a statement on a table that takes no part in transactions."""
    return IsolationError(_WOULD_ESCAPE.format(test=test, sql=sql.strip(), opened_at=opened_at))


def raw_connection(name: str) -> IsolationError:
    """Return the error for a driver's connection, asked for where nothing can be awaited."""
    return IsolationError(_RAW.format(name=name))


def stale_connection(test: str) -> StaleConnectionError:
    """Return the error for a connection that ``test`` has left in a transaction."""
    return StaleConnectionError(_STALE.format(test=test))


def unreturned_connection(test: str, sql: str, opened_at: str) -> StaleConnectionError:
    """Return the error for a connection that ``test`` has opened and not closed."""
    last = sql.strip() or "(nothing)"
    return StaleConnectionError(_UNRETURNED.format(test=test, sql=last, opened_at=opened_at))


def changed_between_tests(test: str, what: str) -> IsolationError:
    """Return the error for a change outside of tests, which ``test`` and later ones would find."""
    return IsolationError(_BETWEEN_TESTS.format(test=test, what=what))


def forked(line: str) -> IsolationError:
    """Return the error for a connection that a forked process wants to use at ``line``."""
    return IsolationError(_FORKED.format(line=line))


def lost_set_up(test: str, what: str) -> str:
    """Return what to say of failures after a rebuild, without which ``what`` would be there."""
    return _LOST_SET_UP.format(test=test, what=what)


def inherited(line: str) -> IsolationError:
    """Return the error for a real connection that a forked process wants to use at ``line``."""
    return IsolationError(_INHERITED.format(line=line))


def other_colour(line: str) -> UsageError:
    """Return the error for a connection that a synchronous engine was asked for at ``line``."""
    return UsageError(_OTHER_COLOUR.format(line=line))


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
  To fix this, close the connection in that test or in its tearDown."""

_UNRETURNED = """\
{test}: a connection was still open when the test ended. What it had executed last:
      {sql}
      on the connection opened at {opened_at}
  All that it did is undone. In production the pool would miss it, until nobody gets one any more.
  To fix this, close it where it is opened, best in a with block; or, if the test is to have it to \
the end, let it self.addCleanup(connection.close). One for all tests of the class belongs into \
setUpClass."""

_WOULD_END = """\
{test}: this statement would commit the transaction around the test, so it was not executed:
      {sql}
      on the connection opened at {opened_at}
  To fix this, either: do it in setUpDatabase; or run the test in a database where it may end \
transactions itself, with the decorator @dbtestcase.isolation("truncation") or \
@dbtestcase.isolation("template"); or, if it only cleans up, as drop_all() does, leave it out: \
what a test did is undone anyway."""

_WOULD_ESCAPE = """\
{test}: this statement uses a table whose engine takes no part in transactions, so that no \
rollback would undo it, and was not executed:
      {sql}
      on the connection opened at {opened_at}
  To fix this, either: create the table with a transactional engine, such as InnoDB; or run the \
test with real commits, with the decorator @dbtestcase.isolation("truncation") or \
@dbtestcase.isolation("template")."""

_RAW = """\
{name} gives the driver's own connection, which has to be in the transaction of the test, and that \
cannot be begun here, in a coroutine.
  To fix this, either: execute a statement on the connection before, such as SELECT 1; or give the \
test real transactions of its own, with the decorator @dbtestcase.isolation("truncation")."""

_BETWEEN_TESTS = """\
{test}: after the test before it had ended, and before its own setUp, this was executed outside of \
any test, so that it would stay for all later tests of the class:
      {what}
  It is undone. A function fixture of pytest, setup_method, or a run or __call__ of your own \
works outside of the test.
  To fix this, write it in setUp, after super().setUp(), or in setUpTestData for all tests; if it \
only cleans up, leave it out: what a test did is undone anyway."""

_FORKED = """\
A process that was forked while a test ran, or between tests, has used a connection of that test, \
at {line}. It is the connection of the process that runs the test, so nothing was executed.
  To fix this, let a thread do the work; or let the process work in a database of its own; or give \
the test real commits, with the decorator @dbtestcase.isolation("truncation"), where new \
connections of the process lead to the database of the test."""

_INHERITED = """\
A process that was forked while a test ran has used, at {line}, a connection that was open before. \
It is the connection of the process that runs the test, so nothing was executed.
  To fix this, let the process open a connection of its own, by an engine that it has inherited; \
or let a thread do the work."""

_LOST_SET_UP = """\
What setUpClass had written is gone, as the database was rebuilt after {test}. It was, at first:
      {what}
  To fix this, write it in setUpTestData, which is called again for the new database."""

_OTHER_COLOUR = """\
A synchronous engine was used in an asynchronous test class, at {line}, whose database speaks to \
an asynchronous driver.
  To fix this, give the test transaction isolation, under which that works in threads; or move it \
to a DatabaseTestCase."""
