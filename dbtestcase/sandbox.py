"""The transaction that a test lives in, shared by all of the test's connections.

The vocabulary is that of Ecto's SQL sandbox. One real connection holds one real transaction. Every
connection that the test or the application opens keeps a stack of savepoints in it: one for its own
transaction, one for each nested one. A savepoint reaches the database only when its connection is
about to write, so that a connection which has only read holds nothing open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from . import violations
from .exceptions import IsolationError
from .savepoints import Owner, Savepoint, SavepointStack

if TYPE_CHECKING:
    from .link import Link


class Sandbox:
    """One transaction on one connection, in which many connections keep their own.

    Between :meth:`start_test` and :meth:`finish_test` all work belongs to the test.
    Work outside them (class data, ``setUpClass``) opens a transaction of the class,
    which encloses the tests and ends with :meth:`finish_class`.

    On a database where a failed statement aborts the transaction, a savepoint is in the
    database before every statement that has something to lose: that of its connection, or,
    where others have written since, a guard that belongs to nobody.
    """

    def __init__(self) -> None:
        self.link: Link
        self.intact = True
        self.sequences: object = None  # where they stand at the start of each test, if they do
        self._stack = SavepointStack()
        self.uncommitted = self._stack.uncommitted
        self.test = ""  # which one runs
        self.test_savepoint: Savepoint | None = None  # if there is a transaction of the class
        self._owners: dict[int, Owner] = {}
        self._changes = 0  # of the connection, when the statement was noted as a write
        self._tested = False  # has a test of the class ended?
        self._violations: list[IsolationError] = []

    def attach(self, link: Link) -> None:
        """Work on the connection of ``link``, to a clean database, from now on."""
        self.link = self._stack.link = link
        self.intact = True

    # The phases of class and test

    def undo_changes(self) -> list[str]:
        """Undo what was changed since the last test, if there was one, and return it."""
        changes = self._stack.changes_since(self.test_savepoint, self) if self._tested else []
        if changes:
            self._expire_owners()
            self.link.call(self._undo_test)
        return changes

    def start_test(self, test: str) -> None:
        """Begin ``test``: nested in the class's transaction where there is one."""
        self.test = test
        self._violations.clear()
        self.link.start_test()
        if self._stack.began:
            self.link.call(self._hold_test)

    def finish_test(self) -> None:
        """Undo all that the test did.

        :raises TransactionEndedError: the transaction had been ended from elsewhere.
        :raises IsolationError: an earlier violation that the application swallowed.
        """
        self._expire_owners()
        try:
            if self._stack.began:
                self.link.call(self._undo_test)
        finally:
            self.test, self._tested = "", True
        if self._violations and all(map(violations.was_swallowed, self._violations)):
            raise self._violations[0]

    def finish_class(self) -> None:
        """Undo what was done outside the tests: class data and ``setUpClass``."""
        self._expire_owners()
        self.test_savepoint = None
        self._tested = False
        if self._stack.began:
            self.link.call(self._roll_back)

    def commit_for_good(self) -> None:
        """Commit what the test and the set-up of its class did; a new database has to follow."""
        self.intact = False
        self.link.call(self._stack.commit)

    def check_intact(self) -> None:
        """Raise if the transaction that should be open no longer is, though the connection is."""
        if self._stack.began and not (self.link.in_transaction() or self.link.is_lost):
            raise self._ended()

    # What connections do

    def savepoint(self, owner: object, name: str = "") -> Savepoint:
        """Return a new savepoint for ``owner``, not yet in the database."""
        return self._stack.new(owner, name)

    def enter(self, owner: Owner) -> None:
        """Note that ``owner`` is in the middle of a transaction, if only reading."""
        self._owners[id(owner)] = owner

    def leave(self, owner: Owner) -> None:
        """Note that ``owner`` has ended its transaction."""
        self._owners.pop(id(owner), None)

    def begin(self) -> None:
        """Begin the transaction now, for work that does not pass through a stand-in."""
        if not self._stack.began:
            self.link.call(self._stack.begin_at_once)

    def start_statement(self, owner: Owner, sql: str, *, reads: bool) -> None:
        """Make sure that what ``owner`` is about to execute can be undone.

        :param reads: it certainly writes nothing.
        :raises IsolationError: it cannot, for instance because it would commit.
        """
        self._stack.note_nothing()
        if self.link.ends_transaction(sql):
            raise self._violate(
                violations.would_end_transaction(self._where(), sql, owner.opened_at)
            )
        if self.link.escapes(sql, reads=reads):
            raise self._violate(violations.would_escape(self._where(), sql, owner.opened_at))
        if not reads:
            self._prepare_write(owner, sql)
        elif self.link.aborts and not self._stack.can_lose(owner):
            self._stack.begin()
            self._stack.hold(self.savepoint(self))  # which stays, to guard what is read next
        self._stack.flush()
        self._changes = self.link.changes()

    def finish_statement(self, owner: Owner, *, changed_rows: bool) -> None:
        """Note that ``owner`` has executed its statement."""
        if not changed_rows and self._changes == self.link.changes():
            self._stack.forget_write(owner)
        self._stack.release_ended()

    def fail_statement(self, owner: Owner, error: BaseException) -> None:
        """Note that the statement of ``owner`` failed with ``error``.

        :raises TransactionEndedError: and that the database rolled back the transaction.
        """
        self.check_intact()
        if self.link.is_lost:
            return
        if self.link.was_aborted(error):
            owner.failed = bool(owner.savepoints)
            self._stack.undo(self._stack.lost_by_failing(owner))
        else:
            self.finish_statement(owner, changed_rows=self.link.aborts)

    def commit(self, owner: Owner) -> None:
        """End the transaction of ``owner`` and keep its work."""
        if owner.failed:
            self.roll_back(owner)
            return
        if owner.savepoints and owner.savepoints[0].held and self.link.defers_constraints():
            self._check_deferred_constraints(owner)
        self.release(owner, 0)
        self.leave(owner)

    def release(self, owner: Owner, index: int) -> None:
        """End the savepoints of ``owner`` from ``index`` on and keep their work."""
        for savepoint in owner.savepoints[index:]:
            savepoint.ended = True
        del owner.savepoints[index:]
        self._stack.release_ended()

    def roll_back(self, owner: Owner) -> None:
        """End the transaction of ``owner`` and undo its work."""
        try:
            if owner.savepoints and not self.link.is_lost:
                self.roll_back_to(owner, 0)
                owner.savepoints.pop().owner = self  # and is there for whoever writes next
        finally:
            owner.failed = False
            self.release(owner, 0)
            self.leave(owner)

    def roll_back_to(self, owner: Owner, index: int) -> None:
        """Undo what ``owner`` did since its savepoint ``index``, which stays open.

        :raises InterleavedTransactionsError: the work of another connection is in between.
        """
        savepoint = owner.savepoints[index]
        if savepoint.held and not self._stack.is_clean(savepoint):
            for what in self._stack.writes_of_others(owner, savepoint):
                mine = next(iter(savepoint.writers.values()), "(nothing yet)")
                raise self._violate(violations.interleaved(self._where(), mine, what))
            self._stack.undo(savepoint)
        owner.failed = False
        del owner.savepoints[index + 1 :]

    def _prepare_write(self, owner: Owner, sql: str) -> None:
        self._stack.give_up_unwritten(owner)
        self._stack.begin()
        for savepoint in owner.savepoints:
            if not savepoint.held:
                self._stack.hold(savepoint)
        if self.link.aborts and not (owner.savepoints and self._stack.can_lose(owner)):
            self._stack.guard(self)
        self._stack.note_write(owner, sql)

    def _check_deferred_constraints(self, owner: Owner) -> None:
        if self.link.aborts and not self._stack.can_lose(owner):
            self._stack.guard(self)
            self._stack.flush()
        try:
            self.link.check_deferred_constraints()
        except BaseException as error:
            if self.link.aborts:
                self.fail_statement(owner, error)
                self.roll_back(owner)
            raise

    def _hold_test(self) -> None:
        last = self._stack.last
        if last is None or last is not self.test_savepoint or len(last.writers) > 1:
            last = self.test_savepoint = self.savepoint(self)
            self._stack.hold(last)
            self._stack.flush()
        last.writers[self] = "the test itself"

    def _undo_test(self) -> None:
        if self.test_savepoint is not None and self.test_savepoint.held:
            self._undo(self._stack.undo, self.test_savepoint)
            self.test_savepoint.writers[self] = "the test itself"
        else:
            self._undo(self._stack.roll_back)
        self.intact = not self.link.is_lost and self.link.end_test() and self.intact
        if self.sequences is not None and self.intact:
            self.link.restart_sequences(self.sequences)

    def _roll_back(self) -> None:
        self._undo(self._stack.roll_back)
        self.intact = not self.link.is_lost and self.link.end_class() and self.intact

    def _undo(self, undo: Callable[..., None], *args: Savepoint) -> None:
        self.check_intact()
        try:
            undo(*args)
        except Exception as error:  # as in a transaction that somebody else has begun
            ended = self._ended()
            if not self.link.is_lost:
                raise ended from error

    def _ended(self) -> IsolationError:
        self.intact = False
        self._stack.forget()
        self.link.lose_transaction()
        return self._violate(violations.transaction_ended(self._where()))

    def _expire_owners(self) -> None:
        for owner in list(self._owners.values()):
            owner.expire(self._where())
        self._owners.clear()

    def _where(self) -> str:
        return self.test or "the set-up of the class"

    def _violate(self, error: IsolationError) -> IsolationError:
        self._violations.append(error)
        return error
