"""Whose a database on a PostgreSQL server is, and what becomes of it when that process is dead."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from .. import _version
from ..exceptions import BackendError
from .base import shown
from .leftover import Leftover
from .postgresql_errors import INSUFFICIENT_PRIVILEGE, lacks_privilege, quoted, remedy_of
from .server import PREFIX, ServerBackend

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_LOCKS = int.from_bytes(b"dbtc", "big")  # the class of our advisory locks
_DAY = 24 * 60 * 60
_KEPT_DAYS = 14
_OF_A_RUN = re.compile(rf"{PREFIX}_([0-9a-f]{{8}})_[0-9]+")
_BROKEN = -2  # the limit of connections that PostgreSQL sets when it begins to drop a database
_RIGHTS = text("SELECT rolname, rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user")
_STAY = text(  # from version 14 on
    "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
)
_MARKED = text(
    "SELECT datname, CASE datconnlimit WHEN :broken THEN 'broken'"
    " ELSE coalesce(shobj_description(oid, 'pg_database'), '') END FROM pg_database"
    " WHERE datname ~ :names AND datconnlimit IN (:mark, :broken)"
    " AND pg_get_userbyid(datdba) = current_user"
).bindparams(broken=_BROKEN, names=f"^{PREFIX}_([0-9a-f]{{8}}_[0-9]+|template_[0-9a-f]{{16}})$")


class OwnedDatabases(ServerBackend):
    """A server on which databases are told from others, and living owners from dead ones."""

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

    def _remove(self, name: str) -> None:
        self._await_departures(name)
        try:
            self._execute(f"DROP DATABASE {self.quoted(name)} WITH (FORCE)")
        except DBAPIError as error:
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
        if self.is_open():
            for name in self._ours():
                if _run_of(name) == self.token:
                    self.drop(name)
        super().close()

    def _enter(self, door: Connection) -> None:
        """Hold the lock that says we are alive, and drop what is nobody's any more."""
        door.execute(_STAY)  # an idle door keeps its lock
        self._lock_number(door, "pg_advisory_lock", int(self.token, 16))
        for name, comment in self._ours().items():
            with suppress(DBAPIError):  # somebody looks at it; a later run drops it
                if is_broken(comment):
                    self.drop(name)
                elif run := _run_of(name):
                    self._drop_if_dead(name, run)
                elif _is_old(comment):
                    with self._locked(name):
                        if _is_old(self._ours().get(name, "")):
                            self.drop(name)

    def _drop_if_dead(self, name: str, run: str) -> None:
        """Drop what the process of the token ``run`` has left, if it has died."""
        number = int(run, 16)
        if run != self.token and self._lock_number(self.door, "pg_try_advisory_lock", number):
            try:
                self.drop(name)
            finally:
                self._lock_number(self.door, "pg_advisory_unlock", number)

    def _await_departures(self, name: str) -> None:
        """Wait until the connections to ``name`` that we have closed are gone, if that is soon.

        PostgreSQL looks for them every tenth of a second only.
        """
        query = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name")
        for _ in range(100):
            if not self.door.scalar(query, {"name": name}):
                break
            time.sleep(0.001)

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
        comment = json.dumps({PREFIX: _version.VERSION, "used": today()})
        self._execute(f"COMMENT ON DATABASE {self.quoted(name)} IS '{comment}'")

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
        query = text(f"SELECT {function}({_LOCKS}, {number - (1 << 31)})")
        return door.execute(query).scalar()

    def _execute(self, sql: str) -> None:
        self.door.exec_driver_sql(sql)


def digest(*parts: str) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def today() -> int:
    return int(time.time() // _DAY)


def _run_of(name: str) -> str:
    """Return the token of the process that a database is of, empty for a template."""
    match = _OF_A_RUN.fullmatch(name)
    return match[1] if match else ""


def last_use(comment: str) -> int | None:
    """Return the day that :meth:`PostgreSQLBackend._note_use` has written down, if it has."""
    try:
        used = json.loads(comment)["used"]
    except (ValueError, TypeError, KeyError):
        return None
    return used if isinstance(used, int) else None


def is_broken(comment: str) -> bool:
    """Tell whether a process was killed while it dropped that database."""
    return comment == "broken"


def _is_old(comment: str) -> bool:
    used = last_use(comment)
    return used is not None and today() - used > _KEPT_DAYS
