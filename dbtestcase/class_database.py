"""The database of one test class, clean at the start of each test."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from .engines import Engines
from .exceptions import NotReadyError
from .sandbox import Sandbox

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from .backends import Backend, Database

RunCoroutine = Callable[[Coroutine[Any, Any, None]], None]


class ClassDatabase:
    """A copy of a template for a test class, and the engines that lead to it.

    A class whose tests all use transaction isolation works in the :attr:`sandbox` throughout.
    Any other has a database in which class data is really committed, and each test works in the
    sandbox on top of that database or in a copy of it.
    """

    def __init__(self, backend: Backend, template: Database) -> None:
        self._backend = backend
        self._template = template
        self._database = backend.create(template)
        self._committed: Database | None = None
        self._copies: dict[str, Database] = {}  # by isolation
        self._leads_to: Database | None = None
        self._run: RunCoroutine
        self.sandbox = Sandbox(self._database.connection, backend)
        self.engines = Engines(backend, self._connect, self._admit)
        self.refusal = ""  # why nobody may take a connection now, if so

    def open(self, *, all_in_sandbox: bool, run: RunCoroutine) -> None:
        """Make ready for a test class.

        :param all_in_sandbox: all its tests use transaction isolation.
        :param run: runs a coroutine in the event loop of the class.
        """
        self._run = run
        self.refusal = ""
        if not all_in_sandbox:
            self._committed = self._backend.create(self._template, concurrent=True)
            self.sandbox.attach(self._committed.connection)
            self._leads_to = self._committed

    def start_test(self, test: str, isolation: str) -> None:
        """Make ready for ``test``."""
        if isolation == "transaction":
            self._lead_to(None)
            self.sandbox.start_test(test)
        else:
            if isolation not in self._copies:
                original = self._committed
                self._copies[isolation] = self._backend.create(original, concurrent=True)
            self._lead_to(self._copies[isolation])

    def abandon_test(self, isolation: str) -> None:
        """Undo what a test did in the sandbox; its sessions may still be open."""
        if isolation == "transaction":
            self.sandbox.finish_test()

    def finish_test(self, isolation: str) -> None:
        """Undo what a test did in a copy; its sessions are closed."""
        self._lead_to(self._committed)
        copy = self._copies.get(isolation)
        if copy is not None and copy.changed():
            if isolation == "template":
                self._copies.pop(isolation).drop()
            else:
                assert self._committed is not None
                copy.restore(self._committed)

    def close(self) -> None:
        """Undo what was done outside of tests and remove what only this class needed."""
        self.refusal = "The test class that this engine or session belongs to is done."
        try:
            self.sandbox.finish_class()
        finally:
            self._leads_to = None
            self._disconnect(self._committed)
            for database in [*self._copies.values(), self._committed]:
                if database is not None:
                    database.drop()
            self._copies.clear()
            if self._committed is not None:
                self._committed = None
                self.sandbox.attach(self._database.connection)

    def rebuild(self) -> None:
        """Replace the database, whose isolation was broken, with a new copy of the template."""
        all_in_sandbox = self._committed is None
        self.close()
        self._database.drop()
        self._database = self._backend.create(self._template)
        self.sandbox.attach(self._database.connection)
        self.open(all_in_sandbox=all_in_sandbox, run=self._run)

    def drop(self) -> None:
        """Remove the database."""
        self._database.drop()

    def _lead_to(self, database: Database | None) -> None:
        if database is not self._leads_to:
            previous, self._leads_to = self._leads_to, database
            self._disconnect(previous)

    def _disconnect(self, database: Database | None) -> None:
        self.engines.close_connections(self._run)
        if database is not None:
            database.disconnect()

    def _admit(self) -> None:
        if self.refusal:
            raise NotReadyError(self.refusal)

    def _connect(self) -> DBAPIConnection:
        if self._leads_to is not None:
            return self._leads_to.connect()
        return self._backend.sandboxed(self.sandbox)
