"""MariaDB and MySQL servers, through PyMySQL, mysqlclient, asyncmy and aiomysql."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from .. import _version
from ..exceptions import BackendError
from .base import Database, DriverPackage, Features, shown
from .kept import kept
from .leftover import Kept, Leftover
from .mysql_copies import settled
from .mysql_database import MySQLDatabase, MySQLTemplate
from .mysql_diagnostics import MySQLDiagnostics
from .mysql_door import MySQLDoor
from .mysql_errors import is_denied, may_not, server_called
from .mysql_pool import Build, Pool, copies_of, stem_of
from .mysql_registry import KEPT, READY, UNFINISHED, Registry, Row
from .server import PREFIX, Target

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Dialect
    from sqlalchemy.engine.interfaces import DBAPIConnection

_INSTALL = "pip install 'dbtestcase[mysql]'"
_KEPT_DAYS = 14
_MONTH = 2147483  # seconds, the most that every server takes for wait_timeout
_SETTINGS = (
    "SELECT VERSION(), @@character_set_database, @@collation_database, @@sql_mode,"
    " @@default_storage_engine, @@lower_case_table_names"
)


class MySQLBackend(MySQLDoor):
    """``mariadb://user:password@host/database`` or ``mysql://``: that database is only a door.

    The databases of tests are created beside it and noted in a registry. These servers cannot clone
    a database, so what has been built is kept for the next run and lent to one process at a time:
    templates for work that ends with a rollback, and copies, which are emptied afterwards, for work
    that really commits.
    """

    title = "MariaDB/MySQL"
    features = Features(
        isolations=frozenset({"transaction", "truncation", "template"}),
        clones=False,
        transactional_ddl=False,
        deferrable_constraints=False,
        schemas=False,
    )
    impatience = ("SET SESSION lock_wait_timeout = 1",)
    diagnostics = MySQLDiagnostics()
    sync_drivers = (
        DriverPackage("pymysql", "pymysql", _INSTALL),
        DriverPackage("mysqldb", "MySQLdb", "pip install mysqlclient"),
    )
    async_drivers = (
        DriverPackage("asyncmy", "asyncmy", _INSTALL, is_async=True),
        DriverPackage("aiomysql", "aiomysql", "pip install aiomysql", is_async=True),
    )

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        self._registry = Registry(self._execute)
        self._left: set[str] = set()  # what was lent when the door was lost, and its locks with it
        self._pool = self._new_pool()
        self._copies: dict[str, MySQLDatabase] = {}  # those that were lent, by name
        self._lasting: set[str] = set()  # stems of what is copied
        self._settings: Sequence[Any] = ()
        self.uncached = ""  # what lets MySQL tell where AUTO_INCREMENT stands now

    def template(
        self, fingerprint: str, build: Callable[[Connection], None], *, rebuild: bool = False
    ) -> Database:
        stem = self._stem(fingerprint)
        with self._lock:
            if rebuild:
                for one in (stem, copies_of(stem)):
                    self._pool.discard_all(one)
            name = self._pool.lend(stem, build)
            self._pool.give_back(name)
        return MySQLTemplate(self, name, build, name)

    def lasting_template(
        self, fingerprint: str, build: Callable[[Connection], None], *, rebuild: bool = False
    ) -> Database:
        self._lasting.add(self._stem(fingerprint))
        template: Any = self.template(fingerprint, build, rebuild=rebuild)
        self._pool.copy_from(template.template)
        return template  # type: ignore[no-any-return]

    def is_copied(self, template: str) -> bool:
        """Tell whether databases that are to be equal to ``template`` are made so from it."""
        with self._lock:
            return self._pool.is_copied(template)

    def create(self, original: Any, *, isolation: str = "") -> Database:
        _ = self.door  # a process that has been forked gets a token of its own
        with self._lock:
            if not isolation:
                name = self._pool.lend(stem_of(original.template), original.build)
                return MySQLDatabase(self, name, original.build, name)
            database = self._copy(original.template, original.build)
        try:
            if isolation in ("truncation", "template"):
                database.copy(original)
        except BaseException:
            self.give_back(database.target.name, broken=True)
            raise
        return database

    def snapshot(self, database: Any, original: Database) -> Database:
        copy: Any = self.create(database, isolation="transaction")
        try:
            copy.copy_now(database)
        except BaseException:
            copy.drop()
            raise
        return copy  # type: ignore[no-any-return]

    def drop(self, name: str) -> None:
        """Drop a database that this process, or a dead one, created."""
        self._copies.pop(name, None)
        row = self._registry.find(name)
        if row is None or self._registry.is_kept(row):
            return
        others = "SELECT id FROM information_schema.processlist WHERE db = %s"
        for (number,) in self._execute(others, name):
            with suppress(DBAPIError):  # it has just gone
                self._execute(f"KILL {int(number)}")
        self._registry.mark(name, UNFINISHED)  # should we be killed before it is gone
        self._remove(name)

    def keep(self, name: str) -> Kept:
        """Let ``name`` stay, which nobody but the user will drop."""
        with self._lock:
            self._registry.mark(name, KEPT)
        command = [server_called(self._settings[0])[0].lower()]
        socket = self.url.query.get("unix_socket")
        named = {"-h": self.url.host, "-P": self.url.port, "-u": self.url.username, "-S": socket}
        command += [str(one) for pair in named.items() if pair[1] for one in pair]
        command += ["-p"] if self.url.password else []
        drop = f"DROP DATABASE {self.quoted(name)}; {self._registry.removal(name)}"
        return kept([*command, name], [*command, "-e", drop])

    def suspect(self, name: str) -> None:
        """Note that what is done in ``name``, which is lent, may be committed."""
        with self._lock:
            self._pool.suspect(name)

    def give_back(self, name: str, *, broken: bool) -> None:
        """Note that nobody uses ``name``, which is lent, and whether it is ``broken``."""
        with self._lock:
            self._pool.give_back(name, broken=broken)

    def own_dialect(self, dialect: Dialect) -> Dialect:
        return copy(super().own_dialect(dialect))

    def pooled(
        self, dialect: Dialect, url: URL, connect: Callable[[], DBAPIConnection]
    ) -> DBAPIConnection:
        """Let ``dialect`` know the database, where reflection is to look."""
        connection: Any = connect()
        dialect.default_schema_name = connection.dbtestcase_database
        return connection  # type: ignore[no-any-return]

    def leftovers(self) -> Iterable[Leftover]:
        _ = self.door
        for row in self._registry.rows():
            name = f"{row.name} at {shown(self.url)}"
            if row.state == KEPT and self._registry.exists(row.name):
                yield Leftover("kept", name, partial(self._remove, row.name))
            elif row.state != KEPT:
                yield Leftover(row.kind, name, partial(self._remove_lendable, row.name))

    def _reached(self) -> str:
        _ = self.door
        return " ".join(server_called(self._settings[0]))

    def _remove_lendable(self, name: str) -> None:
        if not self._registry.lock(name):
            raise BackendError("another process is using it")
        try:
            self.drop(name)
        finally:
            self._registry.unlock(name)

    def _copy(self, template: str, build: Build) -> MySQLDatabase:
        """Return a database that is equal to ``template``, to commit in."""
        name = self._pool.lend_copy(template, build)
        self._pool.suspect(name)
        if name not in self._copies:
            self._copies[name] = MySQLDatabase(self, name, build, template)
        return self._copies[name]

    def _new_pool(self) -> Pool:
        return Pool(self._registry, self._build, self.drop, left=self._left)

    def _note_loss(self) -> None:
        """Leave what was lent as a killed process does, to be used to the end of its class only."""
        super()._note_loss()
        self._left |= self._pool.in_use()

    def _build(self, name: str, build: Build) -> None:
        _, charset, collation, *_ = self._settings
        self._registry.add(name, run=self.token, door=self.url.database or "")
        try:
            self._execute(
                f"CREATE DATABASE {self.quoted(name)} CHARACTER SET {charset} COLLATE {collation}"
            )
            self.build_in(Target(name), build)
            if stem_of(name) in self._lasting:
                with closing(self.open(Target(name), is_async=False)) as connection:
                    self._registry.note_positions(name, settled(connection, name))
        except BaseException:
            self.drop(name)
            raise
        self._registry.mark(name, READY)

    def _enter(self, door: Connection) -> None:
        """Open the registry, and drop what nobody has used for long."""
        self._pool, self._copies = self._new_pool(), {}
        self._execute(f"SET SESSION wait_timeout = {_MONTH}")  # an idle door keeps its locks
        self._settings = self._execute(_SETTINGS)[0]
        if server_called(self._settings[0])[0] == "MySQL":
            self.uncached = "SET SESSION information_schema_stats_expiry = 0"
        self._registry.open()
        for name in self._left:
            self._registry.lock(name)
        for row in self._registry.rows():
            self._sweep(row)

    def _sweep(self, row: Row) -> None:
        if self._registry.is_kept(row) or -1 <= row.unused <= _KEPT_DAYS:
            return
        if self._registry.lock(row.name):
            now = self._registry.find(row.name)
            if now is not None and now.unused == row.unused:
                with suppress(BackendError):  # it is another user's
                    self.drop(row.name)
            self._registry.unlock(row.name)

    def _remove(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {self.quoted(name)}")
        self._registry.remove(name)

    def _stem(self, fingerprint: str) -> str:
        _ = self.door
        parts = [fingerprint, *self._settings, _version.VERSION]
        return f"{PREFIX}_template_{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"

    def _execute(self, sql: str, *parameters: object) -> list[Any]:
        """Execute ``sql`` at the door and return the rows, if any.

        :raises BackendError: the user has not the right to.
        """
        door = self.door
        try:
            with self._lock:
                result = door.exec_driver_sql(sql, parameters)
                return list(result) if result.returns_rows else []
        except DBAPIError as error:
            if not is_denied(error):
                raise
            user = door.exec_driver_sql("SELECT CURRENT_USER()").scalar_one()
            raise may_not(error, user, self.url) from error
