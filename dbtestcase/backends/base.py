"""What every database offers to the layers above, whatever its kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from ..exceptions import BackendError, OptionError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Dialect
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from ..connections import SandboxedConnection
    from ..sandbox import Sandbox


class Features(NamedTuple):
    """What a kind of database can do."""

    #: The values of the ``isolation`` option that it supports.
    isolations: frozenset[str]


class DriverPackage(NamedTuple):
    """A DBAPI driver: its name in a URL, the module it lives in, what installs it."""

    name: str
    module: str
    install: str


class Database(Protocol):
    """One database that dbtestcase made: a template, a copy of one, or a test's own."""

    #: A connection that is open as long as the database exists.
    connection: DBAPIConnection

    def connect(self) -> DBAPIConnection:
        """Open one more connection, with transactions of its own."""

    def disconnect(self) -> None:
        """Close every connection that :meth:`connect` opened."""

    def changed(self) -> bool:
        """Tell whether another connection changed it since :meth:`restore` or its creation."""

    def restore(self, original: Database) -> None:
        """Make it equal to ``original`` again; no other connection may be open."""

    def drop(self) -> None:
        """Close and remove it."""


class Backend(ABC):
    """A kind of database at one URL."""

    title: ClassVar[str]
    features: ClassVar[Features]
    sync_driver: ClassVar[DriverPackage]
    async_driver: ClassVar[DriverPackage]

    def __init__(self, url: URL) -> None:
        driver = url.drivername.partition("+")[2]
        known = (self.sync_driver.name, self.async_driver.name)
        if driver and driver not in known:
            raise OptionError(
                f"database = '{url}': the driver {driver} is not supported; "
                f"{self.title} works with {' and '.join(known)}"
            )
        self.url = url

    def driver_url(self, *, is_async: bool) -> URL:
        """Return the URL to make an engine with, once its driver is known to be installed.

        :raises BackendError: the driver is not installed.
        """
        driver = self.async_driver if is_async else self.sync_driver
        if find_spec(driver.module) is None:
            raise BackendError(
                f"{self.title} needs the driver {driver.module}, which is not installed.\n"
                f"  To fix this: {driver.install}"
            )
        return self.url.set(drivername=f"{self.url.get_backend_name()}+{driver.name}")

    @cached_property
    def dialect(self) -> Dialect:
        """SQLAlchemy's dialect, to compile with."""
        return self.url.get_dialect()()

    @abstractmethod
    def create(self, original: Database | None = None, *, concurrent: bool = False) -> Database:
        """Return a new database, empty or equal to ``original``.

        :param concurrent: several connections at once must be possible.
        :raises BackendError: it cannot be created.
        """

    @abstractmethod
    def connect_arguments(self, connect: Callable[[], DBAPIConnection]) -> dict[str, Any]:
        """Return arguments for ``Dialect.connect`` that make it use ``connect``."""

    @abstractmethod
    def sandboxed(self, sandbox: Sandbox) -> SandboxedConnection:
        """Return a new stand-in for the connection of ``sandbox``."""

    @abstractmethod
    def error(self, message: str) -> Exception:
        """Return the driver's ``OperationalError``."""

    @abstractmethod
    def reads(self, sql: str) -> bool:
        """Tell whether ``sql`` certainly writes nothing."""

    @abstractmethod
    def changes(self, connection: DBAPIConnection) -> int:
        """Return a number that is higher after a statement that changed rows."""

    @abstractmethod
    def in_transaction(self, connection: DBAPIConnection) -> bool:
        """Tell whether a transaction is open on the real ``connection``."""

    @abstractmethod
    def check_deferred_constraints(self, connection: DBAPIConnection) -> None:
        """Raise the driver's ``IntegrityError`` if a commit now would."""
