"""SQL that was executed once, kept to be executed again in one statement.

It stands in for a template where no database can be cloned: the same statements, on the same
database, without whoever thought of them, and without a round trip for each.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from ..statements import UNRECORDED
from .notices import say_once
from .template_files import UNFINISHED

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from .template_files import TemplateFiles

_QUOTE = "$dbtestcase$"
_PLACE = re.compile(r"\$(\d+)")
_IN_QUOTES = (str, float, Decimal, date, datetime, time, UUID)


class Script:
    """What is executed on a connection while this notes it.

    :param paramstyle: of the driver, or of SQLAlchemy's adapter of it.
    """

    def __init__(self, paramstyle: str) -> None:
        self._in_dollars = paramstyle == "numeric_dollar"
        self._statements: list[str] | None = []  # None if not all can be told

    def note(self, sql: str, *parameters: Any, many: bool = False) -> None:
        """Note ``sql``, which was executed without an error.

        :param parameters: nothing, or the parameters; if ``many``, those of each time.
        """
        if self._statements is None:
            return
        try:
            for each in parameters[0] if many else [(*parameters, None)[0]]:
                self._statements.append(self._filled_in(sql, each))
        except (TypeError, ValueError, LookupError):
            self.give_up()

    def give_up(self) -> None:
        """Note that something was executed, or undone, that cannot be told."""
        self._statements = None

    def text(self) -> str | None:
        """Return a statement that does all that was noted, if that can be told."""
        if self._statements is None or any(_QUOTE in sql for sql in self._statements):
            return None
        lines = [f"EXECUTE {_quoted(sql)};" for sql in self._statements]
        return "\n".join([f"DO {_QUOTE} BEGIN", *lines, f"END {_QUOTE}"])

    def _filled_in(self, sql: str, parameters: Any) -> str:
        if parameters is None or (self._in_dollars and not parameters):
            return sql
        if self._in_dollars:
            return _PLACE.sub(lambda place: _literal(parameters[int(place[1]) - 1]), sql)
        if hasattr(parameters, "items"):
            return sql % {name: _literal(value) for name, value in parameters.items()}
        return sql % tuple(map(_literal, parameters))


class Scripts:
    """The scripts that are kept in ``files``."""

    def __init__(self, files: TemplateFiles) -> None:
        self.files = files

    def repeat(
        self,
        name: str,
        connection: Connection,
        link: Any,
        make: Callable[[Connection], None],
        *,
        rebuild: bool = False,
    ) -> None:
        """Do what ``make(connection)`` does, without it if what it executes is known.

        :param name: of what it does, which depends on nothing else.
        :param link: notes what ``connection`` executes.
        :param rebuild: that is forgotten.
        """
        if rebuild:
            self.files.remove(name)
        path = self.files.find(name)
        if path is not None:
            if _is_executed(connection, path.read_text()):
                return
            self.files.remove(name)
        with link.noting() as script:
            make(connection)
        text = script.text()
        if text is not None:
            self._keep(name, text)

    def _keep(self, name: str, text: str) -> None:
        path = self.files.path(name)
        try:
            self.files.make_room()
            with tempfile.NamedTemporaryFile(
                "w", prefix=UNFINISHED, dir=path.parent, delete=False
            ) as file:
                file.write(text)
            Path(file.name).replace(path)
        except OSError as error:
            say_once(f"migrations are applied in each test, as nothing is kept: {error}")


def _is_executed(connection: Connection, script: str) -> bool:
    """Execute ``script``, and return whether that was possible; if not, nothing has happened."""
    options = {"no_parameters": True, **UNRECORDED}
    try:
        connection.exec_driver_sql(script, execution_options=options)
    except DBAPIError as error:
        connection.rollback()
        say_once(f"migrations are applied anew, as what they had executed failed: {error.orig}")
        return False
    connection.commit()
    return True


def _literal(value: Any) -> str:
    """Return ``value`` in SQL.

    :raises TypeError: that is not known.
    """
    if value is None:
        return "NULL"
    if isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, _IN_QUOTES):
        return _quoted(str(value))
    raise TypeError(value)


def _quoted(text: str) -> str:
    """Return a literal, whatever ``standard_conforming_strings`` is."""
    quoted = "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
    return f" E{quoted}" if "\\" in text else quoted
