"""Whose a database on a PostgreSQL server is, and what becomes of it when that process is dead."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, ClassVar

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ..exceptions import BackendError
from .base import shown
from .leftover import Leftover
from .losses import drop_if_reached
from .postgresql_drops import execute_together, has_clients, has_room, holds_roles
from .postgresql_errors import (
    INSUFFICIENT_PRIVILEGE,
    NO_DATABASE,
    lacks_privilege,
    quoted,
    remedy_of,
    sqlstate,
)
from .postgresql_use import is_broken, is_old, used_today
from .server import PREFIX, ServerBackend

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection

_LOCKS = int.from_bytes(b"dbtc", "big")  # the class of our advisory locks
_OF_A_RUN = re.compile(rf"{PREFIX}_([0-9a-f]{{8}})_[0-9]+")
_BROKEN = -2  # the limit of connections that PostgreSQL sets when it begins to drop a database
_RIGHTS = text("SELECT rolname, rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user")
_STAY = text(  # from version 14 on
    "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
)
_END_HOLDER = text(
    "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = database"
    " WHERE locktype = 'advisory' AND CAST(classid AS bigint) = :class AND objsubid = 2"
    " AND CAST(objid AS bigint) = :number AND datname = current_database() AND pid = :process"
).bindparams(**{"class": _LOCKS})
_MARKED = text(
    "SELECT datname, CASE datconnlimit WHEN :broken THEN 'broken'"
    " ELSE coalesce(shobj_description(oid, 'pg_database'), '') END FROM pg_database"
    " WHERE datname ~ :names AND datconnlimit IN (:mark, :broken)"
    " AND pg_get_userbyid(datdba) = current_user"
).bindparams(broken=_BROKEN, names=f"^{PREFIX}_([0-9a-f]{{8}}_[0-9]+|template_[0-9a-f]{{16}})$")


class OwnedDatabases(ServerBackend):
    """A server on which databases are told from others, and living owners from dead ones."""

    #: How many are dropped together, if to drop one takes long; until then they wait for others.
    drops_together: ClassVar[int] = 6

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        self._discarded: list[str] = []
        self._former = 0  # the server's process behind the door that was opened last

    @cached_property
    def door_digest(self) -> str:
        """What tells databases that were made through this door, by this user, from others."""
        return digest(*self.door.exec_driver_sql("SELECT current_database(), current_user").one())

    @property
    def birthmark(self) -> int:
        """The limit of connections that a database has which was made through this door."""
        return int(self.door_digest[:8], 16) % (1 << 30) + (1 << 30)

    @property
    def kept_mark(self) -> int:
        """The limit of one that is kept for the user instead, which is no birthmark."""
        return self.birthmark // 2

    def hand_over(self, name: str) -> None:
        """Let a database of ours be the user's, who alone drops it."""
        self._execute(f"ALTER DATABASE {self.quoted(name)} CONNECTION LIMIT {self.kept_mark}")

    def drop(self, name: str) -> None:
        """Drop a database that this process, or a dead one, created; no other."""
        if name in self._ours():
            self._remove(name)

    def discard(self, name: str) -> None:
        """Drop a database of this process, but not of its parent's, when others go or at once."""
        self.leave_to_parent()
        if _run_of(name) != self.token:
            return
        waits = self.drops_together > 1 and self._await_departures(name)
        if not waits or holds_roles(self.door, name):
            self.drop(name)
            return
        with self._lock:
            self._discarded.append(name)
            if len(self._discarded) >= self.drops_together:
                names, self._discarded = self._discarded, []
                self._drop_all([name for name in names if _run_of(name) == self.token])

    def _drop_all(self, names: Sequence[str]) -> None:
        """:meth:`drop` each of ``names``, even if that of another fails."""
        self._drop_together(names)
        with ExitStack() as last:
            for name in names:
                last.callback(self.drop, name)

    def _drop_together(self, names: Sequence[str]) -> None:
        """Drop those of ``names`` that are ours and can be dropped at the same time."""
        for start in range(0, len(names), self.drops_together):
            ours = self._ours().keys() & names[start : start + self.drops_together]
            if len(ours) > 1 and has_room(self.door):
                execute_together(self, map(self._dropping, ours))

    def _dropping(self, name: str) -> str:
        return f"DROP DATABASE {self.quoted(name)} WITH (FORCE)"

    def _remove(self, name: str) -> None:
        self._await_departures(name)
        try:
            self._execute(self._dropping(name))
        except DBAPIError as error:
            if sqlstate(error) == NO_DATABASE:
                return  # somebody else has dropped it
            if not lacks_privilege(error):
                raise
            # Only superusers may end processes of superusers, but these may leave by themselves.
            self._execute(f"DROP DATABASE {self.quoted(name)}")

    def checks(self) -> dict[str, Callable[[], str]]:
        return {**super().checks(), "rights": self._may_create}

    def _may_create(self) -> str:
        user, may = self.door.execute(_RIGHTS).one()
        if may:
            return f"{user} may create databases"
        raise BackendError(
            f"{user} may not create databases at {shown(self.url)}.\n"
            f"  To fix this, {remedy_of(INSUFFICIENT_PRIVILEGE).format(user=quoted(user))}."
        )

    def leftovers(self) -> Iterable[Leftover]:
        for name in self._ours():
            if not _run_of(name):
                yield Leftover(
                    "template", f"{name} at {shown(self.url)}", partial(self._remove_template, name)
                )
        for name in self._kept():
            yield Leftover("kept", f"{name} at {shown(self.url)}", partial(self._remove_kept, name))

    def _remove_template(self, template: str) -> None:
        with self._locked(template):
            self.drop(template)

    def close(self) -> None:
        with ExitStack() as last:
            last.callback(super().close)
            if self.is_open():
                drop_if_reached(self._drop_own)

    def _drop_own(self) -> None:
        self._drop_all([name for name in self._ours() if _run_of(name) == self.token])

    def _enter(self, door: Connection) -> None:
        """Hold the lock that says we are alive, and drop what is nobody's any more."""
        door.execute(_STAY)  # an idle door keeps its lock
        number = int(self.token, 16)
        if self.losses:  # of doors, which the server may not have heard of
            held = {"number": _second_key(number) % (1 << 32), "process": self._former}
            door.execute(_END_HOLDER, held)
        self._former = door.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
        self._lock_number(door, "pg_advisory_lock", number)
        of_runs: dict[str, list[str]] = {}
        for name, comment in self._ours().items():
            with suppress(DBAPIError, BackendError):  # somebody looks at it; a later run drops it
                if is_broken(comment):
                    self.drop(name)
                elif run := _run_of(name):
                    of_runs.setdefault(run, []).append(name)
                elif is_old(comment):
                    with self._locked(name):
                        if is_old(self._ours().get(name, "")):
                            self.drop(name)
        for run, names in of_runs.items():
            self._drop_if_dead(names, run)

    def _drop_if_dead(self, names: Sequence[str], run: str) -> None:
        """Drop what the process of the token ``run`` has left, if it has died."""
        number = int(run, 16)
        if run != self.token and self._lock_number(self.door, "pg_try_advisory_lock", number):
            try:
                self._drop_together(names)
                for name in names:
                    with suppress(DBAPIError, BackendError):
                        self.drop(name)
            finally:
                self._lock_number(self.door, "pg_advisory_unlock", number)

    def _await_departures(self, name: str) -> bool:
        """Wait until the connections to ``name`` that we have closed are gone, if that is soon.

        PostgreSQL looks for them every tenth of a second only. Return whether they are gone.
        """
        for _ in range(100):
            if not has_clients(self.door, name):
                return True
            time.sleep(0.001)
        return False

    def _remove_kept(self, name: str) -> None:
        """Remove what was kept, unless the user has done that.

        :raises BackendError: the server refuses to.
        """
        try:
            if name in self._kept():
                self._remove(name)
        except DBAPIError as error:
            raise BackendError(str(error.orig).strip()) from error

    def _ours(self) -> dict[str, str]:
        """Return the names of what was made through this door, and the comments on it."""
        return self._marked(self.birthmark)

    def _kept(self) -> dict[str, str]:
        """Return the same of what is kept for the user."""
        marked = self._marked(self.kept_mark).items()
        return {name: comment for name, comment in marked if not is_broken(comment)}

    def _marked(self, mark: object) -> dict[str, str]:
        rows = self.door.execute(_MARKED, {"mark": mark})
        return {name: comment for name, comment in rows}  # noqa: C416

    def _note_use(self, name: str) -> None:
        """Write down, for the day when nobody has used a template for long, that we did today."""
        self._execute(f"COMMENT ON DATABASE {self.quoted(name)} IS '{used_today(PREFIX)}'")

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Let one process of all that use the server work on the template ``name``."""
        number = int(name.rpartition("_")[2][:8], 16)
        with self._lock:
            self._lock_number(self.door, "pg_advisory_lock", number)
            try:
                yield
            finally:
                self._lock_number(self.door, "pg_advisory_unlock", number)

    def _lock_number(self, door: Connection, function: str, number: int) -> object:
        query = text(f"SELECT {function}({_LOCKS}, {_second_key(number)})")
        return door.execute(query).scalar()

    def _execute(self, sql: str) -> None:
        self.door.exec_driver_sql(sql)


def _second_key(number: int) -> int:
    """Return the second key of an advisory lock, which is a signed integer, for an unsigned one."""
    return number - (1 << 31)


def digest(*parts: str) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _run_of(name: str) -> str:
    """Return the token of the process that a database is of, empty for a template."""
    match = _OF_A_RUN.fullmatch(name)
    return match[1] if match else ""
