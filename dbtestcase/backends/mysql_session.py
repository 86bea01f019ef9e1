"""What a statement leaves on a MariaDB or MySQL connection, beyond the end of a transaction."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

from ..exceptions import IsolationError
from .mysql_catalog import identifier
from .mysql_statements import without_comments

_NAME = r"(?:[\w$]+|`(?:[^`]|``)+`)"
_START = r"(?:^|;|\b(?:BEGIN|THEN|ELSE|DO)\s)\s*"  # of a statement, also within a routine
_QUICK = re.compile(r"\b(?:SET|USE|PREPARE|TEMPORARY|GET_LOCK)\b|@", re.IGNORECASE)
_SETS = re.compile(rf"{_START}SET\b(?P<what>[^;]*)", re.IGNORECASE)
_VARIABLES = re.compile(
    r"(?:^|,)\s*(?:SESSION\s+|LOCAL\s+|@@(?:SESSION\s*\.\s*|LOCAL\s*\.\s*)?)?`?([a-z]\w*)`?\s*:?=",
    re.IGNORECASE,
)
_USER_VARIABLE = re.compile(r"""(?<![@\w`'"])@([\w$.]+|`(?:[^`]|``)+`)""")
_CHARSET = re.compile(r"\s*(?:NAMES|CHARACTER\s+SET|CHARSET)\b", re.IGNORECASE)
_CHARSETS = (  # in the order to set them in: the second sets the last
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
)
_ROLE = re.compile(r"\s*ROLE\b", re.IGNORECASE)
_GLOBAL = re.compile(
    r"(?:^|,)\s*(?:(?:GLOBAL|PERSIST|PERSIST_ONLY)\s+|@@(?:GLOBAL|PERSIST|PERSIST_ONLY)\s*\.)",
    re.IGNORECASE,
)
_TEMPORARY = re.compile(
    r"\bCREATE\s+(?:OR\s+REPLACE\s+)?TEMPORARY\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    rf"((?:{_NAME}\s*\.\s*)?{_NAME})",
    re.IGNORECASE,
)
_PREPARE = re.compile(rf"{_START}PREPARE\s+({_NAME})\s+FROM\b", re.IGNORECASE)
_LOCK = re.compile(r"\bGET_LOCK\s*\(", re.IGNORECASE)
_USE_DATABASE = re.compile(r"\s*USE\b", re.IGNORECASE)


class Effects(NamedTuple):
    """What a statement may set on its connection, by name."""

    variables: frozenset[str]
    user_variables: frozenset[str]
    tables: frozenset[str]
    statements: frozenset[str]
    role: bool
    locks: bool
    everywhere: bool  #: on the server, too
    leads_away: bool  #: to another database


class SessionState:
    """What is set on the one connection that all connections of tests share, to be taken back.

    :param execute: executes a statement with parameters and returns all rows.
    :param error: the class of the errors that it raises.
    """

    def __init__(self, execute: Callable[..., list[Any]], error: type[Exception]) -> None:
        self._execute = execute
        self._error = error
        self._of_class = self._changes = _Changes()
        self._local: set[str] = set()  # names that are no variables of the session

    def start_test(self) -> None:
        """What is set from now on is the test's, and not that of its class."""
        self._changes = _Changes()

    def note(self, sql: str) -> None:
        """Remember what ``sql``, which is about to be executed, changes.

        :raises IsolationError: it would lead to another database, or change the server.
        """
        if not _QUICK.search(sql):
            return
        effects = _effects(sql)
        if effects.leads_away:
            raise IsolationError(_USE.format(sql=sql.strip()))
        if effects.everywhere:
            raise IsolationError(_SET_GLOBAL.format(sql=sql.strip()))
        self._remember(effects)

    def note_concealed(self, sql: str) -> None:
        """Remember what ``sql``, which routines and triggers may execute, would change."""
        if _QUICK.search(sql):
            self._remember(_effects(sql))

    def take_back(self) -> None:
        """Let the connection be as it was before the test."""
        changes, self._changes = self._changes, self._of_class
        if changes is not self._of_class:
            self._undo(changes)

    def take_back_all(self) -> None:
        """Let the connection be as it was before the class."""
        self.take_back()
        changes, self._changes = self._of_class, _Changes()
        self._of_class = self._changes
        self._undo(changes)

    def _remember(self, effects: Effects) -> None:
        now = self._changes
        for name in effects.variables - now.variables.keys() - self._local:
            try:
                [(now.variables[name],)] = self._execute(f"SELECT @@SESSION.{name}")
            except self._error:
                self._local.add(name)
        for name in effects.user_variables - now.user_variables.keys():
            [(now.user_variables[name],)] = self._execute(f"SELECT @{identifier(name)}")
        if effects.role and now.role is None:
            now.role = _role(self._execute("SELECT CURRENT_ROLE()")[0][0])
        now.tables |= effects.tables
        now.statements |= effects.statements
        now.locks = now.locks or effects.locks

    def _undo(self, changes: _Changes) -> None:
        for table in changes.tables - self._of_class.tables:
            self._execute(f"DROP TEMPORARY TABLE IF EXISTS {table}")
        for name in changes.statements - self._of_class.statements:
            with suppress(self._error):  # it was deallocated
                self._execute(f"DEALLOCATE PREPARE {name}")
        if changes.role is not None:
            self._execute(f"SET ROLE {changes.role}")
        for name, value in sorted(changes.variables.items()):
            if name == "timestamp" and name not in self._of_class.variables:
                self._execute("SET SESSION timestamp = DEFAULT")  # let time go on
            else:
                self._execute(f"SET SESSION {name} = %s", (value,))
        for name, value in changes.user_variables.items():
            user_variable = identifier(name).replace("%", "%%")
            self._execute(f"SET @{user_variable} = %s", (value,))
        if changes.locks and not self._of_class.locks:  # all or none can be released
            self._execute("SELECT RELEASE_ALL_LOCKS()")


class _Changes:
    """What a test or a class has set, and what the values were before."""

    def __init__(self) -> None:
        self.variables: dict[str, Any] = {}
        self.user_variables: dict[str, Any] = {}
        self.tables: frozenset[str] = frozenset()
        self.statements: frozenset[str] = frozenset()
        self.role: str | None = None
        self.locks = False


@lru_cache(maxsize=2048)
def _effects(sql: str) -> Effects:
    bare = without_comments(sql)
    sets = [match["what"] for match in _SETS.finditer(bare)]
    variables = {name.lower() for one in sets for name in _VARIABLES.findall(one)}
    if any(map(_CHARSET.match, sets)) or variables.intersection(_CHARSETS):
        variables.update(_CHARSETS)
    names = (name.strip("`").replace("``", "`") for name in _USER_VARIABLE.findall(bare))
    return Effects(
        variables=frozenset(variables - {"autocommit"}),
        user_variables=frozenset(map(str.lower, names)),
        tables=frozenset(_TEMPORARY.findall(bare)),
        statements=frozenset(_PREPARE.findall(bare)),
        role=any(map(_ROLE.match, sets)),
        locks=_LOCK.search(bare) is not None,
        everywhere=any(map(_GLOBAL.search, sets)),
        leads_away=_USE_DATABASE.match(bare) is not None,
    )


def _role(current: str | None) -> str:
    """Return ``current``, as MariaDB or MySQL tells it, in SQL."""
    if current is None or current == "NONE" or current.startswith("`"):
        return current or "NONE"
    return identifier(current)


_USE = """\
This statement would lead all connections of the test to another database, and was not executed:
      {sql}
  To fix this, write the name of the other database in front of its tables; or give the test \
connections of its own, with the decorator @dbtestcase.isolation("truncation")."""

_SET_GLOBAL = """\
This statement would change the server, for all who use it and for good, and was not executed:
      {sql}
  To fix this, set the variable for the session, or in the configuration of the server."""
