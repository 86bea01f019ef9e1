"""What is said of a statement that waits for a lock of another connection of the same test."""

from __future__ import annotations

import inspect
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from ..models import User
from .behaviour import BACKEND, ISOLATIONS, Async, Behaviour, Sync

# What lets a connection wait no longer than a moment.
SHORT = {
    "sqlite": "PRAGMA busy_timeout = 0",
    "postgresql": "SET LOCAL lock_timeout = '10ms'",
    "mysql": "SET SESSION innodb_lock_wait_timeout = 0",
}


def line_after() -> str:
    """Return the line after that of the caller, as messages have it."""
    frame: Any = inspect.currentframe()
    return f"{frame.f_back.f_code.co_filename}:{frame.f_back.f_lineno + 1}"


class Locks(Behaviour):
    def test_names_the_connection_that_holds_it(self) -> None:
        opened_at = line_after()
        self.own_session.execute(update(User).values(age=1))
        with self.own_engine.connect() as reader, Session(self.app_engine) as session:
            reader.scalars(select(User.name)).all()
            session.execute(text(SHORT[BACKEND.url.get_backend_name().replace("mariadb", "mysql")]))
            with self.assertRaises(DBAPIError) as raised:
                waited_at = line_after()
                session.execute(update(User).values(age=2))
        [note] = raised.exception.__notes__
        self.assertIn(f"{self.id()}: at {waited_at}, this statement could not have a lock", note)
        self.assertRegex(note, r"holds:\n +UPDATE users SET age=\S+\n")
        self.assertRegex(note, r"executed:\n +UPDATE users SET age=\S+\n +on the connection")
        self.assertEqual(note.count("on the connection opened at "), 1, note)
        self.assertIn(f"on the connection opened at {opened_at}\n", note)
        self.assertIn("To fix this, end that transaction before", note)

    def test_starts_clean_and_waits_for_nobody(self) -> None:
        self.assertEqual(self.names(), ["alice"])
        self.own_session.execute(update(User).values(age=1))
        self.own_session.commit()
        with Session(self.app_engine) as session:
            session.execute(update(User).values(age=2))


if "truncation" in ISOLATIONS:

    class SyncLocks(Locks, Sync):
        isolation = "truncation"

    class AsyncLocks(Locks, Async):
        isolation = "truncation"
