"""The savepoints that are in the database, and the statements that put them there.

A savepoint that is over stays in the database until another one is made: its RELEASE goes
with the next SAVEPOINT, or never, where a ROLLBACK comes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from .statements import changes_data

if TYPE_CHECKING:
    from .link import Link


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


class Owner(Protocol):
    """A connection, as the sandbox knows it."""

    savepoints: list[Savepoint]
    opened_at: str
    failed: bool  # its transaction has been aborted, and it has to roll back

    def expire(self, test: str) -> None:
        """Refuse further work: the test that opened the transaction has ended."""


class SavepointStack:
    """The one transaction of a connection, and the savepoints in it, outermost first."""

    def __init__(self) -> None:
        self.link: Link
        self.began = False
        self.held: list[Savepoint] = []
        self.writers: dict[object, str] = {}  # who wrote outside of all savepoints, and what first
        self._noted: tuple[dict[object, str], str | None] | None = None  # of the last statement
        self._count = 0
        self._queue: list[str] = []  # statements to send with the next one
        self._to_release = ""  # the lowest savepoint in the database that is over
        self._spare = ""  # a savepoint in the database, above all others, with nothing in it

    @property
    def last(self) -> Savepoint | None:
        """The innermost savepoint."""
        return self.held[-1] if self.held else None

    def new(self, owner: object, name: str = "") -> Savepoint:
        """Return a savepoint that is not in the database yet."""
        return Savepoint(owner, self._identifier(), name)

    def begin(self) -> None:
        """Begin the transaction, with the next :meth:`flush`, unless it has begun."""
        if not self.began:
            self._queue.append("BEGIN")
            self.began = True

    def begin_at_once(self) -> None:
        """Begin the transaction."""
        self.begin()
        self.flush()

    def hold(self, savepoint: Savepoint) -> None:
        """Put ``savepoint`` into the database with the next :meth:`flush`."""
        if self._spare:
            savepoint.identifier, self._spare = self._spare, ""
        else:
            if self._to_release:
                self._queue.append(f"RELEASE SAVEPOINT {self._to_release}")
                self._to_release = ""
            self._queue.append(f"SAVEPOINT {savepoint.identifier}")
        savepoint.held = True
        self.held.append(savepoint)

    def guard(self, owner: object) -> None:
        """Hold a savepoint around one statement, which is over when the statement is."""
        savepoint = self.new(owner)
        savepoint.ended = True
        self.hold(savepoint)

    def undo(self, savepoint: Savepoint) -> None:
        """Roll back to ``savepoint``, which stays."""
        self._to_release = ""  # what was above is gone
        index = self.held.index(savepoint)
        for inner in self.held[index + 1 :]:
            inner.held = False
        del self.held[index + 1 :]
        savepoint.writers.clear()
        self._queue.append(f"ROLLBACK TO SAVEPOINT {savepoint.identifier}")
        self.flush()

    def is_clean(self, savepoint: Savepoint) -> bool:
        """Tell whether there is nothing to undo in ``savepoint``."""
        return savepoint is self.last and not savepoint.writers

    def release_ended(self) -> None:
        """Merge the savepoints that are over into the ones around them."""
        while self.held and self.held[-1].ended:
            released = self.held.pop()
            self._to_release = released.identifier
            released.held = False
            for writer, what in released.writers.items():
                if _says_more(what, self.innermost_writers.get(writer)):
                    self.innermost_writers[writer] = what

    def give_up_unwritten(self, owner: object) -> None:
        """Drop the innermost savepoints in which nothing was written, but those of ``owner``."""
        while self.held and not self.held[-1].writers and self.held[-1].owner is not owner:
            given_up = self.held.pop()
            self._spare, given_up.identifier = given_up.identifier, self._identifier()
            given_up.held = False

    def writes_of_others(self, owner: object, savepoint: Savepoint) -> Iterator[str]:
        """Yield what others than ``owner`` wrote inside ``savepoint``."""
        for held in self.held[self.held.index(savepoint) :]:
            for writer, what in held.writers.items():
                if writer is not owner:
                    yield what

    @property
    def innermost_writers(self) -> dict[object, str]:
        """Who writes in the innermost savepoint, or without any in the transaction."""
        return self.held[-1].writers if self.held else self.writers

    def note_write(self, owner: Owner, sql: str) -> None:
        """Note that ``owner`` is about to write."""
        writers = self.innermost_writers
        before = writers.get(owner)
        if _says_more(sql, before):
            writers[owner] = f"{sql.strip()}\n      on the connection opened at {owner.opened_at}"
            self._noted = writers, before

    def note_nothing(self) -> None:
        """Note that a statement begins, which has not written yet."""
        self._noted = None

    def forget_write(self, owner: Owner) -> None:
        """Take note that the last statement of ``owner`` changed nothing."""
        if self._noted is not None:
            writers, before = self._noted
            writers.pop(owner, None)
            if before is not None:
                writers[owner] = before
            self._noted = None

    def changes_since(self, savepoint: Savepoint | None, owner: object) -> list[str]:
        """Return what others than ``owner`` changed since ``savepoint``, or the beginning."""
        if savepoint is not None and savepoint.held:
            written = list(self.writes_of_others(owner, savepoint))
        else:
            inside = self.writes_of_others(owner, self.held[0]) if self.held else ()
            written = [*self.writers.values(), *inside]
        return [what for what in written if changes_data(what)]

    def uncommitted(self) -> list[str]:
        """Return what each connection in the middle of a transaction wrote first in it."""
        found = []
        for index, outermost in enumerate(self.held):
            owner: Any = outermost.owner
            if outermost in getattr(owner, "savepoints", ())[:1]:
                writers = (held.writers for held in self.held[index:])
                found += [writer[owner] for writer in writers if owner in writer][:1]
        return found

    def flush(self) -> None:
        """Send what is to be sent before the next statement."""
        self._spare = ""
        if self._queue:
            statements, self._queue = self._queue, []
            self.link.control(statements)

    def can_lose(self, owner: Owner) -> bool:
        """Tell whether nobody but ``owner``, since its own savepoint, wrote since the last one."""
        last = self.last
        if last is None or not last.writers:
            return last is not None
        return owner.savepoints[-1:] == [last] and last.writers.keys() <= {owner}

    def lost_by_failing(self, owner: Owner) -> Savepoint:
        """Return the innermost savepoint of ``owner``, or the one made for its last statement."""
        for own in owner.savepoints[-1:]:
            if own.held and not any(self.writes_of_others(owner, own)):
                return own
        last = self.held[-1]
        last.ended = False
        return last

    def roll_back(self) -> None:
        """End the transaction."""
        self._end("ROLLBACK")

    def commit(self) -> None:
        """End the transaction and keep what was done in it, whoever did not commit it."""
        self._end("COMMIT")

    def _end(self, how: str) -> None:
        if self.began:
            began_in_database = "BEGIN" not in self._queue
            self.forget()
            if began_in_database:
                self.link.control([how])

    def _identifier(self) -> str:
        self._count += 1
        return f"dbtestcase_{self._count}"

    def forget(self) -> None:
        """Take note that the transaction is gone."""
        for savepoint in self.held:
            savepoint.held = False
        self.held.clear()
        self.writers.clear()
        self._queue.clear()
        self._to_release = self._spare = ""
        self.began = False


def _says_more(what: str, before: str | None) -> bool:
    """Tell whether a connection that wrote ``before`` is to be known by ``what`` instead."""
    return before is None or (not changes_data(before) and changes_data(what))
