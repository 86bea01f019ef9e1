"""``unittest`` base classes that give every test of a SQLAlchemy application a clean database."""

from .async_case import AsyncDatabaseTestCase
from .case import DatabaseTestCase
from .documents import match
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
from .migration_case import AsyncMigrationTestCase, MigrationTestCase
from .options import isolation
from .table_images import Changes

__all__ = [
    "AsyncDatabaseTestCase",
    "AsyncMigrationTestCase",
    "BackendError",
    "Changes",
    "ClassDataError",
    "DBTestCaseError",
    "DatabaseTestCase",
    "InterleavedTransactionsError",
    "IsolationError",
    "MigrationTestCase",
    "NotReadyError",
    "OptionError",
    "StaleConnectionError",
    "TransactionEndedError",
    "UsageError",
    "isolation",
    "match",
]
