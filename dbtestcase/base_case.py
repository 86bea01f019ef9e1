"""What both test cases have in common: options, hooks, and what they give to a test."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, cast

from .aliases import DEFAULT, placing
from .attributes import (
    TEST_NOT_SET_UP,
    FromClass,
    FromTest,
    class_not_set_up,
    not_recorded,
    test_not_set_up,
)
from .dependencies import overridden
from .options import Isolation, check_options
from .statements import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

    from .class_data import Instances
    from .databases import Databases
    from .event_loop import ClassLoop
    from .failures import ReportingResult
    from .lifecycle import ClassLifecycle, TestLifecycle
    from .recording import Statement


class BaseDatabaseTestCase(unittest.TestCase):
    """The options and hooks of both test cases."""

    #: A database URL. One value serves both classes: each takes the driver of its kind.
    #: None means ``$DBTESTCASE_DATABASE``, else ``sqlite://``.
    database: ClassVar[str | None] = None

    #: A ``MetaData``, a declarative base, or a list of them. None means an empty database.
    metadata: ClassVar[Any] = None

    #: The path of an ``alembic.ini`` or of a script directory, or a ``Config`` of Alembic: its
    #: migrations make the schema, and ``metadata`` is what it should be.
    migrations: ClassVar[Any] = None

    #: Engines of the application, sync or async, as objects, ``"module:attribute"`` strings, or
    #: functions that return them: all they do during a test happens in the test's database.
    engines: ClassVar[Any] = ()

    #: Several databases instead of the one that the four options above describe: their options by
    #: alias, such as ``{"default": {"metadata": …}, "other": {"database": …, "engines": …}}``.
    databases: ClassVar[Mapping[str, Mapping[str, Any]] | None] = None

    #: Session factories of the application (``sessionmaker``, ``scoped_session`` and their async
    #: kin), named as engines are. Their sessions lead to the test's databases, whatever they are
    #: bound to; a ``scoped_session`` gives out :attr:`session`, and keeps it, while a test runs.
    session_factories: ClassVar[Any] = ()

    #: factory_boy's or polyfactory's SQLAlchemy factories, or a base of them: they make objects in
    #: :attr:`session`, with data that is the same whenever a test runs.
    factories: ClassVar[Any] = ()

    #: How a test is kept from the others: ``"transaction"`` (rolled back), ``"truncation"`` (real
    #: commits, undone afterwards), ``"template"`` (a private copy of the database) or ``"schema"``
    #: (a private PostgreSQL schema).
    isolation: ClassVar[Isolation] = "transaction"

    #: The class of :attr:`session`, if not SQLAlchemy's.
    session_class: ClassVar[Any] = None

    #: Keyword arguments for :attr:`session`, such as ``{"expire_on_commit": False}``.
    session_options: ClassVar[dict[str, Any]] = {}

    #: Let primary keys start at 1 in every test. SQLite does that by itself.
    reset_sequences: ClassVar[bool] = False

    _dbtestcase_is_async: ClassVar[bool] = False  # the kind of its session
    _dbtestcase_revision: ClassVar[str] = "heads"  # that the migrations are applied up to

    session: FromTest[Any]
    session_factory: FromClass[Any]

    _dbtestcase_lifecycle: ClassVar[ClassLifecycle]
    _dbtestcase_test: TestLifecycle | None = None
    _dbtestcase_result: ReportingResult | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_options(cls)

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        lifecycle = self._dbtestcase_class()
        if lifecycle is None:
            return super().run(result)
        if result is None:
            result = self.defaultTestResult()
        refusal = TEST_NOT_SET_UP.format(case=type(self).__qualname__, name="engine")
        from .failures import ReportingResult

        self._dbtestcase_result = reporting = ReportingResult(result, lifecycle)
        try:
            with lifecycle.running(refusal):
                super().run(cast("unittest.TestResult", reporting))
        finally:
            self._dbtestcase_result = None
            reporting.finish(self)
        return result

    @FromTest
    def statements(self, test: TestLifecycle) -> list[Statement]:
        """What the test has executed so far, on all its engines and in all its threads.

        Each has ``sql``, ``parameters``, ``duration`` in seconds, ``rowcount``, ``caller``, which
        is the line of your code that it comes from, and ``database``, the alias. It is what
        :meth:`assertNumQueries` counts. Statements are recorded for classes with a method that
        says ``self.statements``, and for all if ``$DBTESTCASE_SQL`` says so.

        :raises NotReadyError: those of this class are not recorded.
        """
        if test.statements is None:
            raise not_recorded(type(self))
        return test.statements

    @classmethod
    def setUpDatabase(cls, connection: Connection) -> None:
        """Create the schema, once for each template.

        In a class with several ``databases`` it is called for each; the alias of the one that
        ``connection`` leads to is ``connection.info["dbtestcase_alias"]``.

        Override it for what the tables need before ``super().setUpDatabase(connection)``, such
        as extensions, or what needs the tables after it, such as triggers. It must depend on
        nothing but its own code: its result is shared by all classes that inherit it.
        """
        from .template_plan import apply_schema

        apply_schema(connection)

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        """Make rows for all tests of the class; ``session`` is committed afterwards.

        ORM objects that are put on ``cls``, also inside lists or dictionaries, are in each test
        that test's own instances, attached to its session.
        """

    @classmethod
    def redirect_engines(cls, *engines: Any, alias: str | None = None) -> None:
        """Redirect engines that the application makes late, in its factory or at its start.

        They are as before when the test ends that called this; or the class, if its
        ``setUpClass`` did, after ``super().setUpClass()``.

        :param engines: as for the option of the same name.
        :param alias: the database that they lead to, where there are several.
        :raises OptionError: they are no engines.
        :raises UsageError: there are none, or several databases, and no alias.
        """
        cls._dbtestcase_need_class("redirect_engines").databases.redirect_all(engines, alias)

    def override_dependency(self, app: Any, dependency: Callable[..., Any], override: Any) -> None:
        """Let a FastAPI application use something else for a dependency, until the test ends.

        :param app: has ``dependency_overrides``.
        :param dependency: what ``Depends()`` names.
        :param override: called in its place; or, if it cannot be, such as a session, its value.
        """
        self.enterContext(overridden(app, dependency, override))

    @classmethod
    def _dbtestcase_class(cls) -> ClassLifecycle | None:
        lifecycle: ClassLifecycle | None = vars(cls).get("_dbtestcase_lifecycle")
        return lifecycle

    @classmethod
    def _dbtestcase_need_class(cls, name: str) -> ClassLifecycle:
        lifecycle = cls._dbtestcase_class()
        if lifecycle is None:
            raise class_not_set_up(cls, name)
        return lifecycle

    @classmethod
    def _dbtestcase_set_up_class(
        cls, loop: ClassLoop | None, load_data: Callable[[], None]
    ) -> None:
        from .lifecycle import ClassLifecycle  # and much else, for which no import has to wait

        with placing(f"{cls.__module__}.{cls.__qualname__}: "):
            lifecycle = ClassLifecycle(cls, loop=loop, load_data=load_data)
        cls.addClassCleanup(cls._dbtestcase_clean_up_class, lifecycle)
        cls._dbtestcase_lifecycle = lifecycle
        if lifecycle.records:
            cls.enterClassContext(lifecycle.recording())
        lifecycle.load_data()

    @classmethod
    def _dbtestcase_clean_up_class(cls, lifecycle: ClassLifecycle) -> None:
        del cls._dbtestcase_lifecycle
        lifecycle.close()

    def _dbtestcase_need_test(self, name: str) -> TestLifecycle:
        if self._dbtestcase_test is None:
            raise test_not_set_up(type(self), name)
        return self._dbtestcase_test

    def _dbtestcase_set_up(self, clean_up: Callable[[TestLifecycle], None]) -> None:
        lifecycle = self._dbtestcase_need_class("database")
        method_name = unittest.TestCase.id(self).rpartition(".")[2]
        self._dbtestcase_test = test = lifecycle.start_test(self, method_name)
        if self._dbtestcase_result is None:  # run by debug(), which raises what fails
            self.addCleanup(test.refuse_unused)
            self.addCleanup(clean_up, test)
        else:
            self._dbtestcase_result.set_up(test)
            self.addCleanup(self._dbtestcase_result.clean_up, clean_up, test)
        if lifecycle.factories:
            seed = f"{type(self).__qualname__}.{method_name}"  # whatever runs the test
            test.enter(lifecycle.factories.making(self.session, seed))
            test.enter(lifecycle.factories.sequences_restored())

    def _dbtestcase_instances(self) -> Instances | None:
        """Return the test's instances of class data, which come with its session."""
        if self._dbtestcase_test is None:
            return None
        _ = self.session
        return self._dbtestcase_test.instances

    def _dbtestcase_session_of(self, alias: str) -> Any:
        if alias == DEFAULT:
            return self.session
        databases = self._dbtestcase_need_class("session_of").databases
        test = self._dbtestcase_need_test("session_of")
        if alias not in test.sessions:
            test.sessions[alias] = self.session_factory(
                bind=databases.given[alias], binds=databases.binds(alias)
            )
        return test.sessions[alias]

    def _dbtestcase_expect(self, pending: Any) -> Any:
        if self._dbtestcase_test is not None:
            self._dbtestcase_test.pending.append(pending)
        return pending

    def _dbtestcase_opened(self) -> list[Any]:
        _ = self.session
        assert self._dbtestcase_test is not None
        return self._dbtestcase_test.opened()

    def _dbtestcase_sessions(self) -> dict[str, Session]:
        used = {} if self._dbtestcase_test is None else self._dbtestcase_test.sessions
        return {alias: getattr(one, "sync_session", one) for alias, one in used.items()}

    def _dbtestcase_databases(self) -> Databases:
        return self._dbtestcase_need_class("engine").databases

    def _dbtestcase_differences(self, alias: str, exclude: list[str]) -> str:
        from .migrating import schema_differences

        return schema_differences(self._dbtestcase_databases(), alias, exclude)

    @contextmanager
    def _dbtestcase_connect(self, alias: str) -> Iterator[Connection]:
        engine = self._dbtestcase_need_class("engine").databases.given[alias]
        with ExitStack() as stack:
            for session in self._dbtestcase_sessions().values():
                stack.enter_context(session.no_autoflush)
            connection = stack.enter_context(getattr(engine, "sync_engine", engine).connect())
            yield connection.execution_options(**UNRECORDED)
