"""Stand-ins, used as a DBAPI connection is used by those who know no SQLAlchemy."""

from __future__ import annotations

import sqlite3
import unittest
from contextlib import suppress
from typing import Any

from dbtestcase import InterleavedTransactionsError
from dbtestcase.backends import backend_for
from dbtestcase.sandbox import Sandbox


class StandIns(unittest.TestCase):
    def setUp(self) -> None:
        backend = backend_for("sqlite://")
        database = backend.template("", lambda connection: None)
        self.addCleanup(database.drop)
        database.connection.execute("CREATE TABLE words (word TEXT UNIQUE)")
        link = database.link(None)
        self.sandbox = Sandbox()
        self.sandbox.attach(link)
        self.sandbox.start_test("the test")
        self.first = link.stand_in(self.sandbox)
        self.second = link.stand_in(self.sandbox)

    def words(self) -> list[str]:
        return [word for (word,) in self.first.execute("SELECT word FROM words").fetchall()]

    def add(self, connection: Any, word: str) -> None:
        connection.execute("INSERT INTO words VALUES (?)", (word,))

    def test_close_without_commit_undoes(self) -> None:
        self.add(self.first, "a")
        self.first.commit()
        self.add(self.first, "b")
        self.first.close()
        self.assertEqual(self.words(), ["a"])

    def test_in_transaction(self) -> None:
        self.assertFalse(self.first.in_transaction)
        self.add(self.first, "a")
        self.assertTrue(self.first.in_transaction)
        self.assertFalse(self.second.in_transaction)
        self.first.commit()
        self.assertFalse(self.first.in_transaction)

    def test_script(self) -> None:
        self.first.executescript(
            "INSERT INTO words VALUES (';'); BEGIN; INSERT INTO words VALUES ('b'); ROLLBACK;"
            "CREATE TRIGGER t AFTER INSERT ON words BEGIN SELECT 1; END; INSERT INTO words "
            "VALUES ('c')"
        )
        self.first.commit()
        self.assertEqual(self.words(), ["c"])
        self.first.close()
        self.sandbox.finish_test()
        self.assertEqual(self.words(), [])

    def test_autocommit(self) -> None:
        self.first.isolation_level = None
        self.add(self.first, "a")
        self.first.rollback()
        self.first.execute("BEGIN")
        self.add(self.first, "b")
        self.first.execute("ROLLBACK")
        self.assertEqual(self.words(), ["a"])

    def test_an_error_does_not_make_earlier_work_forgotten(self) -> None:
        self.add(self.first, "a")
        for statement in ("SELECT nonsense", "RELEASE nonsense", "INSERT INTO nonsense VALUES (1)"):
            with self.assertRaises(sqlite3.OperationalError):
                self.first.execute(statement)
        self.add(self.second, "b")
        with self.assertRaises(InterleavedTransactionsError):
            self.first.rollback()

    def test_autocommit_with_savepoints(self) -> None:
        self.first.isolation_level = None
        self.first.execute("SAVEPOINT outer_one")
        self.add(self.first, "a")
        self.first.execute("SAVEPOINT inner_one")
        self.add(self.first, "b")
        self.first.execute("ROLLBACK TO inner_one")
        self.first.execute("RELEASE outer_one")
        self.first.rollback()
        self.assertEqual(self.words(), ["a"])

    def test_turning_autocommit_on_commits(self) -> None:
        self.add(self.first, "a")
        self.first.isolation_level = None
        self.first.rollback()
        self.assertEqual(self.words(), ["a"])

    def test_part_of_an_executemany_that_failed_is_work_to_undo(self) -> None:
        with self.assertRaises(sqlite3.IntegrityError):
            self.first.executemany("INSERT INTO words VALUES (?)", [("a",), ("a",)])
        self.add(self.second, "b")
        self.second.commit()
        with self.assertRaises(InterleavedTransactionsError):
            self.first.rollback()

    def test_changes_made_by_a_failing_statement_or_a_trigger_are_work_to_undo(self) -> None:
        for statement in (
            "INSERT OR FAIL INTO words VALUES ('a'), ('a')",
            "INSERT INTO view VALUES ('a')",
        ):
            with self.subTest(statement):
                self.first.executescript(
                    "CREATE VIEW view AS SELECT word FROM words;"
                    "CREATE TRIGGER t INSTEAD OF INSERT ON view "
                    "BEGIN INSERT INTO words VALUES (new.word); END"
                )
                self.first.commit()
                with suppress(sqlite3.IntegrityError):
                    self.first.execute(statement)
                self.add(self.second, "b")
                self.second.commit()
                with self.assertRaises(InterleavedTransactionsError):
                    self.first.rollback()
                self.sandbox.finish_test()
                self.sandbox.start_test("the next")

    def test_savepoints_of_the_same_name_in_two_connections(self) -> None:
        for connection in (self.first, self.second):
            connection.execute("SAVEPOINT sp")
            self.add(connection, f"{id(connection)}")
        self.second.execute("ROLLBACK TO sp")
        self.second.execute("RELEASE sp")
        self.second.commit()
        self.first.execute("RELEASE sp")
        self.first.commit()
        self.assertEqual(self.words(), [f"{id(self.first)}"])

    def test_savepoint_that_does_not_exist(self) -> None:
        self.first.execute("SAVEPOINT sp")
        for statement in ("RELEASE other", "ROLLBACK TO other"):
            with self.assertRaisesRegex(sqlite3.OperationalError, "no such savepoint: other"):
                self.first.execute(statement)

    def test_executemany_and_iteration(self) -> None:
        self.first.executemany("INSERT INTO words VALUES (?)", [("a",), ("b",)])
        self.assertEqual([row[0] for row in self.first.execute("SELECT * FROM words")], ["a", "b"])

    def test_reads_send_no_savepoint(self) -> None:
        sent: list[str] = []
        self.sandbox.link.connection.set_trace_callback(sent.append)
        self.assertEqual(self.words(), [])
        self.first.execute("SAVEPOINT sp")
        self.first.rollback()
        self.assertEqual(sent, ["SELECT word FROM words"])

    def test_savepoint_that_was_rolled_back_serves_who_writes_next(self) -> None:
        sent: list[str] = []
        self.sandbox.link.connection.set_trace_callback(sent.append)
        self.add(self.first, "a")
        self.first.rollback()
        self.add(self.second, "b")
        self.second.commit()
        self.first.rollback()
        self.assertEqual(self.words(), ["b"])
        self.assertEqual(len({one for one in sent if one.startswith("SAVEPOINT")}), 1)
