"""What PostgreSQL's errors mean to whoever runs tests, and what to do about them."""

from __future__ import annotations

from typing import Any

from .diagnostics import Shortage

NO_DATABASE = "3D000"
NO_TEMPLATE = {NO_DATABASE, "55000"}  # it is not there, or somebody began to drop it
DUPLICATE_DATABASE = "42P04"
UNDEFINED_TABLE = "42P01"
INSUFFICIENT_PRIVILEGE = "42501"
OBJECT_IN_USE = "55006"
LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK = "40P01"

FEWER_CONNECTIONS = (
    "run fewer workers at once, end connections that nobody needs, or raise max_connections of the "
    "server or the CONNECTION LIMIT of the user"
)

_TOO_MANY_CONNECTIONS = "53300"

#: By what the server says when it refuses a connection, for which drivers have no code.
_AT_THE_DOOR = {
    "too many": FEWER_CONNECTIONS,
    "connection slots": FEWER_CONNECTIONS,
    "password": "correct the user or the password in the option database or in DBTESTCASE_DATABASE",
    'database "': "name a database that is there, such as postgres: it is only a door, beside "
    "which others are created",
    'role "': "correct the user in the option database or in DBTESTCASE_DATABASE",
}

#: By SQLSTATE of the error of CREATE DATABASE.
_WHILE_CREATING = {
    "53100": "make room on the disk of the server",
    _TOO_MANY_CONNECTIONS: FEWER_CONNECTIONS,
    INSUFFICIENT_PRIVILEGE: (
        "either: let a superuser say ALTER ROLE {user} CREATEDB; or, in a database whose name says "
        "test, let it work in schemas of its own there: add ?in_place=on to the URL"
    ),
    OBJECT_IN_USE: (
        "end what is connected to {original}, which new databases are copied from: {connected}"
    ),
}

NOT_CREATED = """\
The user {user} could not create the database {name} at {url}: {error}
  To fix this, {remedy}."""

NAME_TAKEN = """\
The database {name} at {url} has the name of a template, but has not been made by dbtestcase for \
this user, or has been altered since, so that it is neither used nor dropped.
  To fix this, drop or rename it."""

LED_ASTRAY = """\
A connection to the database {name} at {url} leads to the database {found}, in which nothing has \
been changed.
  To fix this, connect to the server directly, and not through a proxy that chooses the database."""


def sqlstate(error: object) -> str:
    """Return PostgreSQL's code for what ``error`` is about, empty if it has none."""
    original = getattr(error, "orig", error)
    found = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    return str(found or "")


def lacks_privilege(error: object) -> bool:
    return sqlstate(error) == INSUFFICIENT_PRIVILEGE


def shortage_of(error: object) -> Shortage | None:
    """Return what a driver's ``error`` says that there is none left of, if it is that."""
    code = sqlstate(error)
    if not code and type(error).__name__ == "OperationalError":  # psycopg's, while it connects
        is_short = remedy_at_the_door(str(error)) == FEWER_CONNECTIONS
    else:
        is_short = code == _TOO_MANY_CONNECTIONS
    return Shortage("connection", FEWER_CONNECTIONS) if is_short else None


def remedy_at_the_door(reason: str) -> str:
    """Return what to do about a refused connection, empty if nobody knows."""
    for part, remedy in _AT_THE_DOOR.items():
        if part in reason:
            return remedy
    return ""


def remedy_while_creating(error: object, **about: Any) -> str:
    """Return what to do about a failed CREATE DATABASE."""
    return remedy_of(sqlstate(error)).format(**about)


def remedy_of(code: str) -> str:
    """Return what to do about a failed CREATE DATABASE, with names to be filled in."""
    return _WHILE_CREATING.get(code, "do what the server asks for")


def quoted(identifier: object) -> str:
    """Return ``identifier`` as a person has to write it in SQL."""
    escaped = str(identifier).replace('"', '""')
    return f'"{escaped}"'
