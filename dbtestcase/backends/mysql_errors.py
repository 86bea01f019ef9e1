"""What to say when the server does not let us do what we have to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..exceptions import BackendError
from .base import shown
from .diagnostics import Shortage

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_OTHER_SERVER = (
    "see that it is MariaDB or MySQL which listens there, and not something else, such as "
    "PostgreSQL, or correct the host or port in the option database or in DBTESTCASE_DATABASE; "
    "for a server that is slow, add for example ?connect_timeout=60"
)

_IS_MYSQL = "write mysql:// instead of mariadb:// in the option database or in DBTESTCASE_DATABASE"

_NO_CONNECTION = {1040, 1203, 1226}  # for anybody; for this user
_CONNECTION = Shortage(
    "connection",
    "run fewer workers at once, end connections that nobody needs, or raise max_connections of the "
    "server or MAX_USER_CONNECTIONS of the user",
)

#: What there has to be of servers.
OLDEST = {"MariaDB": (10, 5), "MySQL": (8, 0)}

_BLOCKED = {1205, 1213, 3572}  # for too long, in a deadlock, or it did not want to wait
_DENIED = {1044, 1142, 1227}  # to a database, a table, or without a privilege


def is_denied(error: Any) -> bool:
    """Tell whether an error of SQLAlchemy's says that the user lacks a right."""
    return [*getattr(getattr(error, "orig", None), "args", ()), 0][0] in _DENIED


def is_blocked(error: Any) -> bool:
    """Tell whether a driver's error says that a lock could not be had."""
    return [*getattr(error, "args", ()), 0][0] in _BLOCKED


def shortage_of(error: Any) -> Shortage | None:
    """Return what a driver's ``error`` says that there is none left of, if it is that."""
    return _CONNECTION if [*getattr(error, "args", ()), 0][0] in _NO_CONNECTION else None


def remedy_at_the_door(reason: str) -> str:
    """Return what to do about a server that has not greeted us, or as another one; else empty."""
    if any(reason.startswith(f"({number},") for number in _NO_CONNECTION):
        return _CONNECTION.remedy
    if "is not a MariaDB variant" in reason:
        return _IS_MYSQL
    silent = "timed out" in reason or "initial communication packet" in reason
    return _OTHER_SERVER if silent else ""


def server_called(version: str) -> tuple[str, str]:
    """Return which server it is that says of itself ``version``, and its number."""
    number = re.search(r"\d+\.\d+(?:\.\d+)?", version)
    return "MariaDB" if "MariaDB" in version else "MySQL", number[0] if number else version


def check_version(version: str, url: URL) -> None:
    """Refuse a server that lacks what is needed here.

    :param version: what it says itself.
    :raises BackendError: it is too old.
    """
    server, found = server_called(version)
    if tuple(map(int, re.findall(r"\d+", found)))[:2] < OLDEST[server]:
        oldest = ".".join(map(str, OLDEST[server]))
        message = _TOO_OLD.format(url=shown(url), server=server, found=found, oldest=oldest)
        raise BackendError(message)


def closed_door(url: URL) -> BackendError:
    """Return the error for a database in ``url`` that the user may not use."""
    return BackendError(_CLOSED.format(url=url))


def may_not(error: Any, grantee: str, url: URL) -> BackendError:
    """Return the error for a right that ``grantee``, written as user@host, lacks."""
    user, _, host = grantee.rpartition("@")
    message = _MAY_NOT.format(error=error.orig, user=user, url=url, grantee=f"`{user}`@`{host}`")
    return BackendError(message)


_TOO_OLD = """\
The server at {url} is {server} {found}, which is too old for dbtestcase.
  To fix this, name a server of {server} {oldest} or later in the option database or in \
DBTESTCASE_DATABASE"""

_CLOSED = """\
The user may not use the database in {url}, which serves as a door only.
  To fix this, leave it out of the option database or of DBTESTCASE_DATABASE, or name another"""

_MAY_NOT = """\
The user {user} may not do at {url} what dbtestcase has to, which works only in databases that it \
has created: {error}
  To fix this, let an administrator say: GRANT ALL PRIVILEGES ON `dbtestcase\\_%`.* TO {grantee}"""

#: What class data may not do.
CHANGED_SCHEMA = """\
The set-up of the class changed the schema in a way that cannot be copied into the database of a \
test.
  To fix this, do it in setUpDatabase"""
