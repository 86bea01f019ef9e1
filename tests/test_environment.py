"""The variables of the environment: their values, and near misses of their names."""

from __future__ import annotations

import os
import unittest
import warnings
from unittest import mock

from dbtestcase import DatabaseTestCase
from dbtestcase.environment import keeps_databases, rebuilds, sql_reports
from dbtestcase.exceptions import OptionError

from . import inner


class Plain(DatabaseTestCase):
    """Is run by the tests below."""

    database = "sqlite://"

    def runTest(self) -> None: ...


def run_with(**environment: str) -> unittest.TestResult:
    """Run a test class that passes, in that environment."""
    suite = unittest.TestSuite([Plain()])
    result = unittest.TestResult()
    with mock.patch.dict(os.environ, environment):
        suite.run(result)
    return result


class Values(unittest.TestCase):
    def test_yes_and_no(self) -> None:
        for name, asked in [("DBTESTCASE_KEEP", keeps_databases), ("DBTESTCASE_REBUILD", rebuilds)]:
            for value in ("1", "true", "yes", "on", "YES", " True "):
                with self.subTest(name, value=value), mock.patch.dict(os.environ, {name: value}):
                    self.assertIs(asked(), True)
            for value in ("", "0", "false", "no", "off", "Off", " "):
                with self.subTest(name, value=value), mock.patch.dict(os.environ, {name: value}):
                    self.assertIs(asked(), False)
            with mock.patch.dict(os.environ):
                os.environ.pop(name, None)
                self.assertIs(asked(), False)

    def test_what_is_neither(self) -> None:
        for name in ("DBTESTCASE_KEEP", "DBTESTCASE_REBUILD"):
            message = inner.only_error(self, run_with(**{name: "nope"}))
            self.assertIn(f"Plain: {name}=nope is neither yes nor no", message)
            self.assertIn("write 1, true, yes or on; or 0, false, no, off or nothing", message)

    def test_reports_of_sql(self) -> None:
        for value, reports in [("failed", "failed"), ("ALL", "all"), ("0", ""), ("off", "")]:
            with self.subTest(value), mock.patch.dict(os.environ, DBTESTCASE_SQL=value):
                self.assertEqual(sql_reports(), reports)
        for value, hint in [("fail", "did you mean 'failed'?"), ("1", "write one of failed, all")]:
            with self.subTest(value), mock.patch.dict(os.environ, DBTESTCASE_SQL=value):
                with self.assertRaisesRegex(OptionError, "DBTESTCASE_SQL") as raised:
                    sql_reports()
                self.assertIn(hint, str(raised.exception))


class Names(unittest.TestCase):
    def test_near_misses_are_warned_of(self) -> None:
        for wrong, right in [
            ("DBTESTCASE_DATABSE", "DBTESTCASE_DATABASE"),
            ("DB_TESTCASE_KEEP", "DBTESTCASE_KEEP"),
            ("dbtestcase_sql", "DBTESTCASE_SQL"),
            ("DBTESTCASE_REBUILDS", "DBTESTCASE_REBUILD"),
        ]:
            with self.subTest(wrong), self.assertWarns(UserWarning) as warned:
                inner.passed(self, run_with(**{wrong: "1"}), 1)
            self.assertEqual(
                str(warned.warning),
                f"{wrong} is set, which dbtestcase does not read; did you mean {right}?",
            )

    def test_others_are_left_alone(self) -> None:
        others = dict.fromkeys(
            ["DBTESTCASE_POSTGRESQL", "DBTESTCASE_MYSQL", "DBTESTCASE_REQUIRE", "MY_DATABASE"], "x"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            inner.passed(self, run_with(DBTESTCASE_KEEP="0", DBTESTCASE_SQL="", **others), 1)
