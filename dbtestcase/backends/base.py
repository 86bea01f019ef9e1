"""What every database offers to the layers above, whatever its kind."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from ..exceptions import BackendError, OptionError
from ..wording import joined
from .losses import connection_lost

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Dialect, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from ..event_loop import ClassLoop
    from ..link import Link
    from .diagnostics import Diagnostics
    from .leftover import Kept, Leftover
    from .scripts import Scripts


class Features(NamedTuple):
    """What a kind of database can do."""

    #: The values of the ``isolation`` option that it supports.
    isolations: frozenset[str]

    #: What has the other isolations, as the end of a message.
    elsewhere: str = ""

    #: Tables may name a schema: it is one of the test's database.
    schemas: bool = True

    #: There is one database only, which all templates and their copies are in turn.
    one_database: bool = False

    #: A template is built once, and copied for classes and tests, even those that really commit.
    #: Else what takes part in no rollback, or runs at the same time, has it built again.
    clones: bool = True

    #: A rollback undoes DDL, which else commits.
    transactional_ddl: bool = True

    #: Constraints may be checked at commit.
    deferrable_constraints: bool = True


class DriverPackage(NamedTuple):
    """A DBAPI driver: its name in a URL, the module it lives in, what installs it."""

    name: str
    module: str
    install: str
    is_async: bool = False


class Database(Protocol):
    """One database that dbtestcase made: a template, a copy of one, or a test's own."""

    #: Where sequences stood before anybody used it, as its link returned that, once it is known.
    sequences_when_new: object

    #: It cannot serve another test, as when somebody unknown is in the middle of changing it.
    spoiled: bool

    def link(self, loop: ClassLoop | None) -> Link:
        """Return a link to the database for a sandbox.

        :param loop: the event loop that an asynchronous driver is to work in.
        """

    def connect(self, *, is_async: bool) -> DBAPIConnection:
        """Open one more connection, with transactions of its own."""

    def disconnect(self) -> None:
        """Close every connection that :meth:`connect` opened."""

    def uncommitted(self) -> list[str]:
        """Return a statement of each connection that has written and not committed."""

    def restore(self, original: Database, *, reset_sequences: bool) -> bool:
        """Undo what connections changed, and return whether that was possible.

        :param original: what it was created from, which is as it was then.
        :param reset_sequences: also those that were used in vain.
        """

    def keep(self, name: str, commit: Callable[[], None]) -> Kept:
        """Keep it, or a copy of it, as it is now, for a person to look at after the process.

        :param name: names a copy.
        :param commit: commits what a test did on the connection of :meth:`link`, and cannot be
            undone; called unless a copy shows it without.
        """

    def drop(self) -> None:
        """Close and remove it, unless it was kept."""


