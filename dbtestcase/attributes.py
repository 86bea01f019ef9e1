"""Attributes that a test class or a test is given while it is set up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .exceptions import NotReadyError

if TYPE_CHECKING:
    from .lifecycle import TestLifecycle

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
                message = _CLASS_NOT_SET_UP.format(case=case.__qualname__, name=self._name)
                return NotYet(message, self.__doc__)  # type: ignore[return-value]
            raise class_not_set_up(case, self._name)
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
            message = _NOT_ON_CLASS.format(case=case.__qualname__, name=self._name)
            return NotYet(message, self.__doc__)  # type: ignore[return-value]
        lifecycle = test._dbtestcase_test
        if lifecycle is None:
            raise test_not_set_up(case, self._name)
        if self._name not in lifecycle.given:
            lifecycle.given[self._name] = self._make(test, lifecycle)
        value: Value = lifecycle.given[self._name]
        return value


class NotYet:
    """What those find who collect the attributes of a class; whoever uses it hears ``message``."""

    _message = ""  # while it is copied

    def __init__(self, message: str, doc: str | None) -> None:
        self._message = message
        self.__doc__ = doc

    def __getattr__(self, name: str) -> Any:
        raise _NotYetError(self._message)

    def __call__(self, *args: object, **kwargs: object) -> Any:
        raise _NotYetError(self._message)


class _NotYetError(NotReadyError, AttributeError):
    """An attribute of what is not there, which those who collect attributes may ask for."""


def class_not_set_up(case: type, name: str) -> NotReadyError:
    """Return the error for what a class has from ``setUpClass`` on, asked for before that."""
    return NotReadyError(_CLASS_NOT_SET_UP.format(case=case.__qualname__, name=name))


def test_not_set_up(case: type, name: str) -> NotReadyError:
    """Return the error for what a test has from ``setUp`` on, asked for before or after that."""
    return NotReadyError(TEST_NOT_SET_UP.format(case=case.__qualname__, name=name))


def not_recorded(case: type) -> NotReadyError:
    """Return the error for ``self.statements`` where statements are not recorded."""
    return NotReadyError(_NOT_RECORDED.format(case=case.__qualname__))


_NOT_RECORDED = """\
{case}: self.statements is not recorded, because no method of the class says self.statements.
  To fix this, say it in one, such as setUp, before you hand the test to a function that does."""

_CLASS_NOT_SET_UP = """\
{case}.{name} is not there yet: {case}.setUpClass has not run.
  To fix this, either: call super().setUpClass() first in your setUpClass; or run the test \
through a runner or TestSuite, which call setUpClass."""

_NOT_ON_CLASS = """\
{case}.{name} is not there: each test has its own, as self.{name}, and the class has none.
  To fix this, use the session that setUpTestData is given; or, from setUpClass on, \
{case}.session_factory() or {case}.engine."""

TEST_NOT_SET_UP = """\
{case}: self.{name} is there from setUp until the test's clean-ups are done, and not now.
  To fix this, call super().setUp() first in your setUp (and await super().asyncSetUp() in your \
asyncSetUp)."""
