"""What both test cases have in common: options, hooks, and what they give to a test."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from .exceptions import BackendError, NotReadyError, OptionError
from .lifecycle import ClassLifecycle, TestLifecycle, apply_schema
from .options import Isolation, check_options

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.orm import Session

    from .class_data import Instances
    from .class_database import RunCoroutine

Value = TypeVar("Value")


class FromClass(Generic[Value]):
    """An attribute that a class and its tests have from ``setUpClass`` on."""

    def __init__(self, make: Callable[[Any], Value]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, test: object, case: Any) -> Value:
        lifecycle = case._dbtestcase_class()
        if lifecycle is None:
            if test is None:
                return self  # type: ignore[return-value]  # to those who collect attributes
            raise _class_not_set_up(case, self._name)
        if self._name not in lifecycle.given:
            lifecycle.given[self._name] = self._make(case)
        value: Value = lifecycle.given[self._name]
        return value


class FromTest(Generic[Value]):
    """An attribute that a test has from ``setUp`` until its clean-ups are done."""

    def __init__(self, make: Callable[[Any, TestLifecycle], Value]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, test: Any, case: Any) -> Value:
        if test is None:
            return self  # type: ignore[return-value]  # to those who collect attributes
        lifecycle = test._dbtestcase_test
        if lifecycle is None:
            raise NotReadyError(_TEST_NOT_SET_UP.format(case=case.__qualname__, name=self._name))
        if self._name not in lifecycle.given:
            lifecycle.given[self._name] = self._make(test, lifecycle)
        value: Value = lifecycle.given[self._name]
        return value


class BaseDatabaseTestCase(unittest.TestCase):
    """The options and hooks of both test cases."""

    #: A database URL. One value serves both classes: each takes the driver of its kind.
    #: None means ``$DBTESTCASE_DATABASE``, else ``sqlite://``.
    database: ClassVar[str | None] = None

    #: A ``MetaData``, a declarative base, or a list of them. None means an empty database.
    metadata: ClassVar[Any] = None

    #: How a test is kept from the others: ``"transaction"`` (rolled back), ``"truncation"`` (real
    #: commits, undone afterwards) or ``"template"`` (a private copy of the database).
    isolation: ClassVar[Isolation] = "transaction"

    #: Engines of the application, sync or async, as objects, ``"module:attribute"`` strings, or
    #: functions that return them: all they do during a test happens in the test's database.
    engines: ClassVar[Any] = ()

    #: The class of :attr:`session`, if not SQLAlchemy's.
    session_class: ClassVar[Any] = None

    #: Keyword arguments for :attr:`session`, such as ``{"expire_on_commit": False}``.
    session_options: ClassVar[dict[str, Any]] = {}

    #: Let primary keys start at 1 in every test. SQLite does that by itself.
    reset_sequences: ClassVar[bool] = False

    session: FromTest[Any]

    _dbtestcase_lifecycle: ClassVar[ClassLifecycle]
    _dbtestcase_test: TestLifecycle | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_options(cls)

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        lifecycle = self._dbtestcase_class()
        if lifecycle is None:
            return super().run(result)
        refusal = _TEST_NOT_SET_UP.format(case=type(self).__qualname__, name="engine")
        with lifecycle.running(refusal):
            return super().run(result)

    @classmethod
    def setUpDatabase(cls, connection: Connection) -> None:
        """Create the schema, once for each template.

        Override it for what the tables need before ``super().setUpDatabase(connection)``, such
        as extensions, or what needs the tables after it, such as triggers. It must depend on
        nothing but its own code: its result is shared by all classes that inherit it.
        """
        apply_schema(cls, connection)

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        """Make rows for all tests of the class; ``session`` is committed afterwards.

        ORM objects that are put on ``cls``, also inside lists or dictionaries, are in each test
        that test's own instances, attached to its session.
        """

    @classmethod
    def _dbtestcase_class(cls) -> ClassLifecycle | None:
        lifecycle: ClassLifecycle | None = vars(cls).get("_dbtestcase_lifecycle")
        return lifecycle

    @classmethod
    def _dbtestcase_set_up_class(
        cls, *, is_async: bool, run: RunCoroutine, load_data: Callable[[], None]
    ) -> None:
        try:
            lifecycle = ClassLifecycle(cls, is_async=is_async, run=run, load_data=load_data)
        except (BackendError, OptionError) as error:
            message = f"{cls.__module__}.{cls.__qualname__}: {error}"
            raise type(error)(message) from error.__cause__
        cls.addClassCleanup(cls._dbtestcase_clean_up_class, lifecycle)
        cls._dbtestcase_lifecycle = lifecycle
        lifecycle.load_data()

    @classmethod
    def _dbtestcase_clean_up_class(cls, lifecycle: ClassLifecycle) -> None:
        del cls._dbtestcase_lifecycle
        lifecycle.close()

    def _dbtestcase_set_up(self, clean_up: Callable[[TestLifecycle], None]) -> None:
        lifecycle = self._dbtestcase_class()
        if lifecycle is None:
            raise _class_not_set_up(type(self), "database")
        method_name = unittest.TestCase.id(self).rpartition(".")[2]
        self._dbtestcase_test = lifecycle.start_test(self, method_name)
        self.addCleanup(clean_up, self._dbtestcase_test)

    def _dbtestcase_instances(self) -> Instances | None:
        """Return the test's instances of class data, which come with its session."""
        if self._dbtestcase_test is None:
            return None
        _ = self.session
        return self._dbtestcase_test.instances

    def _dbtestcase_engines(self) -> Iterable[Engine]:
        lifecycle = self._dbtestcase_class()
        return [] if lifecycle is None else lifecycle.engines.all()


def overrides(case: Any, base: Any, hook: str) -> bool:
    """Tell whether ``case`` has a class method ``hook`` of its own, not that of ``base``."""
    return getattr(case, hook).__func__ is not getattr(base, hook).__func__


def _class_not_set_up(case: type, name: str) -> NotReadyError:
    return NotReadyError(_CLASS_NOT_SET_UP.format(case=case.__qualname__, name=name))


_CLASS_NOT_SET_UP = """\
{case}.{name} is not there yet: {case}.setUpClass has not run.
  To fix this, either: call super().setUpClass() first in your setUpClass; or run the test \
through a runner or TestSuite, which call setUpClass."""

_TEST_NOT_SET_UP = """\
{case}: self.{name} is there from setUp until the test's clean-ups are done, and not now.
  To fix this, call super().setUp() first in your setUp (and await super().asyncSetUp() in your \
asyncSetUp)."""