class Backend(ABC):
    """A kind of database at one URL."""

    title: ClassVar[str]
    features: ClassVar[Features]
    sync_drivers: ClassVar[Sequence[DriverPackage]]  # in order of preference
    async_drivers: ClassVar[Sequence[DriverPackage]]

    diagnostics: ClassVar[Diagnostics]  # what it says of constraints and plans
    losses: int = 0  # how often all that it had made was lost, as with a server that was killed
    scripts: Scripts | None = None  # of what makes a schema, where no template can be cloned

    #: Application engines of either colour speak to the database by themselves; else all go
    #: through the driver of the test class.
    both_colours: ClassVar[bool] = False

    impatience: ClassVar[Sequence[str]] = ()  # statements after which nobody waits for locks long

    def __init__(self, url: URL) -> None:
        known = [driver.name for driver in (*self.sync_drivers, *self.async_drivers)]
        self.named_driver = url.drivername.partition("+")[2]
        if self.named_driver and self.named_driver not in known:
            raise OptionError(
                f"database = '{shown(url)}': the driver {self.named_driver} is not supported; "
                f"{self.title} works with {joined(dict.fromkeys(known))}"
            )
        self.url = url

    def driver(self, *, is_async: bool) -> DriverPackage:
        """Return the driver of one colour: the one that the URL names, or the first installed.

        :raises BackendError: none is installed.
        """
        drivers = self.async_drivers if is_async else self.sync_drivers
        named = [driver for driver in drivers if driver.name == self.named_driver]
        for driver in named or drivers:
            if find_spec(driver.module) is not None:
                return driver
        driver = (named or drivers)[0]
        raise BackendError(
            f"{self.title} needs the driver {driver.module}, which is not installed.\n"
            f"  To fix this: {driver.install}"
        )

    def driver_url(self, *, is_async: bool) -> URL:
        """Return the URL to make an engine with, once its driver is known to be installed.

        :raises BackendError: the driver is not installed.
        """
        driver = self.driver(is_async=is_async)
        return self.url.set(drivername=f"{self.url.get_backend_name()}+{driver.name}")

    @cached_property
    def dialect(self) -> Dialect:
        """SQLAlchemy's dialect, to compile with."""
        return self.driver_url(is_async=False).get_dialect()()

    def connection_lost(self, test: str) -> str:
        """Return what to say of a ``test`` whose connection to it was lost."""
        return connection_lost(test, f"{self.title} at {shown(self.url)}")

    def notice_loss(self) -> None:  # noqa: B027  # optional
        """Count it in :attr:`losses` if all that was made has been lost, before more is made."""

    @abstractmethod
    def template(
        self, fingerprint: str, build: Callable[[Connection], None], *, rebuild: bool = False
    ) -> Database:
        """Return a database that ``build`` has made, or one that it has made before.

        :param fingerprint: names what it makes, in all processes.
        :param rebuild: build it even if that has been done.
        :raises BackendError: it cannot be created.
        """

    def lasting_template(
        self, fingerprint: str, build: Callable[[Connection], None], *, rebuild: bool = False
    ) -> Database:
        """Return what :meth:`template` does, kept for later processes if that can be done.

        Where it is a question of cost, it is for what takes longer to make than to look up.
        """
        return self.template(fingerprint, build, rebuild=rebuild)

    @abstractmethod
    def create(self, original: Database, *, isolation: str = "") -> Database:
        """Return a new database, equal to ``original``.

        :param isolation: that of the tests that have several connections to it, if they do.
        :raises BackendError: it cannot be created.
        """

    def snapshot(self, database: Database, original: Database) -> Database:
        """Return what can be kept of ``database`` as it is now, while connections work in it.

        :param original: what it was created from, to which nobody is connected.
        :raises BackendError: only ``database`` itself can be kept; says why.
        """
        return database  # of which a copy is kept in any case

    def pooled(
        self, dialect: Dialect, url: URL, connect: Callable[[], DBAPIConnection]
    ) -> DBAPIConnection:
        """Return what a pool of an engine with ``dialect`` keeps of ``connect()``."""
        return connect()

    def own_dialect(self, dialect: Dialect) -> Dialect:
        """Return what the engines of a test have in place of a new ``dialect``."""
        return dialect

    #: Whether :meth:`reset_connection` does what closing a connection and opening another does.
    resets_connections: ClassVar[bool] = False

    def reset_connection(  # noqa: B027  # optional
        self, connection: DBAPIConnection, *, is_async: bool
    ) -> None:
        """Forget what was set on a ``connection`` that is open since an earlier test."""

    #: What was set on a connection when it was opened is still set after that.
    keeps_set_up: ClassVar[bool] = False

    def was_set_up(self, connection: DBAPIConnection) -> None:  # noqa: B027  # optional
        """Note that listeners have set up a ``connection`` that was just opened."""

    def prepare_dialect(self, engine: Engine, link: Link) -> Dialect:
        """Return the dialect of an application's ``engine``, ready for this database."""
        return engine.dialect

    @contextmanager
    def as_deployed(self, connection: Connection) -> Iterator[None]:
        """Let ``connection`` be for a while as migrations find one that the driver has opened."""
        yield

    def forwards(self, listener: Callable[..., Any]) -> bool:
        """Tell whether a ``connect`` listener of a redirected engine is called with stand-ins.

        SQLAlchemy's own have been called with the real connection.
        """
        return not str(getattr(listener, "__module__", "")).startswith("sqlalchemy.")

    def close(self) -> None:  # noqa: B027  # optional
        """Remove what was made for this process; called at its end."""

    def checks(self) -> dict[str, Callable[[], str]]:
        """Return what it needs on this machine, by name.

        Each returns what was found there, or raises :class:`BackendError` with the remedy.
        """
        return {
            "sync driver": partial(self._installed, is_async=False),
            "async driver": partial(self._installed, is_async=True),
        }

    def leftovers(self) -> Iterable[Leftover]:
        """Return what is kept for later runs, and what dead ones have left."""
        return ()

    def _installed(self, *, is_async: bool) -> str:
        module = self.driver(is_async=is_async).module
        packages = packages_distributions().get(module)
        return f"{module} {version(packages[0])}" if packages else module


def shown(url: URL | str) -> str:
    """Return ``url`` as it may be shown, without its password."""
    written = re.sub(r"((?:password|passwd|pwd)=)[^&]*", r"\1***", str(url), flags=re.IGNORECASE)
    return re.sub(r"^([^:]*:(?://)?[^:/]*):.*@", r"\1:***@", written, flags=re.DOTALL)
