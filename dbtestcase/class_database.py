"""The database of one test class, clean at the start of each test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import create_engine
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from .backends import drop_if_reached, engine_around, even_after_a_loss, loses
from .between_tests import ChangesBetweenTests
from .engines import Engines
from .event_loop import run_alone
from .exceptions import NotReadyError
from .lazy_loads import missing_greenlet
from .sandbox import Sandbox
from .statements import caller
from .violations import other_colour

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from .backends import Backend, Database
    from .event_loop import ClassLoop

_CREATING = threading.RLock()  # test classes may run in several threads


class ClassDatabase:
    """A copy of a template for a test class, and the engines that lead to it.

    A class whose tests all use transaction isolation works in the :attr:`sandbox` throughout.
    Any other has a database in which class data is really committed, and each test works in the
    sandbox on top of that database or in a copy of it.
    """

    def __init__(self, backend: Backend, template: Database) -> None:
        self.backend = backend
        self.losses = backend.losses  # before it was made
        self._template = template
        self._database: Database | None = None  # of classes that commit nothing
        self._committed: Database | None = None
        self.copies: dict[str, Database] = {}  # by isolation
        self._leads_to: Database | None = None
        self._loop: ClassLoop | None = None
        self.moved: Database | None = None  # where this test has its database instead
        self._reset_sequences = False
        self._committed_sequences: object = None  # where they stand with class data
        self.sandbox = Sandbox()
        self.engines = Engines(backend, self._connect, self._admit)
        self.between_tests = ChangesBetweenTests(lambda: self._leads_to is not None)
        self.refusal = ""  # why nobody may take a connection now, if so

    def open(
        self, *, all_in_sandbox: bool, loop: ClassLoop | None, reset_sequences: bool = False
    ) -> None:
        """Make ready for a test class.

        :param all_in_sandbox: all its tests use transaction isolation.
        :param loop: the event loop of the class, if it is asynchronous.
        :param reset_sequences: sequences stand in each test where they stood in the first.
        """
        self._reset_sequences = reset_sequences
        self._loop = loop
        self.refusal = ""
        self.between_tests.stop()
        self.engines.is_async = loop is not None
        if not all_in_sandbox:
            self._committed = self._create(self._template, "transaction")
        elif self._database is None:
            self._database = self._create(self._template)
        elif reset_sequences and self._database.sequences_when_new is None:
            self.drop()
            self._database = self._create(self._template)
        self._attach()
        self._leads_to = self._committed
        if reset_sequences and all_in_sandbox:
            self._restart_sequences()

    def start_test(self, test: str, isolation: str) -> None:
        """Make ready for ``test``."""
        if not self.between_tests.after_test:
            self._note_sequences()
        self.between_tests.finish(test, self.sandbox)
        if isolation == "transaction":
            self._lead_to(None)
            self.sandbox.start_test(test)
        else:
            if isolation not in self.copies:
                self.copies[isolation] = self._copy(isolation)
            self._lead_to(self.copies[isolation])

    def uncommitted(self) -> list[str]:
        """Return the statements of connections that have written and not committed."""
        if self._leads_to is None:
            return self.sandbox.uncommitted()
        return self._leads_to.uncommitted()

    def move_to(self, template: Database) -> None:
        """Let the test have a copy of another ``template``, with real transactions, to its end."""
        left, self.moved = self.moved, self._create(template, "transaction")
        self._lead_to(self.moved)
        if left is not None:
            drop_if_reached(left.drop)

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Open a synchronous connection to where engines lead now, in any thread.

        It is as migrations find one when they are deployed.
        """
        url = self.backend.driver_url(is_async=False)
        with ExitStack() as last:
            if self._leads_to is not None:
                engine = engine_around(url, self._leads_to.connect(is_async=False))
                last.callback(engine.dispose)
            elif self._loop is None:
                engine = self.engines.sync_engine
            else:
                engine = create_engine(url)
                last.enter_context(self.engines.redirect(engine))
            connection = last.enter_context(engine.connect())
            last.enter_context(self.backend.as_deployed(connection))
            yield connection

    def abandon_test(self, isolation: str) -> None:
        """Undo what a test did in the sandbox; its sessions may still be open."""
        if isolation == "transaction":
            self.sandbox.finish_test()

    def finish_test(self, isolation: str) -> None:
        """Undo what a test did in a copy; its sessions are closed."""
        self.between_tests.start()
        self.engines.take_back()
        if self.moved is not None:
            left, self.moved = self.moved, None
            self._lead_to(self._committed)
            drop_if_reached(left.drop)
        copy = self.copies.get(isolation)
        if copy is None:
            if self.engines.forwards and not self.backend.both_colours:
                self._disconnect(None)  # what a listener has set was taken back
            return
        assert self._committed is not None
        if not self.engines.keep_connections():
            self._lead_to(self._committed)
        restored = False
        try:
            restored = copy.restore(self._committed, reset_sequences=self._reset_sequences)
        except Exception:
            if not loses(self.backend):
                raise
            self.sandbox.intact = False
        finally:
            if not restored:
                self._lead_to(self._committed)
                drop_if_reached(self.copies.pop(isolation).drop)

    def of_committed(self, make: Callable[[Database], Database]) -> Database:
        """Return what ``make`` does of what is committed, which the sandbox leaves meanwhile."""
        committed = self._committed
        assert committed is not None
        self.sandbox.link.close()
        try:
            with _CREATING:
                return even_after_a_loss(lambda: make(committed))
        finally:
            self._attach()

    def close(self) -> None:
        """Undo what was done outside of tests and remove what only this class needed."""
        self.refusal = "The test class that this engine or session belongs to is done."
        with ExitStack() as last:
            last.callback(self.drop_copies)
            last.callback(self.sandbox.link.close)
            last.callback(self._disconnect, self._committed)
            last.callback(self._finish_class)

    def rebuild(self) -> None:
        """Replace the database, whose isolation was broken, with a new copy of the template."""
        all_in_sandbox = self._committed is None
        self.close()
        if all_in_sandbox:
            self.drop()
        self.open(
            all_in_sandbox=all_in_sandbox, loop=self._loop, reset_sequences=self._reset_sequences
        )

    def drop(self) -> None:
        """Remove the database."""
        if self._database is not None:
            drop_if_reached(self._database.drop)
            self._database = None

    def _finish_class(self) -> None:
        self.sandbox.finish_class()
        self.engines.take_back()
        self.sandbox.sequences = None

    def _note_sequences(self) -> None:
        """Note where sequences stand in the first test, behind what its class has written."""
        link = self.sandbox.link
        if self._reset_sequences:
            self.sandbox.sequences = link.call(link.sequences)
        elif self._committed is not None:
            self._committed_sequences = link.call(link.sequences)

    def _restart_sequences(self) -> None:
        """Let sequences stand where they did in the template, whatever class was here before."""
        link, database = self.sandbox.link, self.beneath_sandbox
        if database.sequences_when_new is None:
            database.sequences_when_new = link.call(link.sequences)
        else:
            link.call(link.restart_sequences, database.sequences_when_new)

    @property
    def beneath_sandbox(self) -> Database:
        """The database that the sandbox has a connection to."""
        database = self._committed or self._database
        assert database is not None
        return database

    def _attach(self) -> None:
        self.sandbox.attach(self.beneath_sandbox.link(self._loop))
        self.engines.link = self.sandbox.link

    def _create(self, original: Database, isolation: str = "") -> Database:
        with _CREATING:
            return even_after_a_loss(lambda: self.backend.create(original, isolation=isolation))

    def _copy(self, isolation: str) -> Database:
        """Return a copy of what is committed, to which nobody is connected meanwhile."""
        link = self.sandbox.link
        link.call(link.restart_sequences, self.sandbox.sequences or self._committed_sequences)
        self._disconnect(self._committed)
        return self.of_committed(partial(self.backend.create, isolation=isolation))

    def drop_copies(self) -> None:
        """Drop what was made for one class, and is still there if that could not be opened."""
        self._leads_to = None
        databases = [self._committed, *self.copies.values()]
        self.copies.clear()
        self._committed = None
        with ExitStack() as last:  # the copies first
            for database in filter(None, databases):
                last.callback(drop_if_reached, database.drop)

    def _lead_to(self, database: Database | None) -> None:
        if database is not self._leads_to:
            previous, self._leads_to = self._leads_to, database
            self._disconnect(previous)

    def _disconnect(self, database: Database | None) -> None:
        run = run_alone if self._loop is None else self._loop.run
        self.engines.close_connections(await_only if in_greenlet() else run)
        if database is not None:
            database.disconnect()

    def _admit(self) -> None:
        if self.refusal:
            raise NotReadyError(self.refusal)

    def _connect(self, is_async: bool) -> DBAPIConnection:
        if self._leads_to is not None:
            if is_async and not (self.backend.both_colours or in_greenlet()):
                raise missing_greenlet() or other_colour(caller())
            return self._leads_to.connect(is_async=is_async)
        return self.sandbox.link.stand_in(self.sandbox)  # type: ignore[no-any-return]
