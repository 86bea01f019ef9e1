"""PostgreSQL servers, through psycopg, psycopg2 and asyncpg."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from .. import _version
from ..exceptions import BackendError
from .base import Database, DriverPackage, Features, shown
from .kept import kept
from .leftover import Kept
from .postgresql_database import PostgreSQLDatabase
from .postgresql_diagnostics import PostgreSQLDiagnostics
from .postgresql_drivers import DRIVERS, settings
from .postgresql_dump import copy_contents
from .postgresql_errors import (
    DUPLICATE_DATABASE,
    LED_ASTRAY,
    NAME_TAKEN,
    NO_TEMPLATE,
    NOT_CREATED,
    quoted,
    remedy_at_the_door,
    remedy_while_creating,
    sqlstate,
)
from .postgresql_ownership import OwnedDatabases, digest
from .postgresql_snapshot import write
from .postgresql_use import is_broken, last_use, today
from .server import LOCK_WAIT, PREFIX, Target

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Dialect

_SCHEMA = "dbtestcase_schema"
_INSTALL = "pip install 'dbtestcase[postgresql]'"
# DISCARD ALL, without what it says of prepared statements, which drivers keep for later.
_RESET = """
SET SESSION AUTHORIZATION DEFAULT; RESET ALL; CLOSE ALL; UNLISTEN *;
SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES
"""
_CONNECTED = text(
    "SELECT format('process %s (%s) of %s', pid, application_name, usename) FROM pg_stat_activity"
    " WHERE datname = :name ORDER BY pid"
)


class PostgreSQLBackend(OwnedDatabases):
    """``postgresql://user:password@host/database``: that database is only a door.

    The databases of tests are created beside it. Each is marked as ours when it is created, its
    name says of which process, and that holds an advisory lock for as long as it lives. Templates
    are kept for the next run: a database gets the name of one only when it is complete.
    """

    title = "PostgreSQL"
    features = Features(
        isolations=frozenset({"transaction", "truncation", "template", "schema"}),
    )
    parameters = ("in_place", *OwnedDatabases.parameters)
    timed_drivers = ("psycopg", "psycopg2")  # asyncpg has a limit of its own
    resets_connections = True
    impatience = ("SET LOCAL lock_timeout = '1s'",)
    diagnostics = PostgreSQLDiagnostics()
    sync_drivers = (
        DriverPackage("psycopg", "psycopg", _INSTALL),
        DriverPackage("psycopg2", "psycopg2", "pip install psycopg2-binary"),
    )
    async_drivers = (
        DriverPackage("asyncpg", "asyncpg", _INSTALL, is_async=True),
        DriverPackage("psycopg", "psycopg", _INSTALL, is_async=True),
    )

    def template(
        self, fingerprint: str, build: Callable[[Connection], None], *, rebuild: bool = False
    ) -> Database:
        name = self._template_name(fingerprint)
        with self._locked(name):
            if rebuild:
                self.drop(name)
            self._ensure(name, build)
        return PostgreSQLDatabase(self, Target(name), build, kept=True)

    def create(self, original: Any, *, isolation: str = "") -> Database:
        original.leave()  # nobody may be connected to what is cloned
        name = self.new_name()
        self._clone(original, name)
        schemas = (_SCHEMA, "public") if isolation == "schema" else ()
        database = PostgreSQLDatabase(self, Target(name, *schemas), original.build)
        if isolation not in ("", "transaction"):
            database.track()
        return database

    def snapshot(self, database: Any, original: Any) -> Database:
        schemas = database.target.schemas
        copy: Any
        try:
            changed = database.changed()
        except BackendError as error:
            name = self.new_name()
            self._create(name, "template0")
            copy = PostgreSQLDatabase(self, Target(name, *schemas), database.build)
            fill = partial(self._dump, database, copy, because=error)
        else:
            copy = self.create(original, isolation="schema" if schemas else "truncation")
            fill = partial(write, changed, copy.query)
        try:
            fill()
        except BaseException:
            copy.drop()
            raise
        return copy  # type: ignore[no-any-return]

    def _dump(self, database: Any, copy: Any, *, because: BackendError) -> None:
        """Let an empty ``copy`` contain what is in ``database``, as nobody knows what changed."""
        number = self.door.exec_driver_sql("SHOW server_version_num").scalar_one()
        where = {name: str(value) for name, value in self.connect_arguments(self.dialect).items()}
        url = self.url.update_query_dict(where)
        try:
            copy_contents(url, database.target.name, copy.target.name, int(number) // 10_000)
        except BackendError as error:
            raise BackendError(f"{because}, and {error}") from error
        copy.query("DROP SCHEMA IF EXISTS dbtestcase CASCADE")

    def build_in(self, target: Target, build: Callable[[Connection], None]) -> None:
        def build_there(connection: Connection) -> None:
            found = connection.exec_driver_sql("SELECT current_database()").scalar_one()
            if found != target.name:
                raise BackendError(
                    LED_ASTRAY.format(name=target.name, url=shown(self.url), found=found)
                )
            build(connection)

        super().build_in(target, build_there)

    def target_arguments(self, dialect: Dialect, target: Target) -> dict[str, Any]:
        """Return what a database that is not ours alone does not set for its connections itself."""
        if not target.schemas:
            return {}
        arguments = settings(
            dialect.driver, search_path=",".join(target.schemas), lock_timeout=f"{LOCK_WAIT}s"
        )
        if "options" in arguments and "options" in self.url.query:
            arguments["options"] += f" {self.url.query['options']}"
        return arguments

    def reset_connection(self, connection: Any, *, is_async: bool) -> None:
        driver = self.source(is_async=is_async).dialect.driver
        DRIVERS[driver, is_async].control(connection, _RESET)
        connection.commit()

    def remedy(self, reason: str) -> str:
        return remedy_at_the_door(reason) or super().remedy(reason)

    def keep(self, target: Target) -> Kept:
        """Let the database ``target`` stay, which nobody but the user will drop."""
        self.hand_over(target.name)
        if target.schemas:
            path = ", ".join(map(self.quoted, target.schemas))
            self._execute(f"ALTER DATABASE {self.quoted(target.name)} SET search_path = {path}")
        options = self._command_options()
        return kept(["psql", *options, target.name], ["dropdb", *options, target.name])

    def _command_options(self) -> list[str]:
        """Return the options of PostgreSQL's commands that say where the server is."""
        host = self.url.host or self.url.query.get("host")
        named = {"-h": host, "-p": self.url.port, "-U": self.url.username}
        return [str(one) for pair in named.items() if pair[1] for one in pair]

    def _ensure(self, name: str, build: Callable[[Connection], None]) -> None:
        """Build the template ``name``, which is locked, if it is not there."""
        ours = self._ours()
        if name in ours and is_broken(ours[name]):
            self.drop(name)
            del ours[name]
        if name not in ours:
            self._build(name, build)
        elif last_use(ours[name]) != today():
            self._note_use(name)

    def _build(self, name: str, build: Callable[[Connection], None]) -> None:
        """Make a template, which has the name of one only when it is complete."""
        unfinished = self.new_name()
        self._fill(unfinished, build)
        self._note_use(unfinished)
        self._await_departures(unfinished)
        try:
            self._execute(f"ALTER DATABASE {self.quoted(unfinished)} RENAME TO {self.quoted(name)}")
        except BaseException as error:
            self.drop(unfinished)
            if sqlstate(error) != DUPLICATE_DATABASE:
                raise
            raise BackendError(NAME_TAKEN.format(name=name, url=shown(self.url))) from error

    def _fill(self, name: str, build: Callable[[Connection], None]) -> None:
        self._create(name, "template1")
        try:
            self.build_in(Target(name), build)
        except BaseException:
            self.drop(name)
            raise

    def _clone(self, original: Any, name: str) -> None:
        template = original.target.name
        try:
            self._create(name, template)
        except BackendError as error:
            if not original.kept or sqlstate(error.__cause__) not in NO_TEMPLATE:
                raise
            with self._locked(template):  # another process has dropped it, to build it anew
                self._ensure(template, original.build)
                self._create(name, template)

    def _create(self, name: str, original: str) -> None:
        """Create a database, which is marked as ours from its first moment.

        A limit of so many connections is none, but PostgreSQL keeps it together with the name.
        """
        door = self.door
        self._await_departures(original)
        try:
            door.exec_driver_sql(
                f"CREATE DATABASE {self.quoted(name)} TEMPLATE {self.quoted(original)}"
                f" CONNECTION LIMIT {self.birthmark}{self._strategy(door)}"
            )
        except DBAPIError as error:
            raise self._not_created(name, original, error) from error
        door.exec_driver_sql(
            f"ALTER DATABASE {self.quoted(name)} SET lock_timeout = '{LOCK_WAIT}s'"
        )

    def _not_created(self, name: str, original: str, error: DBAPIError) -> BackendError:
        user, connected = self.url.username, ""
        if not error.connection_invalidated:
            user = self.door.exec_driver_sql("SELECT current_user").scalar()
            connected = ", ".join(self.door.scalars(_CONNECTED, {"name": original}))
        about = {"user": quoted(user), "original": original, "connected": connected}
        remedy = remedy_while_creating(error, **about)
        return BackendError(
            NOT_CREATED.format(
                **about, name=name, url=shown(self.url), error=error.orig, remedy=remedy
            )
        )

    def _strategy(self, door: Connection) -> str:
        """Return a clause that makes cloning faster, if any does."""
        return ""

    def _template_name(self, fingerprint: str) -> str:
        server = self.door.exec_driver_sql("SHOW server_version").scalar_one()
        return (
            f"{PREFIX}_template_{digest(fingerprint, server, self.door_digest, _version.VERSION)}"
        )


def postgresql_backend(url: URL) -> PostgreSQLBackend:
    """Return the backend for a server, or with ``?in_place=on`` for one database of it."""
    if "in_place" not in url.query:
        return PostgreSQLBackend(url)
    from .postgresql_in_place import InPlaceBackend

    return InPlaceBackend(url)
