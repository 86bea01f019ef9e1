"""``unittest`` base classes that give every test of a SQLAlchemy application a clean database."""

from typing import TYPE_CHECKING, Any

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
from .options import isolation
from .table_images import Changes

if TYPE_CHECKING:
    from .migration_case import AsyncMigrationTestCase, MigrationTestCase

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


def __getattr__(name: str) -> Any:
    """Import the test cases for migrations when they are asked for."""
    if name in ("AsyncMigrationTestCase", "MigrationTestCase"):
        from . import migration_case

        return getattr(migration_case, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
