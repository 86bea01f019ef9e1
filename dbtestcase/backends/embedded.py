"""PostgreSQL servers that this process starts for itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..exceptions import BackendError, OptionError
from .base import Backend, shown
from .cached import kept_in, remove
from .dead_servers import remove_server
from .kept import kept_files
from .leftover import Leftover
from .losses import connection_lost
from .notices import say
from .server import ServerBackend

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Dialect, Engine

    from .private_server import PrivateServer


def cache_directory(title: str, extra: str) -> Path:
    """Return the directory for what is made once and kept for later runs.

    :raises BackendError: what that takes is not installed, which comes with the ``extra``.
    """
    missing = [package for package in ("platformdirs", "filelock") if find_spec(package) is None]
    if missing:
        which = "package {}, which is" if len(missing) == 1 else "packages {}, which are"
        raise BackendError(
            f"{title} needs the {which.format(' and '.join(missing))} not installed.\n"
            f"  To fix this: pip install 'dbtestcase[{extra}]'"
        )
    from platformdirs import user_cache_path

    return user_cache_path("dbtestcase", appauthor=False)


def server_url(url: URL, options: set[str]) -> URL:
    """Return the URL of a database on the server that ``url``, as in the option, stands for.

    :raises OptionError: ``url`` names a host or such, or has a query parameter not in ``options``.
    """
    kind, plus, driver = url.drivername.partition("+")
    if url.host or url.username or url.database:
        raise OptionError(
            f"database = '{shown(url)}': the server has a private socket, and no user, host "
            f'or database to choose.\n  To fix this, write database = "{kind}{plus}{driver}://"'
        )
    unknown = ", ".join(set(url.query) - options)
    if unknown:
        there = f"there is {', '.join(options)}" if options else "there are no parameters"
        raise OptionError(f"database = '{shown(url)}': {unknown} is unknown; {there}")
    return url.set(
        drivername=f"postgresql{plus}{driver}",
        username="postgres",
        password="postgres",  # noqa: S106  # asked for by drivers, needed by nobody
        database="postgres",
        query={},
    )


class EmbeddedServer(ServerBackend):
    """A backend whose connections lead to a server of this process."""

    kind: ClassVar[str]
    server: PrivateServer
    losses = 0
    _reached_by = 0  # which process

    def source(self, *, is_async: bool) -> Engine:
        self.server.launch()  # it boots while the driver is imported
        return super().source(is_async=is_async)

    def checks(self) -> dict[str, Callable[[], str]]:
        return {
            **Backend.checks(self),
            "server": self.server.found,
        }

    def leftovers(self) -> Iterable[Leftover]:
        for path in self.server.left():
            yield Leftover(
                "files", f"{path}, of a server that has died", partial(remove_server, path), path
            )
        for path in kept_in(self.server.cache, self.kind):
            yield Leftover("cache", str(path), partial(remove, path), path)
        yield from kept_files(f".{self.kind}.tar")

    def connection_lost(self, test: str) -> str:
        return connection_lost(test, f"{self.title}, a server of this process,", _ENDED)

    def connect_arguments(self, dialect: Dialect) -> dict[str, Any]:
        """Start the server if need be, and return where it is."""
        self.reach()
        return {"host": str(self.server.socket_directory), "port": 5432}

    def _aim(self, dialect: Dialect, record: object, positional: Any, named: Any) -> Any:
        """Connect, or tell that the server has ended, which nobody may have noticed yet."""
        super()._aim(dialect, record, positional, named)
        try:
            return dialect.connect(*positional, **named)
        except Exception:
            with self._losing():
                self.server.check(connecting=True)
            raise

    def reach(self) -> None:
        """Return when the server can be connected to; start it if need be.

        :raises BackendError: it cannot be started, or what was made in it is lost.
        """
        with self._losing():
            self.server.wait()
        self._reached_by = os.getpid()

    def notice_loss(self) -> None:
        if self._reached_by == os.getpid():
            try:
                with self._losing():
                    self.server.check(connecting=self._door is None or self._door.invalidated)
                super().notice_loss()
            except BackendError as error:
                if not error.was_reached:
                    raise
                say(f"a new server is started, as {error}")

    def _note_loss(self) -> None:
        """Do nothing: to the server, which nobody else uses, this process lives as long as it."""

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """Note the loss of all that was in the server if a block finds that it has ended."""
        try:
            yield
        except BackendError as error:
            error.is_unreachable = True
            error.was_reached = self._reached_by == os.getpid()
            self._lose()
            raise

    def _lose(self) -> None:
        if self._reached_by == os.getpid():
            self._reached_by = 0
            self.losses += 1
            if self._door is not None:
                self._door.invalidate()


_ENDED = "see what has ended it or the connection, such as the test itself, or a lack of memory"
