"""The way in to a MariaDB or MySQL server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..exceptions import BackendError
from .mysql_errors import check_version, closed_door, is_denied, remedy_at_the_door
from .server import LOCK_WAIT, PATIENCE, ServerBackend, Target

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Dialect


#: What connections to databases of ours begin with.
LIMITS = f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT}, lock_wait_timeout = {LOCK_WAIT}"


class MySQLDoor(ServerBackend):
    """What there is to know of the server before it can be used."""

    timed_drivers = ("pymysql", "mysqldb", "asyncmy", "aiomysql")

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        self._has_answered = False
        self._tls: dict[str, Any] = {}  # how PyMySQL is to connect, once that is known

    def connect_arguments(self, dialect: Dialect) -> dict[str, Any]:
        """Spare PyMySQL the loading of all certificates for each connection, to try TLS."""
        chosen = any(name.startswith("ssl") for name in self.url.query)
        tls = {} if chosen or dialect.driver != "pymysql" else self._tls
        limits = super().connect_arguments(dialect)
        if not self._has_answered:
            limits["read_timeout"] = int(str(self.url.query.get("connect_timeout", PATIENCE)))
        return {**tls, **limits}

    def target_arguments(self, dialect: Dialect, target: Target) -> dict[str, Any]:
        """Let no lock be waited for too long, unless the URL says what a connection sets."""
        return {} if "init_command" in self.url.query else {"init_command": LIMITS}

    def remedy(self, reason: str) -> str:
        return remedy_at_the_door(reason) or super().remedy(reason)

    def _connect_to_door(self) -> Connection:
        """Connect twice: to hear whether it is such a server at all, and to stay.

        ``connect_timeout`` does not count while PyMySQL waits for the greeting of the server, and
        ``read_timeout`` would count for all statements.
        """
        self._has_answered = False
        try:
            with super()._connect_to_door() as door:
                check_version(door.exec_driver_sql("SELECT VERSION()").scalar_one(), self.url)
                self._note_tls(door)
            self._has_answered = True
            return super()._connect_to_door()
        except BackendError as error:
            if not is_denied(error.__cause__):
                raise
            raise closed_door(self.url) from error.__cause__

    def _note_tls(self, door: Connection) -> None:
        cipher = door.exec_driver_sql("SHOW SESSION STATUS LIKE 'Ssl_cipher'").one()[1]
        context = getattr(door.connection.dbapi_connection, "ctx", None)
        self._tls = {"ssl": context} if cipher and context else {"ssl_disabled": not cipher}
