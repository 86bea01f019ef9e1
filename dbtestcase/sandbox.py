"""The transaction that a test lives in, shared by all of the test's connections.

The vocabulary is that of Ecto's SQL sandbox. One real connection holds one real
transaction. Every connection that the test or the application opens keeps a stack of
savepoints in it: one for its own transaction, one for each nested one. A savepoint
reaches the database only when its connection is about to write, so that a connection
which has only read holds nothing open.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from .exceptions import IsolationError
from .violations import interleaved, transaction_ended, was_swallowed

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection


class Owner(Protocol):
    """A connection, as the sandbox knows it."""

    savepoints: list[Savepoint]
    opened_at: str

    def expire(self, test: str) -> None:
        """Refuse further work: the test that opened the transaction has ended."""


class Savepoint:
    """A transaction of ``owner`` or, with a ``name``, a savepoint that the owner asked for."""

    __slots__ = ("ended", "held", "identifier", "name", "owner", "writers")

    def __init__(self, owner: object, identifier: str, name: str = "") -> None:
        self.owner = owner
        self.identifier = identifier
        self.name = name
        self.held = False  # is it in the database?
        self.ended = False  # committed or released, though it may still be in the database
        self.writers: dict[object, str] = {}  # who wrote inside it, and what first


class Driver(Protocol):
    """What the sandbox asks of a backend; see :class:`dbtestcase.backends.base.Backend`."""

    def error(self, message: str) -> Exception: ...

    def reads(self, sql: str) -> bool: ...

    def changes(self, connection: DBAPIConnection) -> int: ...

    def in_transaction(self, connection: DBAPIConnection) -> bool: ...

    def check_deferred_constraints(self, connection: DBAPIConnection) -> None: ...


class Sandbox:
    """One transaction on ``connection``, in which many connections keep their own.

    Between :meth:`start_test` and :meth:`finish_test` all work belongs to the test.
    Work outside them (class data, ``setUpClass``) opens a transaction of the class,
    which encloses the tests and ends with :meth:`finish_class`.
    """

    def __init__(self, connection: DBAPIConnection, driver: Driver) -> None:
        self.driver = driver
        self.lock = threading.RLock()
        self.attach(connection)
        self._began = False
        self._test = ""
        self._test_savepoint: Savepoint | None = None
        self._held: list[Savepoint] = []
        self._owners: dict[int, Owner] = {}
        self._count = 0
        self._noted: Savepoint | None = None  # where the statement was noted as a write
        self._violations: list[IsolationError] = []

    def attach(self, connection: DBAPIConnection) -> None:
        """Work on ``connection``, to a clean database, from now on."""
        self.connection = connection
        self.intact = True
        self._execute: Callable[[str], object] = connection.cursor().execute

    # The phases of class and test

    def start_test(self, test: str) -> None:
        """Begin ``test``: nested in the class's transaction where there is one."""
        with self.lock:
            self._test = test
            self._violations.clear()
            if self._began:
                self._test_savepoint = self.savepoint(self)
                self._hold(self._test_savepoint)
                self._test_savepoint.writers[self] = "the test itself"

    def finish_test(self) -> None:
        """Undo all that the test did.

        :raises TransactionEndedError: the transaction had been ended from elsewhere.
        :raises IsolationError: an earlier violation that the application swallowed.
        """
        with self.lock:
            self._expire_owners()
            try:
                self.check_intact()
                if self._test_savepoint is not None and self._test_savepoint.held:
                    self._undo(self._test_savepoint)
                    self._test_savepoint.ended = True
                    self._release_ended()
                else:
                    self._roll_back()
            finally:
                self._test = ""
                self._test_savepoint = None
            violations = self._violations.copy()
        if violations and all(map(was_swallowed, violations)):
            raise violations[0]

    def finish_class(self) -> None:
        """Undo what was done outside the tests: class data and ``setUpClass``."""
        with self.lock:
            self._expire_owners()
            self.check_intact()
            self._roll_back()

    def check_intact(self) -> None:
        """Raise if the transaction that should be open no longer is."""
        if self._began and not self.driver.in_transaction(self.connection):
            self.intact = self._began = False
            for savepoint in self._held:
                savepoint.held = False
            self._held.clear()
            raise self._violate(transaction_ended(self._where()))

    # What connections do

    def savepoint(self, owner: object, name: str = "") -> Savepoint:
        """Return a new savepoint for ``owner``, not yet in the database."""
        self._count += 1
        return Savepoint(owner, f"dbtestcase_{self._count}", name)

    def start_statement(self) -> None:
        """Forget what was noted for the statement before."""
        self._noted = None

    def enter(self, owner: Owner) -> None:
        """Note that ``owner`` is in the middle of a transaction, if only reading."""
        self._owners[id(owner)] = owner

    def leave(self, owner: Owner) -> None:
        """Note that ``owner`` has ended its transaction."""
        self._owners.pop(id(owner), None)

    def prepare_write(self, owner: Owner, sql: str) -> None:
        """Put the savepoints of ``owner`` into the database before it executes ``sql``."""
        self._give_up_unwritten(owner)
        if not self._began:
            self._execute("BEGIN")
            self._began = True
        for savepoint in owner.savepoints:
            if not savepoint.held:
                self._hold(savepoint)
        if self._held and owner not in self._held[-1].writers:
            what = f"{sql.strip()}\n      on the connection opened at {owner.opened_at}"
            self._held[-1].writers[owner] = what
            self._noted = self._held[-1]
            self._changes = self.driver.changes(self.connection)

    def forget_write(self, owner: Owner) -> None:
        """Take back what :meth:`prepare_write` noted for a statement that changed nothing."""
        unchanged = self._noted and self._changes == self.driver.changes(self.connection)
        if self._noted is not None and unchanged:
            self._noted.writers.pop(owner, None)
            self._noted = None

    def commit(self, owner: Owner) -> None:
        """End the transaction of ``owner`` and keep its work."""
        if owner.savepoints and owner.savepoints[0].held:
            self.driver.check_deferred_constraints(self.connection)
        self.release(owner, 0)
        self.leave(owner)

    def release(self, owner: Owner, index: int) -> None:
        """End the savepoints of ``owner`` from ``index`` on and keep their work."""
        for savepoint in owner.savepoints[index:]:
            savepoint.ended = True
        del owner.savepoints[index:]
        self._release_ended()

    def roll_back(self, owner: Owner) -> None:
        """End the transaction of ``owner`` and undo its work."""
        try:
            if owner.savepoints:
                self.roll_back_to(owner, 0)
        finally:
            self.release(owner, 0)
            self.leave(owner)

    def roll_back_to(self, owner: Owner, index: int) -> None:
        """Undo what ``owner`` did since its savepoint ``index``, which stays open.

        :raises InterleavedTransactionsError: the work of another connection is in between.
        """
        savepoint = owner.savepoints[index]
        if savepoint.held:
            inside = self._held[self._held.index(savepoint) :]
            for held in inside:
                for writer, what in held.writers.items():
                    if writer is not owner:
                        mine = next(iter(savepoint.writers.values()), "(nothing yet)")
                        raise self._violate(interleaved(self._where(), mine, what))
            self._undo(savepoint)
        del owner.savepoints[index + 1 :]

    # What reaches the database

    def _hold(self, savepoint: Savepoint) -> None:
        self._execute(f"SAVEPOINT {savepoint.identifier}")
        savepoint.held = True
        self._held.append(savepoint)

    def _undo(self, savepoint: Savepoint) -> None:
        self._execute(f"ROLLBACK TO SAVEPOINT {savepoint.identifier}")
        index = self._held.index(savepoint)
        for inner in self._held[index + 1 :]:
            inner.held = False
        del self._held[index + 1 :]
        savepoint.writers.clear()

    def _release_ended(self) -> None:
        while self._held and self._held[-1].ended:
            released = self._held.pop()
            self._execute(f"RELEASE SAVEPOINT {released.identifier}")
            released.held = False
            if self._held:
                for writer, what in released.writers.items():
                    self._held[-1].writers.setdefault(writer, what)

    def _give_up_unwritten(self, owner: Owner) -> None:
        while self._held and not self._held[-1].writers and self._held[-1].owner is not owner:
            given_up = self._held.pop()
            self._execute(f"RELEASE SAVEPOINT {given_up.identifier}")
            given_up.held = False

    def _roll_back(self) -> None:
        self._held.clear()
        if self._began:
            self._began = False
            self._execute("ROLLBACK")

    def _expire_owners(self) -> None:
        for owner in self._owners.values():
            owner.expire(self._where())
        self._owners.clear()

    def _where(self) -> str:
        return self._test or "the set-up of the class"

    def _violate(self, error: IsolationError) -> IsolationError:
        self._violations.append(error)
        return error
