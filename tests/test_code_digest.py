"""The digest of a hook tells it from every hook that does something else."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from types import ModuleType
from typing import Any

from sqlalchemy import (
    DDL,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    column,
    create_engine,
    select,
    text,
)

from dbtestcase import DatabaseTestCase
from dbtestcase.code_digest import code_digest
from dbtestcase.schema import metadata_schema

from . import inner


def executing(statements: Any) -> Callable[[Any], None]:
    def hook(connection: Any) -> None:
        for statement in statements:
            connection.execute(statement)

    return hook


class CodeDigest(unittest.TestCase):
    def test_of_hooks_that_close_over_other_values(self) -> None:
        values = ["one", ["one"], ["two"], [["one"], ["two"]], {"one": ["two"]}, executing("one")]
        digests = [code_digest(executing(value)) for value in values]
        self.assertEqual(len(set(digests)), len(values))
        self.assertEqual(digests, [code_digest(executing(value)) for value in values])

    def test_of_a_hook_around_which_a_variable_has_no_value(self) -> None:
        def hook(connection: Any) -> None:
            connection.execute(later)

        digest = code_digest(hook)
        later = "one"
        self.assertNotEqual(code_digest(hook), digest)

    def test_of_a_hook_with_other_sql(self) -> None:
        sql = [text("SELECT 1"), text("SELECT 2"), DDL("SELECT 1"), select(column("a") == 1)]
        sql.append(select(column("a") == 2))
        self.assertEqual(len({code_digest(executing([one])) for one in sql}), len(sql))

    def test_of_a_hook_that_uses_a_module(self) -> None:
        helpers = ModuleType("helpers")
        scope: dict[str, Any] = {"helpers": helpers}
        exec("def hook(connection): helpers.install(connection)", scope)  # noqa: S102
        digests = []
        for statement in ("one", "two"):
            helpers.install = executing([statement])  # type: ignore[attr-defined]
            digests.append(code_digest(scope["hook"]))
        self.assertNotEqual(*digests)

    def test_of_a_hook_that_uses_what_a_subclass_has(self) -> None:
        class Localized(DatabaseTestCase):
            metadata = MetaData()
            locale = "en"

            @classmethod
            def setUpDatabase(cls, connection: Any) -> None:
                super().setUpDatabase(connection)
                cls.note(connection)

            @classmethod
            def note(cls, connection: Any) -> None:
                connection.exec_driver_sql(f"CREATE TABLE of_{cls.locale} (id integer)")

            def test(self) -> None:
                self.assertDatabaseCount(f"of_{self.locale}", 0)

        class German(Localized):
            locale = "de"

        for case in (Localized, German):
            self.assertTrue(inner.run(case).wasSuccessful())


class Fingerprint(unittest.TestCase):
    def test_does_not_depend_on_the_order_of_foreign_keys(self) -> None:
        def fingerprint(_: int) -> str:
            metadata = MetaData()
            keys = [
                Column(f"k{n}", ForeignKey("t.id", use_alter=True, name=f"fk{n}")) for n in range(9)
            ]
            Table("t", metadata, Column("id", Integer, primary_key=True), *keys)
            return metadata_schema((metadata,)).fingerprint(create_engine("sqlite://").dialect)

        self.assertEqual(len(set(map(fingerprint, range(9)))), 1)
