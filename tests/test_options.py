"""Wrong options are refused when the class is defined, with the fix."""

from __future__ import annotations

import functools
import os
import unittest
from typing import Any, ClassVar
from unittest import mock

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

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
            (
                {"database": "pglite"},
                "for example pglite://, in the option or in DBTESTCASE_DATABASE",
            ),
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
            self.refused(base, "nobody awaits; make it a plain def", setUpDatabase=coroutine)
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

    def test_coroutines_that_nobody_awaits(self) -> None:
        async def phase(self: Any) -> None: ...

        for name in ("setUp", "tearDown"):
            message = f"UserTests: {name} is a coroutine, which nobody awaits; "
            self.refused(DatabaseTestCase, f"{message}make it a plain def, or", **{name: phase})
            fix = f"write async{name[0].upper()}{name[1:]}"
            self.refused(AsyncDatabaseTestCase, f"{message}{fix}", **{name: phase})
            of_class: Any = {f"{name}Class": classmethod(phase)}
            self.refused(DatabaseTestCase, "derive the class from AsyncDatabase", **of_class)
            self.refused(AsyncDatabaseTestCase, f"{fix}Class", **of_class)

    def test_plain_functions_that_would_be_awaited(self) -> None:
        def phase(self: Any) -> None: ...

        for name in ("asyncSetUp", "asyncTearDown"):
            message = f"UserTests: {name} is not a coroutine; make it an async def"
            self.refused(AsyncDatabaseTestCase, message, **{name: phase})

    def test_generators_that_nobody_runs(self) -> None:
        def generator(self: Any) -> Any:
            yield

        async def async_generator(self: Any) -> Any:
            yield

        for base in (DatabaseTestCase, AsyncDatabaseTestCase):
            for test in (generator, async_generator):
                self.refused(base, "test_it is a generator, which nobody runs", test_it=test)
            self.refused(base, "give what is to happen later to addCleanup", setUp=generator)
            later = classmethod(generator)
            self.refused(base, "setUpClass is a generator, which nobody runs", setUpClass=later)

    def test_a_class_method_that_is_none(self) -> None:
        def phase(self: Any) -> None: ...

        for base in (DatabaseTestCase, AsyncDatabaseTestCase):
            for name in ("setUpClass", "tearDownClass"):
                self.refused(base, f"{name} is called on the class; put @cl", **{name: phase})

    def test_both_test_cases_at_once(self) -> None:
        for bases in (
            (DatabaseTestCase, AsyncDatabaseTestCase),
            (AsyncDatabaseTestCase, DatabaseTestCase),
        ):
            with self.assertRaises(OptionError) as raised:
                type("UserTests", bases, {})
            self.assertEqual(
                str(raised.exception),
                f"{__name__}.UserTests: it derives from both DatabaseTestCase and "
                "AsyncDatabaseTestCase; write one class for the sync tests, and one for the async "
                "ones",
            )


class SessionOptions(unittest.TestCase):
    def refused(self, base: type, message: str, **attributes: Any) -> None:
        with self.assertRaises(OptionError) as raised:
            type("UserTests", (base,), attributes)
        self.assertIn(f"UserTests: session_options has {message}", str(raised.exception))

    def test_unknown_ones_are_refused(self) -> None:
        for base in (DatabaseTestCase, AsyncDatabaseTestCase):
            message = "'expire_on_comit', which sessions do not take; did you mean 'expire_on_comm"
            self.refused(base, message, session_options={"expire_on_comit": False})
            message = "'class_', which sessions do not take; they take autobegin, auto"
            self.refused(base, message, session_options={"class_": Session, "info": {}})

    def test_known_ones_reach_the_session(self) -> None:
        class Tests(DatabaseTestCase):
            session_options: ClassVar[Any] = {"autoflush": False, "info": {"key": 1}}

            def test(self) -> None:
                self.assertFalse(self.session.autoflush)
                self.assertEqual(self.session.info, {"key": 1})

        class AsyncTests(AsyncDatabaseTestCase):
            session_options: ClassVar[Any] = {"autoflush": False, "sync_session_class": Tenants}

            async def test(self) -> None:
                self.assertFalse(self.session.autoflush)
                self.assertIsInstance(self.session.sync_session, Tenants)

        inner.passed(self, inner.run(Tests, AsyncTests), 2)

    def test_those_of_a_class_of_the_application(self) -> None:
        for base in (DatabaseTestCase, AsyncDatabaseTestCase):
            options = {"session_class": Tenants, "session_options": {"tenant": 1, "info": {}}}
            type("UserTests", (base,), options)
            self.refused(
                base,
                "'info', which sessions do not take; they take autoflush",
                session_class=Closed,
                session_options={"info": {}},
            )
        of_both: Any = {"session_class": AsyncTenants, "session_options": {"tenant": 1}}
        type("UserTests", (AsyncDatabaseTestCase,), of_both)

    def test_those_that_a_class_of_the_application_takes_out(self) -> None:
        class Flushing(Session):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                self.auto_flush = kwargs.pop("auto_flush")
                super().__init__(*args, **kwargs)

        def with_tenant(initializer: Any) -> Any:
            @functools.wraps(initializer)
            def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
                self.tenant = kwargs.pop("tenant")
                initializer(self, *args, **kwargs)

            return wrapper

        class Decorated(Session):
            @with_tenant
            def __init__(
                self, bind: Any, binds: Any, autoflush: Any, expire_on_commit: Any
            ) -> None:
                super().__init__(bind, binds=binds)

        class Tests(DatabaseTestCase):
            session_class = Flushing
            session_options: ClassVar[Any] = {"auto_flush": 1}

            def test(self) -> None:
                self.assertEqual(self.session.auto_flush, 1)

        class AsyncTests(AsyncDatabaseTestCase):
            session_class = Flushing
            session_options: ClassVar[Any] = {"auto_flush": 1}

            async def test(self) -> None:
                self.assertEqual(self.session.sync_session.auto_flush, 1)

        class DecoratedTests(DatabaseTestCase):
            session_class = Decorated
            session_options: ClassVar[Any] = {"tenant": 1}

            def test(self) -> None:
                self.assertEqual(self.session.tenant, 1)

        inner.passed(self, inner.run(Tests, AsyncTests, DecoratedTests), 3)

    def test_sessions_that_the_application_makes(self) -> None:
        class Tests(DatabaseTestCase):
            session_factories: ClassVar[Any] = ["elsewhere:Session"]
            session_options: ClassVar[Any] = {"of_its_own": 1}


