"""Wrong options are refused when the class is defined, with the fix."""

from __future__ import annotations

import os
import unittest
from typing import Any
from unittest import mock

from sqlalchemy.ext.asyncio import AsyncSession

import dbtestcase
from dbtestcase import AsyncDatabaseTestCase, BackendError, DatabaseTestCase, OptionError

from . import inner
from .models import Base


class RefusedAtDefinition(unittest.TestCase):
    def test_each_with_its_message(self) -> None:
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"metdata": Base.metadata}, "there is no option metdata; did you mean metadata?"),
            ({"databse": "sqlite://"}, "there is no option databse; did you mean database?"),
            ({"migrations": 3}, "migrations = 3 is neither a path nor a Config of Alembic"),
            (
                {"metadata": "Base"},
                "metadata = 'Base' is neither a MetaData nor a declarative base",
            ),
            ({"metadata": [Base, None, 1]}, "metadata = 1 is neither"),
            ({"isolation": "transactoin"}, "did you mean 'transaction'?"),
            ({"isolation": "nothing like it"}, "choose from transaction, truncation, template"),
            (
                {"isolation": "schema", "database": "sqlite://"},
                "SQLite has no isolation = 'schema'",
            ),
            ({"database": "sqllite://"}, "did you mean sqlite://?"),
            ({"database": "oracle://"}, "no backend is called 'oracle'; supported: sqlite"),
            ({"metdata": Base}, "there is no option metdata; did you mean metadata?"),
            ({"database": "sqlite://?foreignkeys=off"}, "foreignkeys is unknown; there is foreign"),
            ({"database": "no url"}, "'no url' is not a database URL"),
            ({"database": 42}, "database = 42 is not a string"),
            ({"database": "sqlite+pysqlcipher://"}, "SQLite works with pysqlite and aiosqlite"),
            ({"database": "sqlite://?foreign_keys=maybe"}, "write foreign_keys=on or foreign_keys"),
            ({"engine": object()}, "for the application's own, write engines = [engine]"),
            ({"session": object()}, "session is what dbtestcase gives to each test"),
            ({"session_class": dict}, "session_class = <class 'dict'> is not a subclass of"),
            ({"session_options": []}, "session_options = [] is not a dictionary"),
            ({"session_options": {"bind": 1}}, "session_options has 'bind'"),
            ({"reset_sequences": "yes"}, "reset_sequences = 'yes' is neither True nor False"),
        ]
        for attributes, message in wrong:
            for base in (DatabaseTestCase, AsyncDatabaseTestCase):
                with self.subTest(attributes, base=base), self.assertRaises(OptionError) as raised:
                    type("UserTests", (base,), attributes)
                self.assertIn(f"{__name__}.UserTests: ", str(raised.exception))
                self.assertIn(message, str(raised.exception))

    def test_session_class_of_the_other_colour(self) -> None:
        with self.assertRaisesRegex(OptionError, "derive the class from AsyncDatabaseTestCase"):
            type("UserTests", (DatabaseTestCase,), {"session_class": AsyncSession})

    def test_in_a_mixin_too(self) -> None:
        class Mixin:
            metdata = Base.metadata

        with self.assertRaisesRegex(OptionError, "did you mean metadata"):
            type("UserTests", (Mixin, DatabaseTestCase), {})

    def test_decorator(self) -> None:
        with self.assertRaisesRegex(OptionError, "did you mean 'template'"):
            dbtestcase.isolation("templat")  # type: ignore[arg-type]
        with self.assertRaisesRegex(OptionError, "write for example @isolation"):

            @dbtestcase.isolation  # type: ignore[arg-type]
            def test() -> None: ...

        with self.assertRaisesRegex(OptionError, 'Case is a class; write isolation = "template"'):

            @dbtestcase.isolation("template")
            class Case(DatabaseTestCase): ...

    def test_attributes_of_the_project_are_left_alone(self) -> None:
        type("UserTests", (DatabaseTestCase,), {"fixtures": [], "isolation_level": "x", "url": "/"})

        class WithMock(DatabaseTestCase):
            api = mock.Mock()

            def test(self) -> None: ...

        inner.passed(self, inner.run(WithMock), 1)


