"""Telling transaction control, reads and writes apart."""

from __future__ import annotations

import unittest

from dbtestcase.backends.sqlite_connections import reads
from dbtestcase.statements import transaction_control


class Statements(unittest.TestCase):
    def test_transaction_control(self) -> None:
        expected = {
            "BEGIN": ("begin", "BEGIN"),
            " begin immediate ; ": ("begin", "begin immediate"),
            "START TRANSACTION": ("begin", "START TRANSACTION"),
            "COMMIT": ("commit", "COMMIT"),
            "COMMIT ;; ": ("commit", "COMMIT"),
            'SAVEPOINT "sp-1"': ("savepoint", "sp-1"),
            "-- done\nEND TRANSACTION": ("commit", "END TRANSACTION"),
            "/* no */ ROLLBACK": ("rollback", "ROLLBACK"),
            "SAVEPOINT sp": ("savepoint", "sp"),
            'SAVEPOINT "Sp"': ("savepoint", "Sp"),
            "RELEASE sp": ("release", "sp"),
            "RELEASE SAVEPOINT sp;": ("release", "sp"),
            "ROLLBACK TO sp": ("rollback_to", "sp"),
            "ROLLBACK TRANSACTION TO SAVEPOINT `sp`": ("rollback_to", "sp"),
        }
        for sql, control in expected.items():
            with self.subTest(sql):
                self.assertEqual(transaction_control(sql), control)

    def test_other_statements(self) -> None:
        for sql in ("SELECT 1", "BEGINNING", "CREATE TRIGGER x BEGIN SELECT 1; END", ""):
            with self.subTest(sql):
                self.assertIsNone(transaction_control(sql))

    def test_reads(self) -> None:
        for sql in (
            "SELECT 1",
            "-- why\n SELECT 1",
            "/* a */ values (1)",
            "EXPLAIN INSERT INTO t VALUES (1)",
            "WITH x AS (SELECT 1) SELECT * FROM x",
            "PRAGMA table_info(t)",
        ):
            with self.subTest(sql):
                self.assertTrue(reads(sql))

    def test_writes(self) -> None:
        for sql in (
            "INSERT INTO t SELECT 1",
            "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
            "UPDATE t SET a = 1",
            "REPLACE INTO t VALUES (1)",
            "CREATE TABLE t (a)",
            "PRAGMA user_version = 3",
            "PRAGMA user_version(3)",
            "",
        ):
            with self.subTest(sql):
                self.assertFalse(reads(sql))
