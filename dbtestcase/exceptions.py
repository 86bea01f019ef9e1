"""Every error that dbtestcase raises on its own account.

::

    DBTestCaseError
    ├── OptionError                   a class option is wrong, or two contradict each other
    ├── BackendError                  a driver is missing, or the database cannot be reached
    ├── ClassDataError                class data that no test could have
    ├── UsageError                    an assertion was asked about what does not exist
    ├── NotReadyError                 a test used what its set-up has not made yet
    └── IsolationError                isolation cannot be kept; the database is rebuilt
        ├── InterleavedTransactionsError
        ├── StaleConnectionError
        └── TransactionEndedError

Errors of the database itself (``IntegrityError`` and its kin) are never wrapped:
the application sees them with the type that it sees in production.
"""

from __future__ import annotations


class DBTestCaseError(Exception):
    """Base of all errors of this package."""


class OptionError(DBTestCaseError):
    """A class option has an unknown name, a wrong value, or contradicts another."""


class BackendError(DBTestCaseError):
    """The database cannot be used: its driver is missing or it does not answer."""

    is_unreachable = False  # for it does not answer
    was_reached = False  # before, so that it may be again


class NotReadyError(DBTestCaseError, RuntimeError):
    """``self.session`` or its kin was used before the class or test was set up."""


class IsolationError(DBTestCaseError):
    """The chosen isolation cannot represent what the test or application did."""


class InterleavedTransactionsError(IsolationError):
    """A connection rolled back work that encloses the work of another connection."""


class StaleConnectionError(IsolationError):
    """A connection outlived the test that opened it."""


class TransactionEndedError(IsolationError):
    """Something ended the test's outer transaction behind its back."""


class ClassDataError(DBTestCaseError):
    """``setUpTestData`` put an ORM object on the class that has no row in the database."""


class UsageError(DBTestCaseError, TypeError):
    """An assertion was given something it cannot look at: no such table, no such column."""
