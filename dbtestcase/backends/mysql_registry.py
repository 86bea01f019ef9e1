"""Where it is written down which databases of a MariaDB or MySQL server are ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import starmap
from typing import Any, NamedTuple

from .. import _version
from .mysql_catalog import Positions
from .server import PREFIX

#: What our databases are called; nothing else is ever dropped.
OURS = re.compile(rf"{PREFIX}_(template|copy)_[0-9a-f]{{16}}_\d+")

READY = "ready"  # built, and clean when nobody has locked it
UNFINISHED = "unfinished"
SUSPECT = "suspect"  # lent to work that may have committed
KEPT = "kept"  # for the user, who alone drops it

_DATABASE = f"{PREFIX}_registry"
_TABLE = f"{_DATABASE}.databases"
_COLUMNS = """
  name varchar(64) CHARACTER SET ascii PRIMARY KEY, kind varchar(16) NOT NULL,
  state varchar(16) NOT NULL, run varchar(16) NOT NULL, door varchar(64) NOT NULL,
  used date NOT NULL, version varchar(32) NOT NULL"""

_POSITIONS = f"{_DATABASE}.positions"
_POSITIONS_COLUMNS = """
  name varchar(64) CHARACTER SET ascii PRIMARY KEY,
  built longtext CHARACTER SET utf8mb4 NOT NULL"""


class Row(NamedTuple):
    """One database: a template, or what is equal to one for tests that commit."""

    name: str
    kind: str
    state: str
    unused: int  # days; fewer than -1 if the server's clock has been set back since

    def is_ours(self) -> bool:
        """Tell whether the name is one that we would have given."""
        match = OURS.fullmatch(self.name)
        return match is not None and match[1] == self.kind


class Registry:
    """The table of our databases, in a database of its own.

    :param execute: returns the rows of a statement with parameters.
    """

    def __init__(self, execute: Callable[..., list[Any]]) -> None:
        self._execute = execute

    def open(self) -> None:
        """Create it, unless it is there."""
        [(there,)] = self._execute(
            "SELECT COUNT(*) FROM information_schema.tables"
            " WHERE table_schema = %s AND table_name IN ('databases', 'positions')",
            _DATABASE,
        )
        if there < 2:
            self._execute(f"CREATE DATABASE IF NOT EXISTS {_DATABASE}")
            for table, columns in ((_TABLE, _COLUMNS), (_POSITIONS, _POSITIONS_COLUMNS)):
                self._execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns}) ENGINE = InnoDB")

    def rows(self) -> list[Row]:
        """Return all that has the name of a database of ours."""
        query = f"SELECT name, kind, state, DATEDIFF(UTC_DATE(), used) FROM {_TABLE}"  # noqa: S608
        return [row for row in starmap(Row, self._execute(query)) if row.is_ours()]

    def find(self, name: str) -> Row | None:
        """Return the row of the database ``name``, if it is ours."""
        return next((row for row in self.rows() if row.name == name), None)

    def add(self, name: str, *, run: str, door: str) -> None:
        """Note that ``name`` is about to be created."""
        self._execute(
            f"INSERT INTO {_TABLE} VALUES (%s, %s, %s, %s, %s, UTC_DATE(), %s)",  # noqa: S608
            *(name, name.split("_")[1], UNFINISHED, run, door, _version.VERSION),
        )

    def mark(self, name: str, state: str) -> None:
        """Note the state of ``name``, and that it is used today; what is kept stays that."""
        self._execute(
            f"UPDATE {_TABLE} SET state = %s, used = UTC_DATE()"  # noqa: S608
            " WHERE name = %s AND state <> %s",
            *(state, name, KEPT),
        )

    def clear(self, name: str) -> None:
        """Note that ``name`` is clean, if it was only suspect."""
        self._turn(name, SUSPECT, READY)

    def suspect(self, name: str) -> None:
        """Note that ``name`` may not be clean, unless it is to be built anew in any case."""
        self._turn(name, READY, SUSPECT)

    def remove(self, name: str) -> None:
        """Note that ``name`` has been dropped."""
        for table in (_TABLE, _POSITIONS):
            self._execute(f"DELETE FROM {table} WHERE name = %s", name)  # noqa: S608

    def note_positions(self, name: str, positions: Positions | None) -> None:
        """Note where AUTO_INCREMENT and sequences stand in ``name``, as it was built, if known."""
        replace = f"REPLACE INTO {_POSITIONS} VALUES (%s, %s)"  # noqa: S608
        self._execute(replace, name, json.dumps(positions))

    def positions(self, name: str) -> Positions | None:
        """Return what was noted."""
        query = f"SELECT built FROM {_POSITIONS} WHERE name = %s"  # noqa: S608
        built = [json.loads(built) for (built,) in self._execute(query, name)]
        return Positions(*built[0]) if built and built[0] else None

    def removal(self, name: str) -> str:
        """Return statements that do what :meth:`remove` does, for a person to execute."""
        tables = (_TABLE, _POSITIONS)
        return "; ".join(f"DELETE FROM {table} WHERE name = '{name}'" for table in tables)  # noqa: S608

    def is_kept(self, row: Row) -> bool:
        """Tell whether it is kept for the user, and forget it once the user has dropped it."""
        if row.state == KEPT and not self.exists(row.name):
            self.remove(row.name)
        return row.state == KEPT

    def exists(self, name: str) -> bool:
        """Tell whether the server has a database ``name``, whoever created it."""
        query = "SELECT 1 FROM information_schema.schemata WHERE schema_name = %s"
        return bool(self._execute(query, name))

    def lock(self, name: str) -> bool:
        """Lock ``name`` for as long as this process lives, unless another one has."""
        return bool(self._execute("SELECT GET_LOCK(%s, 0)", name)[0][0])

    def unlock(self, name: str) -> None:
        """Give the lock up."""
        self._execute("SELECT RELEASE_LOCK(%s)", name)

    def _turn(self, name: str, before: str, state: str) -> None:
        self._execute(
            f"UPDATE {_TABLE} SET state = %s WHERE name = %s AND state = %s",  # noqa: S608
            *(state, name, before),
        )
