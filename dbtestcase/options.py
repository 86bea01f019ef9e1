"""The class options: their names, their values, and what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from difflib import get_close_matches
from inspect import iscoroutinefunction, isfunction, signature
from types import FunctionType
from typing import Any, Literal, TypeVar, get_args
from unittest import IsolatedAsyncioTestCase

from .aliases import databases_of, placing
from .backends import Backend, backend_for
from .exceptions import BackendError, OptionError

Isolation = Literal["transaction", "truncation", "template", "schema"]

ISOLATIONS: tuple[str, ...] = get_args(Isolation)
OPTIONS = (
    "database",
    "metadata",
    "migrations",
    "engines",
    "databases",
    "session_factories",
    "factories",
    "isolation",
    "session_class",
    "session_options",
    "reset_sequences",
)
HOOKS = ("setUpDatabase", "setUpTestData")
ASYNC_HOOKS = ("asyncSetUpClass", "asyncTearDownClass", "asyncSetUpTestData")
PROVIDED = (
    "session",
    "connection",
    "engine",
    "session_factory",
    "session_of",
    "engine_of",
    "statements",
)

SQL_REPORTS = ("failed", "all")  # of which tests

_MARK = "dbtestcase_isolation"

_OWN = {
    "engine": "; for the application's own, write engines = [engine]",
    "session_factory": "; for the application's own, write session_factories = [session_factory]",
}

_METHODS = (FunctionType, classmethod, staticmethod, property)

Function = TypeVar("Function", bound=Callable[..., Any])


def isolation(value: Isolation) -> Callable[[Function], Function]:
    """Set the isolation of one test method.

    :param value: as for the class option of the same name.
    :raises OptionError: ``value`` is no isolation.
    """
    if callable(value):
        raise OptionError('isolation has no value; write for example @isolation("truncation")')
    _check_isolation(value)

    def decorate(test: Function) -> Function:
        if isinstance(test, type):
            raise OptionError(f'{test.__qualname__} is a class; write isolation = "{value}" in it')
        setattr(test, _MARK, value)
        return test

    return decorate


def isolation_of(case: Any, method_name: str) -> str:
    """Return the isolation of one test method of ``case``."""
    mark = getattr(getattr(case, method_name, None), _MARK, None)
    value: str = mark if isinstance(mark, str) else case.isolation
    return value


def backend_of(case: Any, database: str | None) -> Backend:
    """Return the backend of a ``database`` of ``case``, else of the environment's.

    :raises OptionError: there is none such, or it lacks the isolation of ``case``.
    """
    backend = backend_for(database or default_database())
    check_isolation(backend, case.isolation)
    return backend


def default_database() -> str:
    """Return the ``database`` of test classes that name none."""
    return os.environ.get("DBTESTCASE_DATABASE") or "sqlite://"


def check_isolation(backend: Backend, name: str) -> None:
    """Check that ``backend`` has that isolation.

    :raises OptionError: it has not; says which it has.
    """
    if name not in backend.features.isolations:
        able = " or ".join(map(repr, sorted(backend.features.isolations)))
        also = backend.features.elsewhere
        raise OptionError(f"{backend.title} has no isolation = {name!r}; use {able}{also}")


def rebuilds() -> bool:
    """Tell whether templates are to be built anew even where they exist."""
    return os.environ.get("DBTESTCASE_REBUILD", "0") not in ("", "0")


def keeps_databases() -> bool:
    """Tell whether the databases of failing tests are to be kept."""
    return os.environ.get("DBTESTCASE_KEEP", "0") not in ("", "0")


def sql_reports() -> str:
    """Return which tests are to have their SQL reported: "failed", "all", or "" for none.

    :raises OptionError: the environment asks for something else.
    """
    value = os.environ.get("DBTESTCASE_SQL", "")
    if value not in ("", *SQL_REPORTS):
        near = get_close_matches(value, SQL_REPORTS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"write {' or '.join(SQL_REPORTS)}"
        raise OptionError(f"DBTESTCASE_SQL={value} does not exist; {hint}")
    return value


def used_isolations(case: Any) -> set[str]:
    """Return the isolations of ``case`` and of all its test methods."""
    marks = (getattr(getattr(case, name, None), _MARK, None) for name in dir(case))
    return {case.isolation, *(mark for mark in marks if isinstance(mark, str))}


def check_options(case: Any) -> None:
    """Check what ``case`` defines.

    :raises OptionError: with the name of the class, the option, and the fix.
    """
    with placing(f"{case.__module__}.{case.__qualname__}: "):
        for base in case.__mro__:
            if base.__module__.partition(".")[0] not in ("dbtestcase", "unittest", "builtins"):
                for name, value in vars(base).items():
                    _check_name(name, value)
                    _check_hook(name, value, case)
        _check_types(case)
        _check_isolation(case.isolation)
        for options in databases_of(case).values():
            if options.database is not None:
                with placing(options.place), suppress(BackendError):  # which set-up raises
                    backend_of(case, options.database)


def _check_name(name: str, value: Any) -> None:
    if name in PROVIDED:
        hint = _OWN.get(name, "")
        raise OptionError(f"{name} is what dbtestcase gives to each test; use another name{hint}")
    if name.startswith("_") or name in OPTIONS or isinstance(value, _METHODS):
        return
    near = get_close_matches(name, OPTIONS, n=1, cutoff=0.85)
    if near:
        raise OptionError(f"there is no option {name}; did you mean {near[0]}?")


def _check_hook(name: str, value: Any, case: type) -> None:
    function = getattr(value, "__func__", value)
    if not isfunction(function):
        return
    is_async = issubclass(case, IsolatedAsyncioTestCase)
    if name.startswith("test") and iscoroutinefunction(function) and not is_async:
        raise OptionError(f"{name} is a coroutine; derive the class from AsyncDatabaseTestCase")
    if name in ("asyncSetUp", "asyncTearDown", *ASYNC_HOOKS) and not is_async:
        raise OptionError(f"{name} is never called; it is for AsyncDatabaseTestCase")
    if name in HOOKS + ASYNC_HOOKS:
        _check_signature(name, value, function, is_async=is_async)
        return
    near = get_close_matches(name.lower(), map(str.lower, HOOKS + ASYNC_HOOKS), 1, cutoff=0.9)
    for hook in HOOKS + ASYNC_HOOKS:
        if hook.lower() in near:
            raise OptionError(f"{name} is never called; did you mean {hook}?")


def _check_signature(name: str, value: Any, function: Any, *, is_async: bool) -> None:
    if not isinstance(value, classmethod):
        raise OptionError(f"{name} is called on the class; put @classmethod on it")
    if iscoroutinefunction(function) and name in HOOKS:
        raise OptionError(f"{name} is a coroutine; {_instead_of_coroutine(name, is_async)}")
    if not iscoroutinefunction(function) and name in ASYNC_HOOKS:
        raise OptionError(f"{name} is not a coroutine; make it an async def")
    argument = {"setUpDatabase": "connection", "asyncSetUpClass": "", "asyncTearDownClass": ""}
    arguments = ["cls", argument.get(name, "session")]
    if len(signature(function).parameters) != len(list(filter(None, arguments))):
        written = ", ".join(filter(None, arguments))
        raise OptionError(f"{name} is called with other arguments; write def {name}({written})")


def _instead_of_coroutine(name: str, is_async: bool) -> str:
    if not is_async:
        return "make it a plain def, or derive the class from AsyncDatabaseTestCase"
    near = [hook for hook in ASYNC_HOOKS if hook.lower().endswith(name.lower())]
    return f"write {near[0]}" if near else "make it a plain def"


def _check_isolation(value: Any) -> None:
    if value not in ISOLATIONS:
        near = get_close_matches(str(value), ISOLATIONS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(ISOLATIONS)}"
        raise OptionError(f"isolation = {value!r} does not exist; {hint}")


def _check_types(case: Any) -> None:
    if not isinstance(case.session_options, dict):
        raise OptionError(f"session_options = {case.session_options!r} is not a dictionary")
    for name in ("bind", "binds"):
        if name in case.session_options:
            raise OptionError(f"session_options has {name!r}; sessions are bound to the test")
    if not isinstance(case.reset_sequences, bool):
        raise OptionError(f"reset_sequences = {case.reset_sequences!r} is neither True nor False")
    if case.session_class is not None:
        _check_session_class(case)


def _check_session_class(case: Any) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    value = case.session_class
    bases = (AsyncSession, Session) if issubclass(case, IsolatedAsyncioTestCase) else (Session,)
    if not (isinstance(value, type) and issubclass(value, bases)):
        names = " or ".join(base.__name__ for base in bases)
        raise OptionError(f"session_class = {value!r} is not a subclass of {names}")
