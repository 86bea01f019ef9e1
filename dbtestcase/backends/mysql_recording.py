"""Connections that note what may have been written through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..statements import first_word, transaction_control
from .mysql_statements import kind_of

#: What SQLAlchemy's adapters call the driver's connection, on which nobody sees what is executed.
RAW = {"_connection", "driver_connection", "run_async"}

_WRITERS = {"INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH", "CALL"}


class Recorder:
    """The statements that connections executed and that may have changed something.

    :param suspects: tells whether a statement, though it reads, calls what may write.
    """

    def __init__(self, suspects: Callable[[str], bool]) -> None:
        self._suspects = suspects
        self.statements: set[str] = set()
        self.complete = True  # nothing was executed that is not noted

    def note(self, sql: Any) -> None:
        """Note ``sql``, which is about to be executed."""
        text = _text(sql)
        if text not in self.statements and (not kind_of(text).reads or self._suspects(text)):
            self.statements.add(text)

    def give_up(self) -> None:
        """Note that from now on statements may go unnoticed."""
        self.complete = False


class RecordingConnection:
    """A DBAPI connection, of a driver or of SQLAlchemy's adapters, that tells a recorder.

    What is executed on the driver's connection within an adapter goes unnoticed, so to ask for
    that is noted too.
    """

    def __init__(self, connection: Any, recorder: Recorder, database: str) -> None:
        self.dbtestcase_database = database
        self.uncommitted = ""  # the first statement of the transaction that may have written
        self.last_sql = ""
        self._recorded = connection
        self._recorder = recorder
        self._autocommits = False

    def __getattr__(self, name: str) -> Any:
        if name in RAW:
            self._recorder.give_up()
        return getattr(self._recorded, name)

    def __enter__(self) -> RecordingConnection:
        return self

    def __exit__(self, *raised: object) -> None:
        self._recorded.close()

    def autocommit(self, value: Any) -> None:
        self._autocommits, self.uncommitted = bool(value), ""
        self._recorded.autocommit(value)

    def commit(self) -> None:
        self._recorded.commit()
        self.uncommitted = ""

    def rollback(self) -> None:
        self._recorded.rollback()
        self.uncommitted = ""

    def executed(self, sql: Any, *, changed: bool) -> None:
        """Note that ``sql`` has been executed, and whether it may have changed rows."""
        text = self.last_sql = _text(sql)
        control = transaction_control(text)
        if control is not None:
            ends = control.verb in ("begin", "commit", "rollback")
        else:
            ends = self._autocommits or kind_of(text).commits
        if ends:
            self.uncommitted = ""
        elif changed and first_word(text) in _WRITERS and not kind_of(text).reads:
            self.uncommitted = self.uncommitted or text

    @property
    def number(self) -> int:
        """What the server calls it."""
        raw = getattr(self._recorded, "driver_connection", self._recorded)
        return int(raw.thread_id())

    def cursor(self, *args: Any, **kwargs: Any) -> RecordingCursor:
        return RecordingCursor(self._recorded.cursor(*args, **kwargs), self._recorder, self)

    def query(self, sql: Any, *args: Any, **kwargs: Any) -> Any:
        self._recorder.note(sql)
        return self._recorded.query(sql, *args, **kwargs)


class RecordingCursor:
    """A cursor of such a connection."""

    def __init__(self, cursor: Any, recorder: Recorder, connection: RecordingConnection) -> None:
        self._recorded = cursor
        self._recorder = recorder
        self._of = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recorded, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in {"_recorded", "_recorder", "_of"}:
            super().__setattr__(name, value)
        else:
            setattr(self._recorded, name, value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._recorded)

    def __enter__(self) -> RecordingCursor:
        return self

    def __exit__(self, *raised: object) -> None:
        self._recorded.close()

    def execute(self, sql: Any, *args: Any, **kwargs: Any) -> Any:
        return self._execute(self._recorded.execute, sql, *args, **kwargs)

    def executemany(self, sql: Any, *args: Any, **kwargs: Any) -> Any:
        return self._execute(self._recorded.executemany, sql, *args, **kwargs)

    def callproc(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self._recorder.note(f"CALL {name}")
        return self._recorded.callproc(name, *args, **kwargs)

    def _execute(self, method: Any, sql: Any, *args: Any, **kwargs: Any) -> Any:
        self._recorder.note(sql)
        result = method(sql, *args, **kwargs)
        self._of.executed(sql, changed=self._recorded.rowcount != 0)
        return result


def _text(sql: Any) -> str:
    return sql.decode() if isinstance(sql, (bytes, bytearray)) else str(sql)