class HooksRefusedAtDefinition(unittest.TestCase):
    def refused(self, base: type, message: str, **attributes: Any) -> None:
        with self.assertRaises(OptionError) as raised:
            type("UserTests", (base,), attributes)
        self.assertIn(message, str(raised.exception))

    def test_each_with_its_message(self) -> None:
        def hook(cls: Any, session: Any) -> None: ...

        async def async_hook(cls: Any, session: Any) -> None: ...

        plain, coroutine = classmethod(hook), classmethod(async_hook)
        for base in (DatabaseTestCase, AsyncDatabaseTestCase):
            self.refused(base, "did you mean setUpTestData?", setupTestData=plain)
            self.refused(base, "put @classmethod on it", setUpTestData=hook)
            self.refused(base, "is a coroutine; make it a plain def", setUpDatabase=coroutine)
        self.refused(AsyncDatabaseTestCase, "; write asyncSetUpTestData", setUpTestData=coroutine)
        self.refused(DatabaseTestCase, "derive the class from Async", setUpTestData=coroutine)
        self.refused(DatabaseTestCase, "it is for Async", asyncSetUp=coroutine)
        self.refused(
            DatabaseTestCase, "it is for AsyncDatabaseTestCase", asyncSetUpTestData=coroutine
        )
        self.refused(
            DatabaseTestCase, "derive the class from AsyncDatabaseTestCase", test_it=async_hook
        )
        django = classmethod(lambda cls: None)
        self.refused(
            DatabaseTestCase, "write def setUpTestData(cls, session)", setUpTestData=django
        )
        self.refused(
            AsyncDatabaseTestCase, "not a coroutine; make it an async def", asyncSetUpClass=plain
        )


class RefusedAtSetUp(unittest.TestCase):
    def test_database_from_the_environment(self) -> None:
        class Plain(DatabaseTestCase):
            def test(self) -> None: ...

        with mock.patch.dict(os.environ, {"DBTESTCASE_DATABASE": "postgres://"}):
            message = inner.only_error(self, inner.run(Plain))
        self.assertIn("Plain: database = 'postgres://': no backend is called 'postgres'", message)

    def test_isolation_of_one_test(self) -> None:
        class Schema(DatabaseTestCase):
            @dbtestcase.isolation("schema")
            def test(self) -> None: ...

        message = inner.only_error(self, inner.run(Schema))
        self.assertIn("SQLite has no isolation = 'schema'; use 'template' or", message)

    def test_database_that_cannot_be_reached(self) -> None:
        class Unreachable(DatabaseTestCase):
            database = "sqlite:////no/such/directory/test.db"

            def test(self) -> None: ...

        message = inner.only_error(self, inner.run(Unreachable))
        self.assertIn(BackendError.__name__, message)
        self.assertIn("Unreachable: Cannot create test databases in /no/such/directory", message)

    def test_missing_driver(self) -> None:
        class NeedsDriver(AsyncDatabaseTestCase):
            async def test(self) -> None: ...

        with mock.patch("dbtestcase.backends.base.find_spec", return_value=None):
            message = inner.only_error(self, inner.run(NeedsDriver))
        self.assertIn(BackendError.__name__, message)
        self.assertIn("NeedsDriver: SQLite needs the driver aiosqlite", message)
        self.assertIn("pip install 'dbtestcase[sqlite]'", message)


class Passwords(unittest.TestCase):
    def test_are_never_shown(self) -> None:
        for database in [
            "postgressql://user:S3cret@host/db",
            "postgresql:user:S3cret@host",
            "postgresql+pymysql://user:S3cret@host/db",
            "postgresql://user:S3cret@host:port/db",
            "postgresql://user:S3cret@host/db?in_place=yes",
            "postgresql://user:S3cret@host/db?in_place=on",
            "sqlite://?password=S3cret",
            "pglite://?password=S3cret",
            "pgserver://user:S3cret@host",
        ]:
            with self.subTest(database), self.assertRaises(OptionError) as raised:
                type("Case", (DatabaseTestCase,), {"database": database})
            self.assertNotIn("S3cret", str(raised.exception))
            self.assertIn("Case: database = ", str(raised.exception))

    def test_of_servers_that_cannot_be_reached(self) -> None:
        url = "postgresql://127.0.0.1:1/db?user=me&password=S3cret"
        case = type("Case", (DatabaseTestCase,), {"database": url, "test": print})
        message = inner.only_error(self, inner.run(case))
        self.assertIn("PostgreSQL cannot be reached at", message)
        self.assertNotIn("S3cret", message)
