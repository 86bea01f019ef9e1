"""PostgreSQL for users that may not create databases: schemas of our own in one for tests."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from ..exceptions import BackendError, OptionError
from .base import Database, Features, shown
from .kept import kept
from .leftover import Kept
from .postgresql import PostgreSQLBackend
from .postgresql_database import PostgreSQLDatabase, note_sequences
from .postgresql_errors import LOCK_NOT_AVAILABLE, lacks_privilege, quoted, sqlstate
from .server import LOCK_WAIT, PREFIX, Target

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection

    from ..event_loop import ClassLoop
    from ..link import Link

_MAY_NOT_CREATE = """\
The user {user} may not create schemas in the database {database}.
  To fix this, let its owner say: GRANT CREATE ON DATABASE {database} TO {user}"""
_IN_USE = """\
The schema {name} in the database {database} could not be dropped, as somebody works in it.
  To fix this, end what is connected to it; the next run drops the schema."""
_MARKED = text(
    "SELECT nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace"
    " WHERE nspname LIKE :names AND obj_description(oid, 'pg_namespace') = :mark"
    " AND pg_get_userbyid(nspowner) = current_user"
)


class InPlaceBackend(PostgreSQLBackend):
    """``postgresql://user@host/app_test?in_place=on``: works inside that database.

    It makes schemas with a comment that marks them as ours, looks into nothing else, and drops
    them at the end. Nothing is kept for the next run.
    """

    title = "PostgreSQL in place"
    features = Features(isolations=frozenset({"transaction"}), schemas=False, clones=False)
    drops_together = 1  # what it drops are schemas

    def __init__(self, url: URL) -> None:
        if url.query["in_place"] != "on":
            raise OptionError(f"database = '{shown(url)}': write in_place=on, or leave it away")
        _check_name(url, url.database or "")
        super().__init__(url.difference_update_query(["in_place"]))

    def template(
        self, fingerprint: str, build: Callable[[Connection], None], *, rebuild: bool = False
    ) -> Database:
        mark = self._mark()
        name = self.new_name()
        try:  # both at once, so that none is ever without its mark
            self._execute(
                f"CREATE SCHEMA {self.quoted(name)};"
                f" COMMENT ON SCHEMA {self.quoted(name)} IS '{mark}'"
            )
        except ProgrammingError as error:
            if not lacks_privilege(error):
                raise
            raise BackendError(
                _MAY_NOT_CREATE.format(
                    user=quoted(self.url.username), database=quoted(self.url.database)
                )
            ) from error
        target = Target(str(self.url.database), name)
        try:
            self.build_in(target, build)
        except BaseException:
            self.drop(name)
            raise
        return InPlaceDatabase(self, target, build)

    def checks(self) -> dict[str, Callable[[], str]]:
        checks = super().checks()
        del checks["rights"]  # to create databases
        return checks

    def create(self, original: Any, *, isolation: str = "") -> Database:
        if original.lent:
            return self.create(self.template("", original.build))
        original.lent = True
        database: Database = original
        return database

    def keep(self, target: Target) -> Kept:
        [name] = target.schemas
        self._execute(f"COMMENT ON SCHEMA {self.quoted(name)} IS '{self._kept_mark()}'")
        psql = ["psql", *self._command_options(), str(self.url.database)]
        return kept(
            ["env", f"PGOPTIONS=-csearch_path={name}", *psql],
            [*psql, "-c", f"DROP SCHEMA {self.quoted(name)} CASCADE"],
        )

    def _enter(self, door: Connection) -> None:
        _check_name(self.url, door.exec_driver_sql("SELECT current_database()").scalar_one())
        # Before the first test, no schema of a dead process is worth waiting for.
        door.exec_driver_sql("SET lock_timeout = '1s'")
        super()._enter(door)
        door.exec_driver_sql(f"SET lock_timeout = '{LOCK_WAIT}s'")

    def _ours(self) -> dict[str, str]:
        return self._marked(self._mark())

    def _kept(self) -> dict[str, str]:
        return self._marked(self._kept_mark())

    def _marked(self, mark: object) -> dict[str, str]:
        rows = self.door.execute(_MARKED, {"names": PREFIX + "\\_%", "mark": mark})
        return {name: comment for name, comment in rows}  # noqa: C416

    def _remove(self, name: str) -> None:
        """Drop it.

        :raises BackendError: somebody uses it for too long.
        """
        try:
            self._execute(f"DROP SCHEMA {self.quoted(name)} CASCADE")
        except DBAPIError as error:
            if sqlstate(error) != LOCK_NOT_AVAILABLE:
                raise
            raise BackendError(_IN_USE.format(name=name, database=self.url.database)) from error

    def _mark(self) -> str:
        return f"{PREFIX} {self.door_digest}"

    def _kept_mark(self) -> str:
        return f"{PREFIX} kept {self.door_digest}"


class InPlaceDatabase(PostgreSQLDatabase):
    """A schema that is a template, and the database of one test class after the other."""

    lent = False

    def link(self, loop: ClassLoop | None) -> Link:
        link = super().link(loop)
        note_sequences(self, link)
        return link

    def drop(self) -> None:
        self.leave()
        if not self.kept:
            self._backend.drop(self.target.schemas[0])


def _check_name(url: URL, name: str) -> None:
    if not re.search(r"(^|[^a-z])tests?([^a-z]|$)", name, re.IGNORECASE):
        raise OptionError(
            f"database = '{shown(url)}': in_place=on is for databases whose name says test, such "
            f"as {name or 'app'}_test"
        )
