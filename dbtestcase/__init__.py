"""``unittest`` base classes that give every test of a SQLAlchemy application a clean database."""

from .async_case import AsyncDatabaseTestCase
from .case import DatabaseTestCase
from .exceptions import (
    BackendError,
    ClassDataError,
    DBTestCaseError,
    InterleavedTransactionsError,
    IsolationError,
    NotReadyError,
    OptionError,
    StaleConnectionError,
    TransactionEndedError,
    UsageError,
)
from .options import isolation

__all__ = [
    "AsyncDatabaseTestCase",
    "BackendError",
    "ClassDataError",
    "DBTestCaseError",
    "DatabaseTestCase",
    "InterleavedTransactionsError",
    "IsolationError",
    "NotReadyError",
    "OptionError",
    "StaleConnectionError",
    "TransactionEndedError",
    "UsageError",
    "isolation",
]
