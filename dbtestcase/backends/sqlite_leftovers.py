"""What a test leaves on a SQLite connection, beyond the end of a transaction."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from typing import Any

from .sqlite_settings import SETTINGS

_LEAVES = re.compile(
    r"\s*(?:PRAGMA\s+(?:\w+\.)?(?P<name>\w+)\s*[=(]|(?P<attach>ATTACH)\b)", re.IGNORECASE
)


class Leftovers:
    """What tests set on the one connection that they share, to be taken back after each."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._undo: list[Callable[[], object]] = []
        self._settings: set[str] = set()

    def note(self, sql: str) -> bool:
        """Tell whether ``sql``, which is about to be executed, leaves something to take back."""
        found = _LEAVES.match(sql)
        if found is None:
            return False
        if found["attach"]:
            self.take_back_by(_detacher(self._connection))
            return True
        name = found["name"].lower()
        if name in SETTINGS and name not in self._settings:
            self._settings.add(name)
            row = self._connection.execute(f"PRAGMA {name}").fetchone()
            value = row[0] if row else 0  # some can be set, but not read, and are off by default
            self.take_back_by(lambda: self._connection.execute(f"PRAGMA {name} = {value}").close())
        return name in SETTINGS

    def take_back_by(self, undo: Callable[[], object]) -> None:
        """Call ``undo`` after the test."""
        self._undo.append(undo)

    def take_back(self) -> bool:
        """Let the connection be as it was, and return whether that was possible."""
        possible = True
        self._settings.clear()
        while self._undo:
            try:
                self._undo.pop()()
            except sqlite3.Error:  # such as of a database in use by the transaction of the class
                possible = False
        return possible


def _detacher(connection: sqlite3.Connection) -> Callable[[], None]:
    def attached() -> dict[str, Any]:
        return {row[1]: None for row in connection.execute("PRAGMA database_list").fetchall()}

    before = attached()

    def detach() -> None:
        for name in attached().keys() - before.keys() - {"temp"}:
            connection.execute("DETACH ?", (name,)).close()

    return detach