class Tenants(Session):
    def __init__(self, *args: Any, tenant: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tenant = tenant


class AsyncTenants(AsyncSession):
    sync_session_class = Tenants


class Closed(Session):
    def __init__(self, bind: Any, binds: Any, autoflush: bool, expire_on_commit: bool) -> None:
        super().__init__(bind, binds=binds, autoflush=autoflush)


class RefusedAtSetUp(unittest.TestCase):
    def test_database_from_the_environment(self) -> None:
        class Plain(DatabaseTestCase):
            def test(self) -> None: ...

        with mock.patch.dict(os.environ, {"DBTESTCASE_DATABASE": "postgres://"}):
            message = inner.only_error(self, inner.run(Plain))
        self.assertIn(
            "Plain: DBTESTCASE_DATABASE says database = 'postgres://': no backend is called",
            message,
        )

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
            "postgressql://user:S3cret:S3cret@host/db",
            "postgressql://user:S3cret/S3cret@host/db",
            "postgressql://user:S3cret@S3cret@host/db",
            "postgressql://user@domain:S3cret@host/db",
            "postgressql://host/db?user=me&password=S3cret S3cret",
            "postgressql://host/db?sslpassword=S3cret@S3cret",
            "sqlite://?password=S3cret",
            "pglite://?password=S3cret",
            "pgserver://user:S3cret@host",
        ]:
            with self.subTest(database), self.assertRaises(OptionError) as raised:
                type("Case", (DatabaseTestCase,), {"database": database})
            self.assertNotIn("S3cret", str(raised.exception))
            self.assertIn("Case: database = ", str(raised.exception))

    def test_are_never_shown_of_what_is_written_in_the_wrong_place(self) -> None:
        url = "postgresql://user:S3cret@host/db?password=S3cret"
        for attributes in [
            {"databases": url},
            {"databases": {"default": url}},
            {"databases": [{"database": url}]},
            {"database": make_url(url)},
            {"database": [url]},
            {"engines": url},
            {"engines": [url]},
            {"session_factories": url},
        ]:
            with self.subTest(attributes):
                message = ""
                try:
                    case = type("Case", (DatabaseTestCase,), {**attributes, "test": print})
                    message = inner.only_error(self, inner.run(case))
                except OptionError as error:
                    message = str(error)
                self.assertNotIn("S3cret", message)
                self.assertIn("Case: ", message)

    def test_of_servers_that_cannot_be_reached(self) -> None:
        url = "postgresql://127.0.0.1:1/db?user=me&password=S3cret"
        case = type("Case", (DatabaseTestCase,), {"database": url, "test": print})
        message = inner.only_error(self, inner.run(case))
        self.assertIn("PostgreSQL cannot be reached at", message)
        self.assertIn("start the server, or correct the host, port, user, password or", message)
        self.assertNotIn("S3cret", message)


class Parameters(unittest.TestCase):
    def test_that_the_driver_does_not_know(self) -> None:
        for query, remedy in (
            ("in_plce=on", "write in_place instead of in_plce in the option database or in DBTEST"),
            ("ssmode=off", "leave out ssmode in the option database"),
        ):
            url = f"postgresql://127.0.0.1:1/db?{query}"
            case = type("Case", (DatabaseTestCase,), {"database": url, "test": print})
            self.assertIn(f"\n  To fix this, {remedy}", inner.only_error(self, inner.run(case)))
