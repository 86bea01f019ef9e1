"""The methods of a test class that are called by their names, and what is wrong with them."""

from __future__ import annotations

from difflib import get_close_matches
from inspect import (
    isasyncgenfunction,
    iscoroutinefunction,
    isfunction,
    isgeneratorfunction,
    signature,
)
from typing import Any
from unittest import IsolatedAsyncioTestCase, TestCase

from .exceptions import OptionError

#: With the arguments that they are called with.
_HOOKS = {"setUpDatabase": ["cls", "connection"], "setUpTestData": ["cls", "session"]}
_ASYNC_HOOKS = {
    "asyncSetUpClass": ["cls"],
    "asyncTearDownClass": ["cls"],
    "asyncSetUpTestData": ["cls", "session"],
}
_OF_CLASS = {"setUpClass", "tearDownClass", *_HOOKS, *_ASYNC_HOOKS}
_OF_DATA = {*_HOOKS, "asyncSetUpTestData"}
_ASSERTED = {"asyncSetUp", "asyncTearDown"}  # by unittest, to be coroutine functions
_AWAITED = {*_ASSERTED, *_ASYNC_HOOKS}
_CALLED = {"setUp", "tearDown", "setUpClass", "tearDownClass", *_HOOKS}


def check_hook(name: str, value: Any, base: type, case: Any) -> None:
    """Check what ``case`` has under ``name``, if that is a method that is called by its name.

    :param base: defines it; ``case`` itself, or what that derives from.
    :raises OptionError: it would not be called, not run, or fail when it is called.
    """
    function = getattr(value, "__func__", value)
    if not isfunction(function):
        return
    if name.startswith("test"):
        _check_test(name, function, case)
    elif name in _AWAITED and not _is_awaited(name, case):
        if issubclass(base, TestCase):  # else async classes may derive from it, too
            raise OptionError(f"{name} is never called; it is for AsyncDatabaseTestCase")
    elif name in _AWAITED | _CALLED:
        _check_kind(name, value, function, case)
        _check_arguments(name, value, function)
    elif "_" not in name:
        _check_spelling(name)


def _is_awaited(name: str, case: Any) -> bool:
    awaits = case._dbtestcase_is_async if name in _ASYNC_HOOKS else _awaits_tests(case)
    return bool(awaits)


def _awaits_tests(case: Any) -> bool:
    return issubclass(case, IsolatedAsyncioTestCase)


def _check_test(name: str, function: Any, case: Any) -> None:
    if iscoroutinefunction(function) and not _awaits_tests(case):
        raise OptionError(f"{name} is a coroutine; derive the class from AsyncDatabaseTestCase")
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        raise OptionError(f"{name} is a generator, which nobody runs; write it without yield")


def _check_kind(name: str, value: Any, function: Any, case: Any) -> None:
    if (name in _OF_CLASS and isfunction(value)) or (
        name in _OF_DATA and isinstance(value, staticmethod)
    ):
        raise OptionError(f"{name} is called on the class; put @classmethod on it")
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        raise OptionError(
            f"{name} is a generator, which nobody runs; write it without yield, and give what is "
            "to happen later to addCleanup or addClassCleanup"
        )
    if iscoroutinefunction(function) and name in _CALLED:
        fix = _instead_of_coroutine(name, case)
        raise OptionError(f"{name} is a coroutine, which nobody awaits; {fix}")
    if not iscoroutinefunction(function) and name in _ASSERTED:
        raise OptionError(f"{name} is not a coroutine; make it an async def")


def _check_arguments(name: str, value: Any, function: Any) -> None:
    arguments = {**_HOOKS, **_ASYNC_HOOKS}.get(name)
    if arguments is None:
        return
    given = arguments[1:] if isinstance(value, staticmethod) else arguments
    try:
        signature(function, follow_wrapped=False).bind(*given)
    except TypeError:
        written = f"def {name}({', '.join(arguments)})"
        raise OptionError(f"{name} is called with other arguments; write {written}") from None


def _check_spelling(name: str) -> None:
    hooks = {hook.lower(): hook for hook in (*_HOOKS, *_ASYNC_HOOKS)}
    for near in get_close_matches(name.lower(), hooks, n=1, cutoff=0.9):
        raise OptionError(f"{name} is never called; did you mean {hooks[near]}?")


def _instead_of_coroutine(name: str, case: Any) -> str:
    awaited = [hook for hook in _AWAITED if hook.lower() == f"async{name.lower()}"]
    if not awaited:
        return "make it a plain def"
    if _is_awaited(awaited[0], case):
        return f"write {awaited[0]}"
    fix = "make it a plain def, or derive the class from AsyncDatabaseTestCase"
    return f"{fix} and write {awaited[0]}"


def overrides(case: Any, base: Any, hook: str) -> bool:
    """Tell whether ``case`` has a class method ``hook`` of its own, not that of ``base``."""
    return getattr(case, hook).__func__ is not getattr(base, hook).__func__
